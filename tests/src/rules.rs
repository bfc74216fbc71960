//! The table of record rules: reading it, asking it, comparing. The format is explained in
//! tests/dns/rules/README.md.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Context, bail, ensure};
use hickory_proto::{
    op::Message,
    rr::{DNSClass, rdata::opt::EdnsOption},
};
use serde::Deserialize;

use crate::{
    dns::{self, EdnsOptions, Transport},
    folder, peers, ports,
};

/// A server of the table: a piece of Corefile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerVariant {
    /// Its name.
    pub name: String,
    /// The piece, with placeholders.
    pub corefile: String,
    /// What it needs: `api`, `local-address`.
    #[serde(default)]
    pub needs: Needs,
}

/// One need, several, or none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
pub enum Needs {
    /// None.
    #[default]
    None,
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Needs {
    /// Whether `need` is among them.
    pub fn contain(&self, need: &str) -> bool {
        match self {
            Needs::None => false,
            Needs::One(one) => one == need,
            Needs::Several(all) => all.iter().any(|one| one == need),
        }
    }
}

/// One question and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The behaviour that it shows.
    pub name: String,
    /// The rule.
    #[serde(default)]
    pub clause: String,
    /// positive, negative, mixed-case.
    #[serde(default)]
    pub kind: String,
    /// Which server is asked.
    #[serde(default = "default_server")]
    pub server: String,
    /// Name and type.
    pub query: String,
    /// Over which transport.
    #[serde(default)]
    pub transport: Transport,
    /// The query's OPT record.
    #[serde(default)]
    pub edns: Option<EdnsOptions>,
    /// The query's class, IN if left out.
    #[serde(default)]
    pub class: Option<String>,
    /// The query's header flags, RD if left out.
    #[serde(default)]
    pub header: Option<Vec<String>>,
    /// The client's address.
    #[serde(default)]
    pub from: Option<IpAddr>,
    /// Expected.
    #[serde(flatten)]
    pub expected: Expected,
    /// What CoreDNS says instead.
    #[serde(default)]
    pub coredns: Option<Difference>,
}

fn default_server() -> String {
    "default".to_owned()
}

/// An expected reply.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Expected {
    /// RCODE's mnemonic.
    #[serde(default)]
    pub rcode: String,
    /// Header flags besides QR.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Records in presentation form.
    #[serde(default)]
    pub answer: Vec<String>,
    /// Records in presentation form.
    #[serde(default)]
    pub authority: Vec<String>,
    /// Records in presentation form, OPT left out.
    #[serde(default)]
    pub additional: Vec<String>,
    /// The record that the answer begins with; not looked at if left out.
    #[serde(default)]
    pub first: Option<String>,
    /// Options of the OPT record, as `code hexadecimal` or `15 info-code text`; not looked at if left
    /// out.
    #[serde(default)]
    pub options: Option<Vec<String>>,
}

/// Where CoreDNS differs on purpose.
#[derive(Clone, Debug, Deserialize)]
pub struct Difference {
    /// Heading in DIFFERENCES.md.
    pub difference: String,
    /// CoreDNS must not be asked.
    #[serde(default)]
    pub skip: bool,
    /// What it says.
    #[serde(flatten)]
    pub expected: Expected,
}

/// The whole table.
pub struct Table {
    /// Its servers.
    pub servers: Vec<ServerVariant>,
    /// Its cases.
    pub cases: Vec<Case>,
}

impl Table {
    /// Reads tests/dns/rules.
    ///
    /// # Errors
    /// What can't be read.
    pub fn read() -> anyhow::Result<Self> {
        let folder = peers::repository().join("tests/dns/rules");
        let servers = read_yaml(&folder.join("servers.yaml"))?;
        let mut files: Vec<_> = std::fs::read_dir(folder.join("cases"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<anyhow::Result<_>>()?;
        files.sort();
        let mut cases = Vec::new();
        for file in files {
            cases.extend(read_yaml::<Vec<Case>>(&file)?);
        }
        Ok(Table { servers, cases })
    }
}

/// Reads a file of YAML.
///
/// # Errors
/// With the file's name and the place in it.
pub fn read_yaml<T: serde::de::DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("reading {}", file.display()))
}

