//! The variables that a runtime sets, and what each verb needs of them (specification, section 2).

use std::{ffi::OsString, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Arguments, CniError, Version, code};

/// Longest container id that we take: it becomes part of file names. Runtimes use 64.
const MAX_CONTAINER_ID: usize = 200;
/// Longest name of a link: IFNAMSIZ less the final zero.
const MAX_IFNAME: usize = 15;

/// What a plugin can be asked to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// Attach a container.
    Add,
    /// Detach it.
    Del,
    /// Tell whether an attachment is as it was made.
    Check,
    /// Free what belongs to no valid attachment.
    Gc,
    /// Tell whether ADD can succeed.
    Status,
    /// Tell the versions that are spoken.
    Version,
}

impl Verb {
    /// All of them.
    pub const ALL: [Verb; 6] =
        [Verb::Add, Verb::Del, Verb::Check, Verb::Gc, Verb::Status, Verb::Version];

    /// As `CNI_COMMAND` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Add => "ADD",
            Verb::Del => "DEL",
            Verb::Check => "CHECK",
            Verb::Gc => "GC",
            Verb::Status => "STATUS",
            Verb::Version => "VERSION",
        }
    }

    /// The version that brought it.
    pub fn since(self) -> Version {
        match self {
            Verb::Add | Verb::Del | Verb::Version => Version::V0_3_1,
            Verb::Check => Version::V0_4_0,
            Verb::Gc | Verb::Status => Version::V1_1_0,
        }
    }

    /// Whether it is about one attachment.
    pub fn has_attachment(self) -> bool {
        matches!(self, Verb::Add | Verb::Del | Verb::Check)
    }
}

/// What names an attachment: a container, and the link in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct AttachmentId {
    /// `CNI_CONTAINERID`.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
}

impl AttachmentId {
    /// Checks both names.
    ///
    /// # Errors
    /// Code 4, naming the variable.
    pub fn new(container_id: &str, ifname: &str) -> Result<Self, CniError> {
        if !is_name(container_id) || container_id.len() > MAX_CONTAINER_ID {
            return Err(malformed("CNI_CONTAINERID", container_id));
        }
        let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        let usable = !matches!(ifname, "" | "." | "..")
            && ifname.len() <= MAX_IFNAME
            && !ifname.contains(forbidden);
        if !usable {
            return Err(malformed("CNI_IFNAME", ifname));
        }
        Ok(AttachmentId { container_id: container_id.to_owned(), ifname: ifname.to_owned() })
    }

    /// Reads what `Display` wrote, `CONTAINER@LINK`: a container id has no `@`.
    pub fn parse(text: &str) -> Option<Self> {
        let (container_id, ifname) = text.split_once('@')?;
        Self::new(container_id, ifname).ok()
    }
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.container_id, self.ifname)
    }
}

/// Whether it may be a container id or a network's name: a letter or digit, then letters, digits,
/// `_`, `.` and `-`.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn malformed(variable: &str, value: &str) -> CniError {
    CniError::new(code::ENVIRONMENT, format!("{variable} is {value:?}, which is malformed"))
}

/// The variables, checked for what their verb needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Environment {
    /// `CNI_COMMAND`.
    pub verb: Verb,
    /// `CNI_CONTAINERID` and `CNI_IFNAME`, for the verbs that are about an attachment.
    pub attachment: Option<AttachmentId>,
    /// `CNI_NETNS`: path of the network namespace; DEL may lack it.
    pub netns: Option<PathBuf>,
    /// `CNI_ARGS` as it is; it has been parsed once.
    pub arguments: String,
    /// `CNI_PATH`: folders in which plugins are found.
    pub path: Vec<PathBuf>,
}

