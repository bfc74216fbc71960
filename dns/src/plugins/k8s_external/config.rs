//! `k8s_external [ZONES...]`.

use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::source::Span;
use crate::corefile::tree::{Line, Token};

const PROPERTIES: &[&str] = &["apex", "ttl", "headless", "fallthrough"];

/// The settings of `k8s_external`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Zones, reverse ones too, in the order of the file.
    pub zones: Vec<Domain>,
    /// The label below which the name server of each zone is.
    pub apex: Box<str>,
    /// Seconds, 0 to 3600.
    pub ttl: u32,
    /// Headless Services and endpoints have names as well.
    pub headless: bool,
    /// Names in these that are not found go to the next plugin.
    pub fallthrough: Vec<Domain>,
    /// Where the directive stands.
    pub place: Span,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let mut config = Config {
        zones: cx.zones_or_served(line.args()),
        apex: "dns".into(),
        ttl: 5,
        headless: false,
        fallthrough: Vec::new(),
        place: line.span(),
    };
    for property in cx.properties(line) {
        match &*property.name().text {
            "apex" => {
                let token = cx.one(property, "one argument, a label");
                config.apex = token.and_then(|token| label(token, cx)).unwrap_or(config.apex);
            }
            "ttl" => {
                let token = cx.one(property, "one argument, a number of seconds");
                let ttl = token.and_then(|token| cx.integer(token, "the TTL in seconds", 0..=3600));
                config.ttl = ttl.unwrap_or(config.ttl);
            }
            "headless" => config.headless |= cx.none(property),
            "fallthrough" => config.fallthrough = cx.zones_or_root(property.args()),
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    Some(config)
}

/// One label of DNS: the names below it are looked for by their number of labels.
fn label(token: &Token, cx: &mut Checker<'_>) -> Option<Box<str>> {
    let domain = cx.domain(token)?;
    let label = domain.as_str().trim_end_matches('.');
    if label.is_empty() || label.contains('.') {
        cx.not(token, "one label, such as `dns`");
        return None;
    }
    Some(label.into())
}