/// What fills the placeholders of [`ServerVariant::corefile`].
#[derive(Default)]
pub struct Filling {
    /// `@KUBERNETES@`.
    pub kubernetes: String,
    /// `@API@`, `@CERT@`, `@KEY@`, `@CA@`; none without an API server.
    pub api: Option<[String; 4]>,
}

/// A Corefile of all servers that can run here, and where each listens.
pub fn corefile(servers: &[ServerVariant], filling: &Filling) -> (String, HashMap<String, u16>) {
    let local = folder::local_v4();
    let runs = |server: &&ServerVariant| {
        (filling.api.is_some() || !server.needs.contain("api"))
            && (local.is_some() || !server.needs.contain("local-address"))
    };
    let servers: Vec<&ServerVariant> = servers.iter().filter(runs).collect();
    let ports: HashMap<String, u16> =
        servers.iter().map(|server| (server.name.clone(), ports::free())).collect();
    let mut text = String::new();
    for server in servers {
        let mut piece = server.corefile.replace("@PORT@", &ports[&server.name].to_string());
        for (name, port) in &ports {
            piece = piece.replace(&format!("@PORT:{name}@"), &port.to_string());
        }
        piece = piece.replace("@KUBERNETES@", &filling.kubernetes);
        if let Some(api) = &filling.api {
            for (placeholder, value) in ["@API@", "@CERT@", "@KEY@", "@CA@"].iter().zip(api) {
                piece = piece.replace(placeholder, value);
            }
        }
        text.push_str(&piece);
    }
    (text, ports)
}

/// Asks a case's question and compares the reply.
///
/// # Errors
/// What differs, as lines that begin with `-` (expected) and `+` (received).
pub fn check(case: &Case, server: SocketAddr, expected: &Expected) -> anyhow::Result<()> {
    let query = question(case)?;
    judge(case, server, expected, dns::ask_from(case.from, server, &query, case.transport))
}

/// Compares the reply to a case's question, asked by whatever way.
///
/// # Errors
/// As [`check`].
pub fn judge(
    case: &Case,
    server: SocketAddr,
    expected: &Expected,
    reply: anyhow::Result<Message>,
) -> anyhow::Result<()> {
    if expected.rcode == NO_REPLY {
        ensure!(reply.is_err(), "{} at {server}\n  + a reply, where none was due", case.query);
        return Ok(());
    }
    let differences = compare(case, expected, &reply?);
    if differences.is_empty() {
        return Ok(());
    }
    bail!("{} at {server}\n{}", case.query, differences.join("\n"))
}

/// In the place of an RCODE: the server says nothing.
const NO_REPLY: &str = "none";

/// The query of a case.
///
/// # Errors
/// If it is none.
pub fn question(case: &Case) -> anyhow::Result<Message> {
    let (name, rtype) = case.query.split_once(' ').context("a query is a name and a type")?;
    let mut query = dns::query(name, rtype, case.edns.as_ref())?;
    if let Some(class) = &case.class {
        let class = match class.as_str() {
            "CH" => DNSClass::CH,
            "HS" => DNSClass::HS,
            "ANY" => DNSClass::ANY,
            other => bail!("`{other}` is no class that the tests know"),
        };
        query.queries[0].set_query_class(class);
    }
    if let Some(flags) = &case.header {
        let set = |flag: &str| flags.iter().any(|one| one == flag);
        query.metadata.recursion_desired = set("rd");
        query.metadata.recursion_available = set("ra");
        query.metadata.authentic_data = set("ad");
        query.metadata.checking_disabled = set("cd");
        query.metadata.authoritative = set("aa");
    }
    Ok(query)
}

