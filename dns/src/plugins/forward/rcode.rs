//! Response codes by name, in `next` and `failover`.

use crate::corefile::checker::Checker;
use crate::corefile::tree::{Line, Token};
use crate::wire::mnemonics::RCODES;

/// Reads the names in any case; those that are no response code are left out and noted.
pub(super) fn parse(line: &Line, cx: &mut Checker<'_>) -> Vec<u16> {
    let tokens = cx.some(line, "one or more response codes").unwrap_or_default();
    let code = |token: &Token| {
        let name = token.text.to_ascii_uppercase();
        let upper = Token { text: name.into(), ..token.clone() };
        cx.choice(&upper, "a response code", &RCODES)
    };
    tokens.iter().filter_map(code).collect()
}