impl Environment {
    /// Reads the variables through `variable`.
    ///
    /// # Errors
    /// Code 4 with the names of all variables that are missing, or of one that is malformed.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, CniError> {
        let text = |name: &str| match variable(name).unwrap_or_default().into_string() {
            Ok(text) => Ok(text),
            Err(text) => Err(malformed(name, &text.to_string_lossy())),
        };
        let command = text("CNI_COMMAND")?;
        let verb = Verb::ALL.into_iter().find(|verb| verb.as_str() == command);
        let verb = match verb {
            Some(verb) => verb,
            None if command.is_empty() => return Err(missing(&["CNI_COMMAND"])),
            None => return Err(malformed("CNI_COMMAND", &command)),
        };
        let needed: &[&str] = match verb {
            Verb::Add | Verb::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Verb::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Verb::Gc => &["CNI_PATH"],
            Verb::Status | Verb::Version => &[],
        };
        let absent = |name: &&str| variable(name).is_none_or(|value| value.is_empty());
        let absent: Vec<&str> = needed.iter().copied().filter(absent).collect();
        if !absent.is_empty() {
            return Err(missing(&absent));
        }
        let attachment = match verb.has_attachment() {
            true => Some(AttachmentId::new(&text("CNI_CONTAINERID")?, &text("CNI_IFNAME")?)?),
            false => None,
        };
        let arguments = text("CNI_ARGS")?;
        if verb.has_attachment() {
            Arguments::parse(&arguments)?;
        }
        let netns = variable("CNI_NETNS").filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = variable("CNI_PATH").unwrap_or_default();
        let path = std::env::split_paths(&path).filter(|p| !p.as_os_str().is_empty()).collect();
        Ok(Environment { verb, attachment, netns, arguments, path })
    }
}

fn missing(names: &[&str]) -> CniError {
    CniError::new(code::ENVIRONMENT, format!("not set: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, CniError> {
        let of = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Environment::read(|name| of(name).map(|(_, value)| OsString::from(value)))
    }

    const ADD: [(&str, &str); 4] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c0ffee"),
        ("CNI_NETNS", "/run/netns/blue"),
        ("CNI_IFNAME", "eth0"),
    ];

    #[test]
    fn what_a_verb_needs_and_lacks_is_named_all_at_once() {
        let error = read(&[("CNI_COMMAND", "ADD")]).expect_err("three are missing");
        assert_eq!(error.code, code::ENVIRONMENT);
        assert_eq!(error.message, "not set: CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME");
        let mut del = ADD;
        del[0].1 = "DEL";
        del[2].1 = "";
        assert_eq!(read(&del).expect("DEL needs no namespace").netns, None);
        assert!(read(&[("CNI_COMMAND", "STATUS")]).is_ok());
        assert!(read(&[("CNI_COMMAND", "VERSION")]).is_ok());
        let error = read(&[("CNI_COMMAND", "GC")]).expect_err("GC forwards");
        assert_eq!(error.message, "not set: CNI_PATH");
        assert_eq!(read(&[]).expect_err("no verb").message, "not set: CNI_COMMAND");
    }

    #[test]
    fn malformed_values_are_refused_by_name() {
        let long = "x".repeat(MAX_CONTAINER_ID + 1);
        let rows = [
            (0, "add"),
            (1, "../etc"),
            (1, "-x"),
            (1, &long),
            (3, ".."),
            (3, "a/b"),
            (3, "a:b"),
            (3, "a b"),
            (3, "sixteen-octets-x"),
        ];
        for (at, value) in rows {
            let mut variables = ADD;
            variables[at].1 = value;
            let error = read(&variables).expect_err(value);
            assert_eq!(error.code, code::ENVIRONMENT);
            assert!(error.message.starts_with(variables[at].0), "{error}");
        }
    }

    #[test]
    fn an_attachment_is_read_as_it_is_written() {
        let id = read(&ADD).expect("complete").attachment.expect("an attachment");
        assert_eq!(id.to_string(), "c0ffee@eth0");
        assert_eq!(AttachmentId::parse(&id.to_string()), Some(id));
        assert_eq!(AttachmentId::parse("a@b@c").map(|id| id.ifname).as_deref(), Some("b@c"));
        assert_eq!(AttachmentId::parse("nothing"), None);
    }
}
