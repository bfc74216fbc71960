//! `log [NAMES...] [FORMAT]`.

use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::Line;
use crate::plugins::log::format::{COMBINED, COMMON, Piece, compile};

const PROPERTIES: &[&str] = &["class"];

/// The settings of all `log` directives of a server block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// At least one, in the order of the file. The first whose name fits a query says whether and how it is logged.
    pub rules: Vec<Rule>,
}

/// What is logged of the names below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Queries for this name and names below it.
    pub name: Domain,
    /// The line to print, piece by piece.
    pub format: Vec<Piece>,
    /// Which replies.
    pub classes: Classes,
}

/// A set of classes of replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classes {
    /// An answer or a delegation.
    pub success: bool,
    /// NXDOMAIN or no data.
    pub denial: bool,
    /// All else.
    pub error: bool,
}

impl Classes {
    /// Every reply.
    pub const ALL: Self = Self { success: true, denial: true, error: true };
    const NONE: Self = Self { success: false, denial: false, error: false };
}

/// Reads one directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let (names, format) = match line.args() {
        [only] if only.text.contains('{') => {
            let cause = Cause::Value { found: only.text.to_string(), want: "a name".to_owned() };
            cx.mistake_with(
                only.span,
                cause,
                format!("a format stands after a name: `log . \"{}\"`", only.text),
            );
            return None;
        }
        [names @ .., format] if format.text.contains('{') => {
            (names, format.text.replace("{common}", COMMON).replace("{combined}", COMBINED))
        }
        names => (names, COMMON.to_owned()),
    };
    let mut scopes = Vec::new();
    for token in names {
        scopes.push(cx.domain(token)?);
    }
    if scopes.is_empty() {
        scopes.push(Domain::root());
    }
    let mut classes = Classes::NONE;
    for property in cx.properties(line) {
        match &*property.name().text {
            "class" => add_classes(&mut classes, property, cx),
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    if classes == Classes::NONE {
        classes = Classes::ALL;
    }
    let format = compile(&format);
    Some(Config {
        rules: scopes
            .into_iter()
            .map(|name| Rule { name, format: format.clone(), classes })
            .collect(),
    })
}

fn add_classes(classes: &mut Classes, line: &Line, cx: &mut Checker<'_>) {
    let choices = [
        ("all", Classes::ALL),
        ("success", Classes { success: true, ..Classes::NONE }),
        ("denial", Classes { denial: true, ..Classes::NONE }),
        ("error", Classes { error: true, ..Classes::NONE }),
    ];
    for token in cx.some(line, "one or more of success, denial, error and all").unwrap_or_default()
    {
        if let Some(found) = cx.choice(token, "a class of replies", &choices) {
            classes.success |= found.success;
            classes.denial |= found.denial;
            classes.error |= found.error;
        }
    }
}
