//! `acl [ZONES...] { ACTION [type TYPES...] [net SOURCES...] }`.

use ipnetwork::IpNetwork;

use super::nets::Nets;
use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::{Line, Token};
use crate::wire::mnemonics;

/// The settings of all `acl` lines of a block, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// One for each line.
    pub rules: Vec<Rule>,
}

/// Policies for some zones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The zones.
    pub zones: Vec<Domain>,
    /// The first that fits a query decides.
    pub policies: Vec<Policy>,
}

/// What to do with some queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What.
    pub action: Action,
    /// Of these types; `None` is all.
    pub types: Option<Vec<u16>>,
    /// From clients in these networks; `None` is all.
    pub nets: Option<Nets>,
}

/// What becomes of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on, whatever later rules say.
    Allow,
    /// REFUSED.
    Block,
    /// An empty answer.
    Filter,
    /// No reply.
    Drop,
}

const ACTIONS: [(&str, Action); 4] = [
    ("allow", Action::Allow),
    ("block", Action::Block),
    ("filter", Action::Filter),
    ("drop", Action::Drop),
];

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let zones = cx.zones_or_served(line.args());
    let policies: Vec<Policy> =
        cx.properties(line).iter().filter_map(|line| policy(line, cx)).collect();
    if line.lines().is_empty() {
        cx.warn(line.span(), "an `acl` without a policy allows all");
    }
    Some(Config { rules: vec![Rule { zones, policies }] })
}

fn policy(line: &Line, cx: &mut Checker<'_>) -> Option<Policy> {
    // CoreDNS takes these words in any case.
    let word = line.name().text.to_ascii_lowercase();
    let Some((_, action)) = ACTIONS.into_iter().find(|(name, _)| *name == word) else {
        cx.unknown(line, &ACTIONS.map(|(name, _)| name));
        return None;
    };
    let mut policy = Policy { action, types: Some(Vec::new()), nets: Some(Nets::default()) };
    let (mut typed, mut netted, mut networks) = (false, false, Vec::new());
    let mut rest = line.args();
    while let Some((section, behind)) = rest.split_first() {
        let kind = section_of(section);
        let end = behind.iter().position(|token| section_of(token).is_some());
        let (tokens, after) = behind.split_at(end.unwrap_or(behind.len()));
        rest = after;
        let Some(kind) = kind else {
            cx.not(section, "`type` or `net`");
            return None;
        };
        if tokens.is_empty() {
            let name = section.text.to_string();
            let want = "one or more arguments".to_owned();
            cx.mistake(section.span, Cause::Arguments { name, want, found: 0 });
        }
        match kind {
            Section::Type => {
                typed = true;
                types(tokens, &mut policy.types, cx);
            }
            Section::Net => {
                netted = true;
                match nets(tokens, cx) {
                    Some(more) => networks.extend(more),
                    None => policy.nets = None,
                }
            }
        }
    }
    policy.types = policy.types.filter(|_| typed);
    policy.nets = policy.nets.filter(|_| netted).map(|_| networks.into_iter().collect());
    Some(policy)
}

#[derive(Clone, Copy)]
enum Section {
    Type,
    Net,
}

fn section_of(token: &Token) -> Option<Section> {
    match &*token.text.to_ascii_lowercase() {
        "type" => Some(Section::Type),
        "net" => Some(Section::Net),
        _ => None,
    }
}

fn types(tokens: &[Token], into: &mut Option<Vec<u16>>, cx: &mut Checker<'_>) {
    for token in tokens {
        match (&*token.text, mnemonics::rtype(&token.text)) {
            ("*", _) => *into = None,
            (_, Some(number)) => into.iter_mut().for_each(|types| types.push(number)),
            (text, None) => {
                let capitals = text.to_ascii_uppercase();
                let want = "a record type in capitals, or `*`".to_owned();
                let cause = Cause::Value { found: text.to_owned(), want };
                match mnemonics::rtype(&capitals) {
                    Some(_) => {
                        cx.mistake_with(token.span, cause, format!("did you mean `{capitals}`?"));
                    }
                    None => cx.mistake(token.span, cause),
                }
            }
        }
    }
}

/// The networks; `None` is all.
fn nets(tokens: &[Token], cx: &mut Checker<'_>) -> Option<Vec<IpNetwork>> {
    let mut networks = Vec::new();
    let mut all = false;
    for token in tokens {
        let text = &*token.text;
        // A mask in dotted form is none of CoreDNS's.
        let length = text.split_once('/').is_none_or(|(_, length)| !length.contains('.'));
        match text.parse().ok().filter(|_| length) {
            Some(network) => networks.push(network),
            None if text == "*" => all = true,
            None => cx.not(token, "an address, a network such as `10.0.0.0/8`, or `*`"),
        }
    }
    (!all).then_some(networks)
}
