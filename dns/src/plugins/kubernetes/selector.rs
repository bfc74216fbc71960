//! Label selectors, in the syntax of `kubectl -l`: `app=web,tier in (a, b),!legacy`.

use std::fmt;
use std::iter::Peekable;
use std::vec::IntoIter;

/// Most bytes of a label's value and of the name part of its key (Kubernetes "Labels and Selectors").
const MAX_PART: usize = 63;
/// Most bytes of a key's prefix.
const MAX_PREFIX: usize = 253;

/// Requirements that all must hold. Without any it selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// In the order of the text.
    pub requirements: Vec<Requirement>,
}

/// What is asked of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: Box<str>,
    /// What is asked.
    pub operator: Operator,
}

/// What is asked of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// `key = value` or `key == value`.
    Equals(Box<str>),
    /// `key in (values)`.
    In(Vec<Box<str>>),
    /// `key notin (values)`; holds as well without the label.
    NotIn(Vec<Box<str>>),
    /// `key`.
    Exists,
    /// `!key`.
    DoesNotExist,
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Something other than what must follow.
    #[error("expected {want}, found {found}")]
    Unexpected {
        /// What stands there.
        found: String,
        /// What should.
        want: &'static str,
    },
    /// `!=`, `<` or `>`, which label selectors of objects do not have.
    #[error("there is no operator `{0}`")]
    Operator(&'static str),
    /// Not a label's key.
    #[error("`{0}` is no label key")]
    Key(String),
    /// Not a label's value.
    #[error("`{0}` is no label value")]
    Value(String),
}

impl SelectorError {
    /// The remedy, if there is one to name.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Operator("!=") => Some("write `key notin (value)`"),
            Self::Key(_) | Self::Value(_) => Some(
                "letters, digits, `-`, `_` and `.`, at most 63, with a letter or digit at both ends",
            ),
            _ => None,
        }
    }
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut words = words(text).into_iter().peekable();
        let mut requirements = Vec::new();
        if words.peek().is_none() {
            return Ok(Self { requirements });
        }
        loop {
            requirements.push(requirement(&mut words)?);
            match words.next() {
                None => return Ok(Self { requirements }),
                Some(Word::Symbol(",")) => {}
                Some(other) => return Err(unexpected(Some(&other), "`,` or the end")),
            }
        }
    }

    /// Whether an object with these labels is selected. `value` gives the value of a key.
    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|Requirement { key, operator }| {
            let found = value(key);
            let among = |set: &[Box<str>]| {
                found.is_some_and(|found| set.iter().any(|item| &**item == found))
            };
            match operator {
                Operator::Equals(want) => found == Some(&**want),
                Operator::In(set) => among(set),
                Operator::NotIn(set) => !among(set),
                Operator::Exists => found.is_some(),
                Operator::DoesNotExist => found.is_none(),
            }
        })
    }
}

/// The selector as the Kubernetes API takes it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, operator }) in self.requirements.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match operator {
                Operator::Equals(value) => write!(f, "{key}={value}"),
                Operator::In(set) => write!(f, "{key} in ({})", set.join(",")),
                Operator::NotIn(set) => write!(f, "{key} notin ({})", set.join(",")),
                Operator::Exists => write!(f, "{key}"),
                Operator::DoesNotExist => write!(f, "!{key}"),
            }?;
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word<'a> {
    Symbol(&'static str),
    Text(&'a str),
}

fn words(text: &str) -> Vec<Word<'_>> {
    const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", ",", "(", ")", "<", ">"];
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            words.push(Word::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let end = rest
                .find(|ch: char| ch.is_whitespace() || "=!,()<>".contains(ch))
                .unwrap_or(rest.len());
            words.push(Word::Text(&rest[..end]));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    words
}

fn requirement(words: &mut Peekable<IntoIter<Word<'_>>>) -> Result<Requirement, SelectorError> {
    let absent = words.next_if_eq(&Word::Symbol("!")).is_some();
    let key = match words.next() {
        Some(Word::Text(key)) => key,
        other => return Err(unexpected(other.as_ref(), "a label key")),
    };
    if !is_key(key) {
        return Err(SelectorError::Key(key.to_owned()));
    }
    let operator = if absent { Operator::DoesNotExist } else { operator(words)? };
    Ok(Requirement { key: key.into(), operator })
}

fn operator(words: &mut Peekable<IntoIter<Word<'_>>>) -> Result<Operator, SelectorError> {
    if matches!(words.peek(), None | Some(Word::Symbol(","))) {
        return Ok(Operator::Exists);
    }
    match words.next() {
        Some(Word::Symbol("=" | "==")) => {
            let value = match words.peek() {
                None | Some(Word::Symbol(",")) => "",
                Some(Word::Text(value)) => value,
                other => return Err(unexpected(other, "a value")),
            };
            let value = checked_value(value)?;
            words.next_if(|word| matches!(word, Word::Text(_)));
            Ok(Operator::Equals(value))
        }
        Some(Word::Symbol(symbol @ ("!=" | "<" | ">"))) => Err(SelectorError::Operator(symbol)),
        Some(Word::Text("in")) => values(words).map(Operator::In),
        Some(Word::Text("notin")) => values(words).map(Operator::NotIn),
        other => Err(unexpected(other.as_ref(), "`=`, `==`, `in` or `notin`")),
    }
}

/// `(a, b)`; where no value stands, the empty one does: `()`, `(,a)`.
fn values(words: &mut Peekable<IntoIter<Word<'_>>>) -> Result<Vec<Box<str>>, SelectorError> {
    match words.next() {
        Some(Word::Symbol("(")) => {}
        other => return Err(unexpected(other.as_ref(), "`(`")),
    }
    let mut values: Vec<Box<str>> = Vec::new();
    loop {
        let value = match words.peek() {
            Some(Word::Text(value)) => checked_value(value)?,
            _ => Box::default(),
        };
        words.next_if(|word| matches!(word, Word::Text(_)));
        if !values.contains(&value) {
            values.push(value);
        }
        match words.next() {
            Some(Word::Symbol(",")) => {}
            Some(Word::Symbol(")")) => break,
            other => return Err(unexpected(other.as_ref(), "`,` or `)`")),
        }
    }
    values.sort();
    Ok(values)
}

fn checked_value(value: &str) -> Result<Box<str>, SelectorError> {
    if value.is_empty() || is_part(value) {
        Ok(value.into())
    } else {
        Err(SelectorError::Value(value.to_owned()))
    }
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_part(key),
        Some((prefix, name)) => is_prefix(prefix) && is_part(name),
    }
}

/// A DNS subdomain: lower case labels.
fn is_prefix(prefix: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    prefix.len() <= MAX_PREFIX
        && prefix.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.first().is_some_and(|&byte| plain(byte))
                && bytes.last().is_some_and(|&byte| plain(byte))
                && bytes.iter().all(|&byte| plain(byte) || byte == b'-')
        })
}

/// A key's name or a value.
fn is_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= MAX_PART
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn unexpected(found: Option<&Word<'_>>, want: &'static str) -> SelectorError {
    let found = match found {
        None => "the end".to_owned(),
        Some(Word::Symbol(symbol)) => format!("`{symbol}`"),
        Some(Word::Text(text)) => format!("`{text}`"),
    };
    SelectorError::Unexpected { found, want }
}
