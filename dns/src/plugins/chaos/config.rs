//! `chaos [VERSION] [AUTHORS...]`.

use std::collections::BTreeSet;

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// The version without one in the directive.
pub const VERSION: &str = concat!("Daymark-", env!("CARGO_PKG_VERSION"));
/// The authors without any in the directive.
pub const AUTHORS: &str = "the Daymark authors";

/// The settings of `chaos`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What `version.bind` says.
    pub version: Box<str>,
    /// What `authors.bind` says, each once.
    pub authors: BTreeSet<Box<str>>,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.no_block(line);
    let mut words = line.args().iter().map(|token| Box::from(&*token.text));
    let version = words.next().unwrap_or_else(|| VERSION.into());
    let mut authors: BTreeSet<Box<str>> = words.collect();
    if authors.is_empty() {
        authors.insert(AUTHORS.into());
    }
    Some(Config { version, authors })
}
