//! `nsid [DATA...]`.

use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// Octets of the longest identifier, so that it leaves room in any reply.
pub const MAX_DATA: usize = 128;

/// The settings of `nsid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the server calls itself; `None` is the machine's name.
    pub data: Option<Box<str>>,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.no_block(line);
    let words: Vec<&str> = line.args().iter().map(|token| &*token.text).collect();
    let data = words.join(" ");
    if data.len() > MAX_DATA {
        let cause = Cause::TooLarge { what: "octets of an identifier", most: MAX_DATA };
        cx.mistake(line.span(), cause);
        return None;
    }
    Some(Config { data: (!words.is_empty()).then(|| data.into()) })
}
