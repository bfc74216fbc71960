//! `file DB [ZONES...]`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::authority::{ZoneData, ZoneError, master};
use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::{Line, Token};
use crate::plugins::kubernetes::records::name;

/// How often files are looked at when nothing else is said.
const RELOAD: Duration = Duration::from_secs(60);
const PROPERTIES: &[&str] = &["reload", "reload_by_mtime", "fallthrough"];

/// The settings of all `file` directives of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Each directive's.
    pub files: Vec<File>,
    /// Names in these that are not found go to the next plugin.
    pub fallthrough: Vec<Domain>,
}

/// The settings of one directive.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// The master file.
    pub path: PathBuf,
    /// The zones that it is for, and what it was for each when the Corefile was read; nothing where it was not there.
    pub zones: Vec<(Domain, Option<Arc<ZoneData>>)>,
    /// How often it is looked at; 0 for never.
    pub reload: Duration,
}

impl Config {
    /// Takes in another directive. As in CoreDNS `fallthrough` is one for all.
    pub(crate) fn absorb(&mut self, more: Self) {
        self.files.extend(more.files);
        if !more.fallthrough.is_empty() {
            self.fallthrough = more.fallthrough;
        }
    }
}

/// Reads the directive, and its file.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let [token, zones @ ..] = cx.some(line, "a file, and perhaps zones")? else { return None };
    let path = cx.path(token);
    let (mut reload, mut fallthrough) = (RELOAD, Vec::new());
    for property in cx.properties(line) {
        match &*property.name().text {
            "reload" => {
                let token = cx.one(property, "one argument, a duration");
                reload = token.and_then(|token| cx.duration(token, "reload")).unwrap_or(reload);
            }
            "reload_by_mtime" => {
                cx.none(property);
            }
            "fallthrough" => fallthrough = cx.zones_or_root(property.args()),
            "upstream" => cx.warn(property.span(), "`upstream` is no longer needed"),
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    let domains = cx.zones_or_served(zones);
    let mut zones = Vec::new();
    for domain in domains {
        let data = read(token, &path, &domain, reload, cx)?;
        zones.push((domain, data));
    }
    Some(Config { files: vec![File { path, zones, reload }], fallthrough })
}

/// The zone in the file. One that is not there yet may come; `None` after a mistake.
fn read(
    token: &Token,
    path: &Path,
    domain: &Domain,
    reload: Duration,
    cx: &mut Checker<'_>,
) -> Option<Option<Arc<ZoneData>>> {
    let origin = name(&[&domain.to_wire()])?;
    let loaded = master::load(origin, path, &|path| cx.file(path));
    match loaded {
        Ok(loaded) => {
            if loaded.outside > 0 {
                cx.warn(token.span, "the file has records outside the zone, which are left out");
            }
            Some(Some(Arc::new(loaded.zone)))
        }
        Err(ZoneError::Read { path: missing, .. }) if missing == path && !reload.is_zero() => {
            cx.warn(token.span, "the file can't be read; its zone is SERVFAIL until it can");
            Some(None)
        }
        Err(error) => {
            let want = format!("a zone file for {domain}: {error}");
            cx.mistake(token.span, Cause::Value { found: token.text.to_string(), want });
            None
        }
    }
}
