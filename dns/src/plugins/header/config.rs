//! `header { query|response set|clear FLAG... }`.

use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// The settings of `header`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Config {
    /// What is changed in queries, before the plugins behind see them.
    pub query: Edits,
    /// What is changed in replies.
    pub response: Edits,
}

/// What a flag becomes; `None` leaves it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Edits {
    /// Authoritative answer.
    pub aa: Option<bool>,
    /// Recursion available.
    pub ra: Option<bool>,
    /// Recursion desired.
    pub rd: Option<bool>,
}

#[derive(Clone, Copy)]
enum Flag {
    Aa,
    Ra,
    Rd,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.none(line);
    let mut config = Config::default();
    let properties = cx.properties(line);
    if properties.is_empty() {
        let want = "a block with rules".to_owned();
        let cause = Cause::Arguments { name: "header".to_owned(), want, found: 0 };
        cx.mistake_with(line.span(), cause, "write `response set ra`, for instance");
        return None;
    }
    for property in properties {
        // CoreDNS takes these words in any case.
        match &*property.name().text.to_ascii_lowercase() {
            "query" => rule(property, &mut config.query, cx),
            "response" => rule(property, &mut config.response, cx),
            _ => cx.unknown(property, &["query", "response"]),
        }
    }
    Some(config)
}

/// `set|clear FLAG...`; of two rules for one flag the later one holds.
fn rule(line: &Line, edits: &mut Edits, cx: &mut Checker<'_>) {
    let Some(args) = cx.args(line, 2..=usize::MAX, "`set` or `clear`, and one or more flags")
    else {
        return;
    };
    let state = cx.choice_in_any_case(&args[0], "an action", &[("set", true), ("clear", false)]);
    for token in &args[1..] {
        let flags = [("aa", Flag::Aa), ("ra", Flag::Ra), ("rd", Flag::Rd)];
        let flag = cx.choice_in_any_case(token, "a flag", &flags);
        match flag {
            Some(Flag::Aa) => edits.aa = state,
            Some(Flag::Ra) => edits.ra = state,
            Some(Flag::Rd) => edits.rd = state,
            None => {}
        }
    }
}
