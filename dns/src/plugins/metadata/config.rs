//! `metadata [ZONES...]`.

use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::Line;

/// The settings of `metadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Labels are collected for names in these.
    pub zones: Vec<Domain>,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.no_block(line);
    Some(Config { zones: cx.zones_or_served(line.args()) })
}
