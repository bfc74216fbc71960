//! `transfer [ZONES...] { to ADDRESS...|*, source ADDRESS }`.

use std::net::{IpAddr, SocketAddr};

use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::Line;

/// The settings of all `transfer` directives of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Each directive's.
    pub rules: Vec<Rule>,
}

/// The settings of one directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The zones that it is for, and what is below them.
    pub zones: Vec<Domain>,
    /// Who may have them, and is told of changes.
    pub to: Vec<SocketAddr>,
    /// Anybody may have them (`*`).
    pub to_all: bool,
    /// Where changes are told from.
    pub source: Option<IpAddr>,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let zones = cx.zones_or_served(line.args());
    let mut rule = Rule { zones, to: Vec::new(), to_all: false, source: None };
    let mut has_to = false;
    for property in cx.properties(line) {
        match &*property.name().text {
            "to" => {
                has_to = true;
                for token in cx.some(property, "one or more addresses, or *").unwrap_or_default() {
                    match &*token.text {
                        "*" => rule.to_all = true,
                        _ => rule.to.extend(cx.socket_address(token)),
                    }
                }
            }
            "source" => {
                let token = cx.one(property, "one argument, an IP address");
                let source = token.and_then(|token| cx.ip(token));
                if rule.source.is_some() {
                    let cause = Cause::Once { name: "source".to_owned(), place: "transfer" };
                    cx.mistake(property.span(), cause);
                }
                rule.source = source.or(rule.source);
            }
            _ => cx.unknown(property, &["to", "source"]),
        }
    }
    if !has_to {
        let cause = Cause::Conflict("`transfer` needs somebody to transfer to");
        cx.mistake_with(line.span(), cause, "write `to *`, or `to` and addresses, in its block");
        return None;
    }
    Some(Config { rules: vec![rule] })
}
