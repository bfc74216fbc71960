//! Which names a rule is for, and what it makes of them. Names are text in presentation form.

use std::fmt::Write;

use crate::{corefile::pattern::Pattern, plugins::metadata::Metadata};

/// Which names, by their text in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Match {
    /// This one.
    Exact(String),
    /// Those that begin so.
    Prefix(String),
    /// Those that end so, in the middle of a label perhaps.
    Suffix(String),
    /// Those that have this in them.
    Substring(String),
    /// Those that a pattern finds something in.
    Regex(Pattern),
}

impl Match {
    /// Whether `name` (lower case) is one of them.
    pub(super) fn takes(&self, name: &str) -> bool {
        match self {
            Match::Exact(text) => name == text,
            Match::Prefix(text) => name.starts_with(text.as_str()),
            Match::Suffix(text) => name.ends_with(text.as_str()),
            Match::Substring(text) => name.contains(text.as_str()),
            Match::Regex(pattern) => pattern.0.is_match(name),
        }
    }
}

/// A part of what a name is replaced by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it is.
    Text(String),
    /// What a group of the pattern found; nothing if it found none.
    Group(usize),
    /// The value of a metadata label, in lower case.
    Label(String),
}

/// What a name is replaced by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replacement(pub(super) Vec<Piece>);

impl Replacement {
    /// This text.
    pub(super) fn text(text: &str) -> Self {
        Replacement(vec![Piece::Text(text.to_owned())])
    }

    /// Text with `{0}` to `{N}` for what the groups of a pattern find; other braces are text.
    pub(super) fn with_groups(text: &str, groups: usize) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        let mut plain = String::new();
        while let Some((before, behind)) = rest.split_once('{') {
            plain.push_str(before);
            let group = behind.split_once('}').and_then(|(digits, behind)| {
                let number = digits.parse().ok().filter(|number| *number <= groups);
                // CoreDNS looks for numbers as it would write them: `{01}` is text.
                number.filter(|number: &usize| number.to_string() == digits).zip(Some(behind))
            });
            match group {
                Some((number, behind)) => {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    pieces.push(Piece::Group(number));
                    rest = behind;
                }
                None => {
                    plain.push('{');
                    rest = behind;
                }
            }
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Replacement(pieces)
    }

    /// The text; `None` where a label has no value. `group` gives what a group found.
    fn fill<'a>(&self, metadata: &Metadata, group: impl Fn(usize) -> &'a str) -> Option<String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Group(number) => out.push_str(group(*number)),
                Piece::Label(label) => {
                    let value = metadata.value(label).filter(|value| !value.is_empty())?;
                    out.push_str(&value.to_lowercase());
                }
            }
        }
        Some(out)
    }
}

/// Names and what becomes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Renaming {
    pub(super) from: Match,
    pub(super) to: Replacement,
}

impl Renaming {
    /// What becomes of `name` (lower case); `None` if it is none of the names.
    pub(super) fn apply(&self, name: &str, metadata: &Metadata) -> Option<String> {
        let fill = || self.to.fill(metadata, |_| "");
        match &self.from {
            Match::Exact(text) => (name == text).then(fill)?,
            Match::Prefix(text) => {
                let behind = name.strip_prefix(text.as_str())?;
                fill().map(|to| to + behind)
            }
            Match::Suffix(text) => {
                let before = name.strip_suffix(text.as_str())?;
                fill().map(|to| before.to_owned() + &to)
            }
            Match::Substring(text) => {
                let found = !text.is_empty() && name.contains(text.as_str());
                found.then(|| fill().map(|to| name.replace(text.as_str(), &to)))?
            }
            Match::Regex(pattern) => {
                let found = pattern.0.captures(name)?;
                self.to.fill(metadata, |group| found.get(group).map_or("", |group| group.as_str()))
            }
        }
    }
}

/// How many different groups of `{0}` to `{100}` a replacement uses, as CoreDNS counts them.
pub(super) fn groups_used(text: &str) -> usize {
    let mut word = String::new();
    (0..=100)
        .filter(|number| {
            word.clear();
            write!(word, "{{{number}}}").is_ok() && text.contains(&word)
        })
        .count()
}
