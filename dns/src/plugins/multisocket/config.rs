//! `multisocket [N]`.

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// Most sockets on one port.
pub const MAX_SOCKETS: u16 = 1024;

/// The settings of `multisocket`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Sockets for each address and port, 1 to [`MAX_SOCKETS`]; `None` is one for each core.
    pub sockets: Option<u16>,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.no_block(line);
    match cx.args(line, 0..=1, "at most one argument, the number of sockets")? {
        [number] => Some(Config {
            sockets: Some(cx.integer(number, "the number of sockets", 1..=MAX_SOCKETS)?),
        }),
        _ => Some(Config { sockets: None }),
    }
}
