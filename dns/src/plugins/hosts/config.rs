//! `hosts [FILE [ZONES...]]`.

use std::path::PathBuf;
use std::time::Duration;

use super::entries::{Entries, parse_address};
use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::Line;

/// The file without one in the directive.
pub const DEFAULT_FILE: &str = "/etc/hosts";

const PROPERTIES: &[&str] =
    &["ttl", "no_reverse", "reload", "fallthrough", "fallthrough_unsupported"];

/// The settings of `hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file; it may not exist.
    pub file: PathBuf,
    /// Names outside these are passed over.
    pub zones: Vec<Domain>,
    /// The lines in the directive's block, names outside `zones` left out.
    pub inline: Entries,
    /// Seconds, 1 to 65535.
    pub ttl: u32,
    /// Whether addresses have names too.
    pub reverse: bool,
    /// Time between two looks at the file; 0 reads it once.
    pub reload: Duration,
    /// Names in these that are not found go to the next plugin.
    pub fallthrough: Vec<Domain>,
    /// Types that a hosts file cannot have go to the next plugin as well.
    pub fallthrough_unsupported: bool,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let (file, zones) = match line.args() {
        [] => (PathBuf::from(DEFAULT_FILE), line.args()),
        [file, zones @ ..] => (cx.path(file), zones),
    };
    let mut config = Config {
        file,
        zones: cx.zones_or_served(zones),
        inline: Entries::default(),
        ttl: 3600,
        reverse: true,
        reload: Duration::from_secs(5),
        fallthrough: Vec::new(),
        fallthrough_unsupported: false,
    };
    let mut unsupported: Option<&Line> = None;
    for property in cx.properties(line) {
        match &*property.name().text {
            "ttl" => {
                let token = cx.one(property, "one argument, a number of seconds");
                let ttl =
                    token.and_then(|token| cx.integer(token, "the TTL in seconds", 1..=65_535));
                config.ttl = ttl.unwrap_or(config.ttl);
            }
            "no_reverse" => config.reverse &= !cx.none(property),
            "reload" => {
                let token = cx.one(property, "one argument, a duration");
                config.reload =
                    token.and_then(|token| cx.duration(token, "reload")).unwrap_or(config.reload);
            }
            "fallthrough" => config.fallthrough = cx.zones_or_root(property.args()),
            "fallthrough_unsupported" => {
                cx.none(property);
                unsupported = Some(property);
            }
            _ => entry(property, &mut config, cx),
        }
    }
    if let Some(property) = unsupported {
        config.fallthrough_unsupported = true;
        if config.fallthrough.is_empty() {
            cx.mistake(
                property.span(),
                Cause::Conflict("`fallthrough_unsupported` needs `fallthrough`"),
            );
        }
    }
    if !config.reverse {
        config.inline.forget_names();
    }
    Some(config)
}

/// A line of a hosts file.
fn entry(line: &Line, config: &mut Config, cx: &mut Checker<'_>) {
    let first = line.name();
    let Some(address) = parse_address(&first.text) else {
        if first.text.starts_with(|ch: char| ch.is_ascii_digit()) || first.text.contains(':') {
            cx.not(first, "an IP address");
        } else {
            cx.unknown(line, PROPERTIES);
        }
        return;
    };
    if !config.fallthrough.is_empty() {
        let cause = Cause::Conflict("`fallthrough` stands before an entry");
        cx.mistake_with(
            first.span,
            cause,
            "CoreDNS wants all entries above `fallthrough`; move it down",
        );
        return;
    }
    let Some(names) = cx.some(line, "one or more names") else { return };
    for token in names {
        let Some(name) = cx.domain(token) else { continue };
        if config.zones.iter().any(|zone| zone.contains(&name)) {
            config.inline.add(address, name);
        }
    }
}
