//! `errors`.

use std::time::Duration;

use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::pattern::Pattern;
use crate::corefile::tree::{Line, Token};

const PROPERTIES: &[&str] = &["stacktrace", "consolidate"];

/// The settings of `errors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Whether a panic's trace is logged.
    pub stacktrace: bool,
    /// In the order of the file; the first that matches an error counts it.
    pub consolidate: Vec<Consolidate>,
}

/// Errors that are counted and logged once in a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consolidate {
    /// How long errors are counted before the count is logged; 0 logs each.
    pub period: Duration,
    /// Which errors, by their text.
    pub pattern: Pattern,
    /// How the count is logged.
    pub level: Level,
    /// Whether the first error of a period is logged as it is.
    pub show_first: bool,
}

/// The severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `[DEBUG]`.
    Debug,
    /// `[INFO]`.
    Info,
    /// `[WARNING]`.
    Warning,
    /// `[ERROR]`.
    Error,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    if let Some([token]) = cx.args(line, 0..=1, "no arguments, or `stdout`") {
        cx.choice(token, "a place to log to", &[("stdout", ())]);
    }
    let mut config = Config { stacktrace: false, consolidate: Vec::new() };
    for property in cx.properties(line) {
        match &*property.name().text {
            "stacktrace" => config.stacktrace |= cx.none(property),
            "consolidate" => config.consolidate.extend(consolidate(property, cx)),
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    Some(config)
}

fn consolidate(line: &Line, cx: &mut Checker<'_>) -> Option<Consolidate> {
    let args = cx.args(line, 2..=4, "a duration, a pattern, and perhaps a level and show_first")?;
    let period = cx.duration(&args[0], "the period");
    let pattern = Pattern::parse(&args[1], cx);
    let (level, show_first) = options(&args[2..], cx)?;
    Some(Consolidate { period: period?, pattern: pattern?, level, show_first })
}

/// At most one level, then perhaps `show_first`.
fn options(tokens: &[Token], cx: &mut Checker<'_>) -> Option<(Level, bool)> {
    let choices = [
        ("debug", Some(Level::Debug)),
        ("info", Some(Level::Info)),
        ("warning", Some(Level::Warning)),
        ("error", Some(Level::Error)),
        ("show_first", None),
    ];
    let mut level = None;
    let mut show_first = false;
    for token in tokens {
        match cx.choice(token, "an option of `consolidate`", &choices)? {
            Some(_) if level.is_some() => {
                cx.mistake(token.span, Cause::Conflict("`consolidate` takes one level"));
                return None;
            }
            Some(_) if show_first => {
                cx.mistake(token.span, Cause::Conflict("the level stands before `show_first`"));
                return None;
            }
            Some(found) => level = Some(found),
            None => show_first = true,
        }
    }
    Some((level.unwrap_or(Level::Error), show_first))
}
