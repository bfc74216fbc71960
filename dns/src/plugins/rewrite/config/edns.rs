//! `rewrite edns0 local|nsid|subnet set|append|replace|unset ... [revert]`.

use super::{Args, lower};
use crate::corefile::checker::Checker;
use crate::corefile::tree::Token;
use crate::plugins::metadata::is_label;
use crate::plugins::rewrite::edns::{EdnsAction, EdnsRule, NSID, SUBNET, Value, Variable};

#[derive(Clone, Copy)]
enum Kind {
    Local,
    Nsid,
    Subnet,
}

const KINDS: [(&str, Kind); 3] =
    [("local", Kind::Local), ("nsid", Kind::Nsid), ("subnet", Kind::Subnet)];

const ACTIONS: [(&str, EdnsAction); 4] = [
    ("set", EdnsAction::Set),
    ("append", EdnsAction::Append),
    ("replace", EdnsAction::Replace),
    ("unset", EdnsAction::Unset),
];

/// Reads a rule for an EDNS option.
pub(super) fn rule(args: &Args<'_>, cx: &mut Checker<'_>) -> Option<EdnsRule> {
    let words = args.of(2..=5, "a kind of option, what to do with it, and with what", cx)?;
    let kind = cx.choice(&lower(&words[0]), "a kind of option", &KINDS)?;
    let action = cx.choice(&lower(&words[1]), "what can be done with an option", &ACTIONS)?;
    let unset = action == EdnsAction::Unset;
    let revert = !unset && words.last().is_some_and(|word| &*word.text == "revert");
    let behind = words.len() - 2 - usize::from(revert);
    let (count, want) = match (kind, unset) {
        (Kind::Nsid, _) => (0, "no value for `nsid`"),
        (Kind::Local, true) => (1, "the option's code"),
        (Kind::Local, false) => (2, "the option's code and its value"),
        (Kind::Subnet, true) => (0, "no value for `subnet unset`"),
        (Kind::Subnet, false) => (2, "bits of an IPv4 and of an IPv6 address"),
    };
    if behind != count {
        let all = count + 2 + usize::from(revert);
        args.of(all..=all, &format!("`{} {}` and {want}", words[0].text, words[1].text), cx);
        return None;
    }
    let (code, value) = match (kind, unset) {
        (Kind::Nsid, _) => (NSID, Value::Octets(Vec::new())),
        (Kind::Local, true) => (code(&words[2], cx)?, Value::Octets(Vec::new())),
        (Kind::Local, false) => {
            let (code, value) = (code(&words[2], cx), value(&words[3], cx));
            (code?, value?)
        }
        (Kind::Subnet, true) => (SUBNET, Value::Octets(Vec::new())),
        (Kind::Subnet, false) => {
            let v4 = bits(&words[2], "bits of an IPv4 address", 32, cx);
            let v6 = bits(&words[3], "bits of an IPv6 address", 128, cx);
            (SUBNET, Value::Subnet(v4?, v6?))
        }
    };
    Some(EdnsRule { code, action, value, revert })
}

fn code(token: &Token, cx: &mut Checker<'_>) -> Option<u16> {
    let found = number(&token.text).and_then(|number| u16::try_from(number).ok());
    if found.is_none() {
        cx.not(token, "an option's code from 0 to 65535, such as `0xffee`");
    }
    found
}

fn bits(token: &Token, what: &str, most: u8, cx: &mut Checker<'_>) -> Option<u8> {
    let found = number(&token.text).and_then(|number| u8::try_from(number).ok());
    let found = found.filter(|bits| *bits <= most);
    if found.is_none() {
        cx.out_of_range(token, what, &format!("from 0 to {most}"));
    }
    found
}

/// A whole number in Go's syntax with base 0: `0x`, `0o`, `0b` and a leading 0 name the base, and `_` may stand
/// between digits of such a number.
fn number(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (&*lower, 10),
    };
    let digits = digits.replace('_', "");
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
    plain.then(|| u64::from_str_radix(&digits, base).ok())?
}

/// Text, octets in hexadecimal behind `0x`, or a variable in braces.
fn value(token: &Token, cx: &mut Checker<'_>) -> Option<Value> {
    let text = &*token.text;
    if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        return variable(name, token, cx).map(Value::Variable);
    }
    let Some(digits) = text.strip_prefix("0x") else {
        return Some(Value::Octets(text.as_bytes().to_vec()));
    };
    let octets = (digits.len().is_multiple_of(2) && digits.is_ascii()).then(|| {
        let pairs = (0..digits.len()).step_by(2).map(|at| digits.get(at..at + 2));
        pairs
            .map(|pair| u8::from_str_radix(pair.filter(|p| !p.starts_with('+'))?, 16).ok())
            .collect()
    });
    let octets: Option<Vec<u8>> = octets.flatten();
    if octets.is_none() {
        cx.not(token, "octets in hexadecimal, two digits each");
    }
    octets.map(Value::Octets)
}

fn variable(name: &str, token: &Token, cx: &mut Checker<'_>) -> Option<Variable> {
    Some(match name {
        "qname" => Variable::Name,
        "qtype" => Variable::Type,
        "client_ip" => Variable::ClientIp,
        "client_port" => Variable::ClientPort,
        "protocol" => Variable::Protocol,
        "server_ip" => Variable::ServerIp,
        "server_port" => Variable::ServerPort,
        label if is_label(label) => Variable::Label(label.to_owned()),
        _ => {
            let want = "a variable: {qname}, {qtype}, {client_ip}, {client_port}, {protocol}, \
                        {server_ip}, {server_port} or a label such as {plugin/name}";
            cx.not(token, want);
            return None;
        }
    })
}
