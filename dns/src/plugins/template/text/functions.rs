//! The functions that templates call.

use std::cmp::Ordering;

use super::{run::FillError, value::Value};

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    /// The first argument that is empty, else the last.
    And,
    /// The first argument that is not empty, else the last.
    Or,
    Not,
    Len,
    Index,
    Print,
    Println,
    Printf,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Go's `strconv.ParseUint`: text, base, bits.
    ParseInt,
}

const FUNCTIONS: [(&str, Function, usize, usize); 15] = [
    ("and", Function::And, 1, usize::MAX),
    ("or", Function::Or, 1, usize::MAX),
    ("not", Function::Not, 1, 1),
    ("len", Function::Len, 1, 1),
    ("index", Function::Index, 1, usize::MAX),
    ("print", Function::Print, 0, usize::MAX),
    ("println", Function::Println, 0, usize::MAX),
    ("printf", Function::Printf, 1, usize::MAX),
    ("eq", Function::Eq, 2, usize::MAX),
    ("ne", Function::Ne, 2, 2),
    ("lt", Function::Lt, 2, 2),
    ("le", Function::Le, 2, 2),
    ("gt", Function::Gt, 2, 2),
    ("ge", Function::Ge, 2, 2),
    ("parseInt", Function::ParseInt, 3, 3),
];

/// Functions of Go's that are not here.
pub(super) const OTHER: [&str; 5] = ["html", "js", "urlquery", "call", "slice"];

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|(known, ..)| *known == name).map(|(_, function, ..)| *function)
    }

    /// Fewest and most arguments.
    pub(super) fn arity(self) -> (usize, usize) {
        let entry = FUNCTIONS.iter().find(|(_, function, ..)| *function == self);
        entry.map_or((0, 0), |(_, _, least, most)| (*least, *most))
    }

    /// The value for these arguments; `printf` is called apart.
    pub(super) fn run(self, arguments: &[Value]) -> Result<Value, FillError> {
        match (self, arguments) {
            // `and` and `or` are called with what was evaluated before one of them decided.
            (Function::And | Function::Or, [.., last]) => Ok(last.clone()),
            (Function::Not, [one]) => Ok(Value::Bool(!one.holds())),
            (Function::Len, [one]) => length(one),
            (Function::Index, [of, path @ ..]) => {
                path.iter().try_fold(of.clone(), |of, index| element(&of, index))
            }
            (Function::Print, values) => Ok(Value::text(print(values))),
            (Function::Println, values) => {
                let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
                Ok(Value::text(texts.join(" ") + "\n"))
            }
            (Function::Eq, [one, others @ ..]) => {
                for other in others {
                    if compare(one, other)? == Some(Ordering::Equal) {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            (Function::Ne, [one, other]) => {
                Ok(Value::Bool(compare(one, other)? != Some(Ordering::Equal)))
            }
            (Function::Lt, pair) => ordered(pair, Ordering::is_lt),
            (Function::Le, pair) => ordered(pair, Ordering::is_le),
            (Function::Gt, pair) => ordered(pair, Ordering::is_gt),
            (Function::Ge, pair) => ordered(pair, Ordering::is_ge),
            (Function::ParseInt, [Value::Text(text), base, bits]) => {
                parse_unsigned(text, base.whole(), bits.whole())
            }
            _ => Err(FillError::Argument),
        }
    }
}

fn length(value: &Value) -> Result<Value, FillError> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        _ => return Err(FillError::Argument),
    };
    Ok(Value::Int(length as i64))
}

fn element(of: &Value, index: &Value) -> Result<Value, FillError> {
    match (of, index) {
        (Value::List(list), index) => {
            let index = index.whole().ok_or(FillError::Argument)?;
            let found = usize::try_from(index).ok().and_then(|index| list.get(index));
            found.cloned().ok_or(FillError::Index)
        }
        // A map of texts has the empty one where it has none.
        (Value::Map(map), Value::Text(name)) => {
            Ok(map.get(&**name).cloned().unwrap_or_else(|| Value::text("")))
        }
        (Value::Text(text), index) => {
            let index = index.whole().ok_or(FillError::Argument)?;
            let octet = usize::try_from(index).ok().and_then(|index| text.as_bytes().get(index));
            octet.map(|octet| Value::Unsigned((*octet).into())).ok_or(FillError::Index)
        }
        _ => Err(FillError::Argument),
    }
}

/// With a blank between two neighbours that are no texts, as Go's `Sprint`.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Text(_));
        if at > 0 && !is_text(value) && !is_text(&values[at - 1]) {
            out.push(' ');
        }
        out.push_str(&value.to_string());
    }
    out
}

fn compare(one: &Value, other: &Value) -> Result<Option<Ordering>, FillError> {
    Ok(match (one, other) {
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        (Value::Float(one), Value::Float(other)) => one.partial_cmp(other),
        (Value::Nothing, Value::Nothing) => Some(Ordering::Equal),
        (Value::Nothing, _) | (_, Value::Nothing) => None,
        _ => {
            let numbers = one.whole().zip(other.whole());
            let (one, other) = numbers.ok_or(FillError::Argument)?;
            Some(one.cmp(&other))
        }
    })
}

fn ordered(pair: &[Value], wanted: fn(Ordering) -> bool) -> Result<Value, FillError> {
    let [one, other] = pair else { return Err(FillError::Argument) };
    if matches!(one, Value::Bool(_) | Value::Nothing) {
        return Err(FillError::Argument);
    }
    Ok(Value::Bool(compare(one, other)?.is_some_and(wanted)))
}

/// Digits without a sign. Base 0 takes it from the text, in Go's way.
fn parse_unsigned(text: &str, base: Option<i128>, bits: Option<i128>) -> Result<Value, FillError> {
    let base = base.and_then(|base| u32::try_from(base).ok()).ok_or(FillError::Argument)?;
    let bits = bits.and_then(|bits| u32::try_from(bits).ok()).ok_or(FillError::Argument)?;
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match (base, lower.as_bytes()) {
        (0, [b'0', b'x', ..]) => (&lower[2..], 16),
        (0, [b'0', b'o', ..]) => (&lower[2..], 8),
        (0, [b'0', b'b', ..]) => (&lower[2..], 2),
        (0, [b'0', _, ..]) => (&lower[1..], 8),
        (0, _) => (&*lower, 10),
        (2..=36, _) => (&*lower, base),
        _ => return Err(FillError::Argument),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return Err(FillError::Number);
    }
    let number = u64::from_str_radix(digits, base).map_err(|_| FillError::Number)?;
    let fits = match bits {
        0 | 64 => true,
        1..64 => number >> bits == 0,
        _ => return Err(FillError::Argument),
    };
    if fits { Ok(Value::Unsigned(number)) } else { Err(FillError::Number) }
}
