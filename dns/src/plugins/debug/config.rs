//! `debug`, which has no settings.

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// `debug` is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config;

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.no_block(line);
    cx.none(line).then_some(Config)
}