/// What differs, a text for each part of the reply.
fn compare(case: &Case, expected: &Expected, reply: &Message) -> Vec<String> {
    let mut differences = Vec::new();
    let code = code_name(reply.metadata.response_code.into());
    differences.extend(differs("rcode", std::slice::from_ref(&expected.rcode), &[code.to_owned()]));
    let flags: Vec<String> = dns::flags(reply).into_iter().map(str::to_owned).collect();
    differences.extend(differs("flags", &sorted(expected.flags.clone()), &sorted(flags)));
    for (section, want, got) in [
        ("answer", &expected.answer, &reply.answers),
        ("authority", &expected.authority, &reply.authorities),
        ("additional", &expected.additional, &reply.additionals),
    ] {
        let got: Vec<String> = got.iter().map(dns::presentation).collect();
        let want = settle(expand(want), &got);
        differences.extend(differs(section, &section_order(want), &section_order(got)));
    }
    if let Some(first) = &expected.first {
        let got: Vec<String> = reply.answers.iter().take(1).map(dns::presentation).collect();
        differences.extend(differs("first", std::slice::from_ref(first), &got));
    }
    let opt = |there: bool| [String::from(if there { "an OPT record" } else { "no OPT record" })];
    differences.extend(differs("edns", &opt(case.edns.is_some()), &opt(reply.edns.is_some())));
    if let Some(want) = &expected.options {
        let got = options(reply);
        let want = settle(want.clone(), &got);
        differences.extend(differs("options", &sorted(want), &sorted(got)));
    }
    differences
}

/// The options of a message's OPT record, as [`Expected::options`] has them.
pub fn options(message: &Message) -> Vec<String> {
    let Some(edns) = &message.edns else { return Vec::new() };
    let shown = |(code, option): &(_, EdnsOption)| {
        let code = u16::from(*code);
        let data = Vec::try_from(option).unwrap_or_default();
        match data.split_first_chunk() {
            Some((info, text)) if code == 15 => {
                format!("15 {} {}", u16::from_be_bytes(*info), String::from_utf8_lossy(text))
            }
            _ => {
                let hex: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
                format!("{code} {hex}")
            }
        }
    };
    edns.options().as_ref().iter().map(shown).map(|text| text.trim_end().to_owned()).collect()
}

/// Stands for any text without a space in what is expected.
const ANY: &str = "<any>";

/// Puts what was received in the place of each expected text that it matches.
fn settle(want: Vec<String>, got: &[String]) -> Vec<String> {
    let matches = |pattern: &str, text: &str| {
        let (mut pattern, mut text) = (pattern.split(' '), text.split(' '));
        let mut words = pattern.by_ref().zip(text.by_ref());
        words.all(|(want, got)| want == ANY || want == got)
            && pattern.next().is_none()
            && text.next().is_none()
    };
    let settled = |want: String| match got.iter().find(|got| matches(&want, got)) {
        Some(got) => got.clone(),
        None => want,
    };
    want.into_iter().map(settled).collect()
}

fn code_name(code: u16) -> &'static str {
    match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        9 => "NOTAUTH",
        16 => "BADVERS",
        _ => "another code",
    }
}

fn differs(what: &str, want: &[String], got: &[String]) -> Option<String> {
    if want == got {
        return None;
    }
    let lines = |sign: char, all: &[String], other: &[String]| -> String {
        let missing = all.iter().filter(|line| !other.contains(line));
        missing.map(|line| format!("\n  {sign} {line}")).collect()
    };
    Some(format!("{what}:{}{}", lines('-', want, got), lines('+', got, want)))
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// CNAME records keep their order and come first; the rest is a set.
fn section_order(lines: Vec<String>) -> Vec<String> {
    let (mut ordered, rest): (Vec<String>, Vec<String>) =
        lines.into_iter().partition(|line| line.contains(" IN CNAME "));
    ordered.extend(sorted(rest));
    ordered
}

/// `@LOCAL4@` is the machine's first address; `@EACH4@` and `@EACH6@` make a record for each.
fn expand(lines: &[String]) -> Vec<String> {
    let own = folder::own_addresses();
    let local = folder::local_v4().map(|address| address.to_string()).unwrap_or_default();
    let mut out = Vec::new();
    for line in lines {
        let each = |placeholder: &str, v4: bool| -> Vec<String> {
            let wanted = own.iter().filter(|address| address.is_ipv4() == v4);
            wanted.map(|address| line.replace(placeholder, &address.to_string())).collect()
        };
        match () {
            () if line.contains("@EACH4@") => out.extend(each("@EACH4@", true)),
            () if line.contains("@EACH6@") => out.extend(each("@EACH6@", false)),
            () => out.push(line.replace("@LOCAL4@", &local)),
        }
    }
    out
}
