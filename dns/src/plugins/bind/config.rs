//! `bind ADDRESS|INTERFACE...`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::corefile::checker::Checker;
use crate::corefile::tree::{Line, Token};

/// Longest name of a network interface (Linux `IFNAMSIZ` less its zero byte).
const MAX_INTERFACE: usize = 15;
const PROPERTIES: &[&str] = &["except"];

/// The settings of all `bind` directives of a server block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// One for each directive, at least one.
    pub groups: Vec<Group>,
}

/// One `bind` directive. Interfaces are looked up when the server starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What to listen on, at least one.
    pub targets: Vec<Target>,
    /// What to leave out of it.
    pub except: Vec<Target>,
}

impl Config {
    /// What to listen on by all directives, before anything is left out.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.groups.iter().flat_map(|group| &group.targets)
    }
}

/// An address, or all addresses of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address.
    Ip(IpAddr),
    /// A name that may be an interface's.
    Interface(Arc<str>),
}

/// Reads one directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let tokens = cx.some(line, "one or more addresses or interfaces")?;
    let targets = targets(tokens, cx)?;
    let mut except = Vec::new();
    for property in cx.properties(line) {
        match &*property.name().text {
            "except" => {
                let tokens = cx.some(property, "one or more addresses or interfaces")?;
                // As in CoreDNS, a further `except` takes the place of the first.
                except = self::targets(tokens, cx)?;
            }
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    Some(Config { groups: vec![Group { targets, except }] })
}

fn targets(tokens: &[Token], cx: &mut Checker<'_>) -> Option<Vec<Target>> {
    let found: Vec<_> = tokens.iter().map(|token| target(token, cx)).collect();
    found.into_iter().collect()
}

fn target(token: &Token, cx: &mut Checker<'_>) -> Option<Target> {
    if let Ok(ip) = token.text.parse() {
        return Some(Target::Ip(ip));
    }
    let text = &token.text;
    let number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let odd = text.chars().any(|ch| ch.is_whitespace() || ch.is_control() || "/:%".contains(ch));
    if text.is_empty() || text.len() > MAX_INTERFACE || number || odd {
        cx.not(token, "an IP address or the name of an interface");
        return None;
    }
    Some(Target::Interface(text.clone()))
}
