//! `loop`, which has no settings.

use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::Line;

/// The settings of `loop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The probe asks for a name below this: the server block's first zone.
    pub zone: Domain,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.no_block(line);
    cx.none(line).then(|| Config { zone: cx.zones().first().cloned().unwrap_or_else(Domain::root) })
}
