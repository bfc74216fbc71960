//! `cancel [TIMEOUT]`.

use std::time::Duration;

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// A little more than clients commonly wait.
const DEFAULT: Duration = Duration::from_millis(5001);

/// The settings of `cancel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Time for one query, above zero.
    pub timeout: Duration,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.no_block(line);
    let timeout = match cx.args(line, 0..=1, "nothing, or a duration")? {
        [token] => cx.positive_duration(token, "the time for a query")?,
        _ => DEFAULT,
    };
    Some(Config { timeout })
}
