//! `bufsize [SIZE]`.

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// Octets that pass most paths unfragmented (DNS flag day 2020).
const DEFAULT: u16 = 1232;

/// The settings of `bufsize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Most octets of a UDP reply to a client with EDNS, 512 to 4096.
    pub size: u16,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.no_block(line);
    let size = match cx.args(line, 0..=1, "nothing, or a number of octets")? {
        [token] => cx.integer(token, "the size in octets", 512..=4096)?,
        _ => DEFAULT,
    };
    Some(Config { size })
}
