//! The words of an expression.

use super::ExpressionError;

/// A word with the offset of its first octet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Word {
    pub(super) at: usize,
    pub(super) kind: WordKind,
}

/// What a word is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WordKind {
    /// A number as written, `_` removed.
    Number(String),
    /// The text within quotes.
    Text(String),
    /// A name; operators that are words are marks.
    Name(String),
    /// An operator or a bracket.
    Mark(&'static str),
    /// Behind the last one.
    End,
}

/// Marks, longer ones before those that they begin with.
const MARKS: [&str; 38] = [
    "==", "!=", "<=", ">=", "&&", "||", "**", "..", "??", "?.", "::", "(", ")", "[", "]", "{", "}",
    ",", ";", "%", "+", "-", "^", "!", "=", "*", "<", ">", "|", ":", "?", "/", "#", ".", "&", "~",
    "@", "\\",
];

/// Operators that are words.
const OPERATORS: [&str; 11] = [
    "not",
    "in",
    "or",
    "and",
    "matches",
    "contains",
    "startsWith",
    "endsWith",
    "let",
    "if",
    "else",
];

/// Splits `text` into words; the last one is [`WordKind::End`].
pub(super) fn words(text: &str) -> Result<Vec<Word>, ExpressionError> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            words.push(Word { at, kind: WordKind::End });
            return Ok(words);
        };
        let (kind, length) = match first {
            space if space.is_whitespace() => (None, space.len_utf8()),
            '/' if rest.starts_with("//") => (None, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => match rest.find("*/") {
                Some(end) => (None, end + 2),
                None => return Err(ExpressionError::new(at, "this comment never ends")),
            },
            '\'' | '"' => quoted(rest, first, at)?,
            '`' => raw(rest, at)?,
            '.' if rest[1..].starts_with(|next: char| next.is_ascii_digit()) => number(rest, at)?,
            digit if digit.is_ascii_digit() => number(rest, at)?,
            letter if is_name_letter(letter) => name(rest),
            _ => match MARKS.iter().find(|mark| rest.starts_with(**mark)) {
                Some(mark) => (Some(WordKind::Mark(mark)), mark.len()),
                None => {
                    return Err(ExpressionError::new(at, format!("`{first}` has no meaning here")));
                }
            },
        };
        words.extend(kind.map(|kind| Word { at, kind }));
        at += length;
    }
}

type Found = (Option<WordKind>, usize);

fn is_name_letter(letter: char) -> bool {
    letter == '_' || letter == '$' || letter.is_alphanumeric()
}

fn name(rest: &str) -> Found {
    let end = rest.find(|letter| !is_name_letter(letter)).unwrap_or(rest.len());
    let name = &rest[..end];
    let kind = match OPERATORS.iter().find(|operator| **operator == name) {
        Some(operator) => WordKind::Mark(operator),
        None => WordKind::Name(name.to_owned()),
    };
    (Some(kind), end)
}

/// Digits with `_` between them, a base in front or a fraction and an exponent behind. What `..` follows is whole.
fn number(rest: &str, at: usize) -> Result<Found, ExpressionError> {
    let lower = rest.to_ascii_lowercase();
    let run = |from: usize, digits: &str| {
        let behind = lower.get(from..).unwrap_or_default();
        from + behind.find(|c| !digits.contains(c)).unwrap_or(behind.len())
    };
    let mut end = match lower.get(..2) {
        Some("0x") => run(2, "0123456789abcdef_"),
        Some("0o") => run(2, "01234567_"),
        Some("0b") => run(2, "01_"),
        _ => {
            let whole = run(0, "0123456789_");
            let behind = &lower[whole..];
            if behind.starts_with('.') && !behind.starts_with("..") {
                run(whole + 1, "0123456789_")
            } else {
                whole
            }
        }
    };
    let has_base = matches!(lower.get(..2), Some("0x" | "0o" | "0b"));
    if !has_base && lower[end..].starts_with('e') {
        let sign = usize::from(lower[end + 1..].starts_with(['+', '-']));
        end = run(end + 1 + sign, "0123456789_");
    }
    if rest[end..].starts_with(is_name_letter) {
        return Err(ExpressionError::new(at, "a number and a name need a blank between them"));
    }
    Ok((Some(WordKind::Number(lower[..end].replace('_', ""))), end))
}

fn raw(rest: &str, at: usize) -> Result<Found, ExpressionError> {
    let Some(end) = rest[1..].find('`') else {
        return Err(ExpressionError::new(at, "this quote never closes"));
    };
    Ok((Some(WordKind::Text(rest[1..=end].to_owned())), end + 2))
}

fn quoted(rest: &str, quote: char, at: usize) -> Result<Found, ExpressionError> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((offset, letter)) = letters.next() {
        match letter {
            _ if letter == quote => return Ok((Some(WordKind::Text(text)), offset + 1)),
            '\\' => {
                let Some((_, escaped)) = letters.next() else { break };
                text.push(match escaped {
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    same @ ('\\' | '\'' | '"' | '`' | '?') => same,
                    _ => {
                        let what =
                            format!("`\\{escaped}` is no escape; write `\\\\` for a backslash");
                        return Err(ExpressionError::new(at + offset, what));
                    }
                });
            }
            other => text.push(other),
        }
    }
    Err(ExpressionError::new(at, "this quote never closes"))
}
