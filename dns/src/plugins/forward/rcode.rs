//! Response codes by name, in `next` and `failover`.

use crate::corefile::checker::Checker;
use crate::corefile::tree::{Line, Token};

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

/// Response codes by the names that CoreDNS knows them by.
const RCODES: [(&str, u16); 21] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("NOTIMPL", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("DSOTYPENI", 11),
    ("BADSIG", 16),
    ("BADKEY", 17),
    ("BADTIME", 18),
    ("BADMODE", 19),
    ("BADNAME", 20),
    ("BADALG", 21),
    ("BADTRUNC", 22),
    ("BADCOOKIE", 23),
];
