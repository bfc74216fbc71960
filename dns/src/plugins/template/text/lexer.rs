//! The text of a template and the words of its actions.

use super::{TextError, value::Value};

/// Text, or the words of one action with the offset of each.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// As it is.
    Text(String),
    /// What stands in `{{` and `}}`, at this offset.
    Action(usize, Vec<(usize, Word)>),
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// A function, or a word of the language.
    Name(String),
    /// `.`, `.A`, `.A.B`: the names.
    Path(Vec<String>),
    /// `$`, `$x`, and the names behind it.
    Variable(String, Vec<String>),
    /// The text within quotes.
    Text(String),
    /// A number as written.
    Number(String),
    /// `|`, `(`, `)`, `:=`, `=`, `,`.
    Mark(&'static str),
}

/// Splits a template. Empty texts are left out. Gives the template as Go writes it out, too: blanks where they
/// have to be, and no comments.
pub(super) fn pieces(source: &str) -> Result<(Vec<Piece>, String), TextError> {
    let mut pieces = Vec::new();
    let mut normal = String::new();
    let mut at = 0;
    let mut trim_start = false;
    while let Some(open) = source[at..].find("{{") {
        let open = at + open;
        let inside = open + 2;
        let trims_before = starts_trim(&source[inside..]);
        push_text(&source[at..open], trim_start, trims_before, &mut pieces, &mut normal);
        let start = if trims_before { inside + 1 } else { inside };
        let rest = &source[start..];
        let lead = rest.len() - rest.trim_start_matches(BLANK).len();
        let (words, end) = if rest[lead..].starts_with("/*") {
            let Some(close) = rest.find("*/") else {
                return Err(TextError::new(open, "this comment never ends"));
            };
            (None, start + close + 2)
        } else {
            let (words, end) = words(source, start, open, &mut normal)?;
            (Some(words), end)
        };
        let tail = &source[end..];
        (at, trim_start) = match (tail.starts_with("}}"), end_trim(tail)) {
            (true, _) => (end + 2, false),
            (false, Some(length)) => (end + length, true),
            (false, None) => return Err(TextError::new(open, "this action never closes")),
        };
        pieces.extend(words.map(|words| Piece::Action(open, words)));
    }
    push_text(&source[at..], trim_start, false, &mut pieces, &mut normal);
    Ok((pieces, normal))
}

const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

/// `- ` behind the braces: what is blank before them goes.
fn starts_trim(inside: &str) -> bool {
    inside.strip_prefix('-').is_some_and(|rest| rest.starts_with(BLANK))
}

/// ` -}}`, perhaps behind more blanks: its length. What is blank behind it goes.
fn end_trim(tail: &str) -> Option<usize> {
    let rest = tail.trim_start_matches(BLANK);
    let blanks = tail.len() - rest.len();
    (blanks > 0 && rest.starts_with("-}}")).then_some(blanks + 3)
}

fn push_text(
    text: &str,
    trim_start: bool,
    trim_end: bool,
    pieces: &mut Vec<Piece>,
    normal: &mut String,
) {
    let text = if trim_start { text.trim_start_matches(BLANK) } else { text };
    let text = if trim_end { text.trim_end_matches(BLANK) } else { text };
    if !text.is_empty() {
        normal.push_str(text);
        pieces.push(Piece::Text(text.to_owned()));
    }
}

type Words = Vec<(usize, Word)>;

/// The words from `at` up to the braces that close, and where those (or the blanks before ` -}}`) begin.
fn words(
    source: &str,
    at: usize,
    open: usize,
    normal: &mut String,
) -> Result<(Words, usize), TextError> {
    let mut words: Words = Vec::new();
    normal.push_str("{{");
    let mut at = at;
    loop {
        let rest = &source[at..];
        let Some(first) = rest.chars().next() else {
            return Err(TextError::new(open, "this action never closes"));
        };
        if rest.starts_with("}}") || (BLANK.contains(&first) && closes_with_trim(rest)) {
            normal.push_str("}}");
            return Ok((words, at));
        }
        if BLANK.contains(&first) {
            at += 1;
            continue;
        }
        let adjacent = words.last().is_some_and(|(start, word)| {
            matches!(word, Word::Mark(")")) && start + 1 == at && first == '.'
        });
        if adjacent {
            return Err(TextError::new(
                at,
                "a field of what stands in parentheses is not available in Daymark",
            ));
        }
        let (word, length) = word(rest, first, at)?;
        let joined = matches!(word, Word::Mark(")" | ","))
            || words.last().is_none_or(|(_, before)| matches!(before, Word::Mark("(")));
        normal.push_str(if joined { "" } else { " " });
        normal.push_str(&rest[..length]);
        words.push((at, word));
        at += length;
    }
}

fn closes_with_trim(rest: &str) -> bool {
    rest.trim_start_matches(BLANK).starts_with("-}}")
}

fn word(rest: &str, first: char, at: usize) -> Result<(Word, usize), TextError> {
    const MARKS: [&str; 6] = [":=", "|", "(", ")", "=", ","];
    match first {
        '"' => quoted(rest, at),
        '`' => match rest[1..].find('`') {
            Some(end) => Ok((Word::Text(rest[1..=end].to_owned()), end + 2)),
            None => Err(TextError::new(at, "this quote never closes")),
        },
        '$' => {
            let name = name_at(&rest[1..]);
            let (fields, length) = fields(&rest[1 + name.len()..]);
            Ok((Word::Variable(name.to_owned(), fields), 1 + name.len() + length))
        }
        '.' if !rest[1..].starts_with(|next: char| next.is_ascii_digit()) => {
            let (names, length) = fields(rest);
            Ok((Word::Path(names), length.max(1)))
        }
        '-' | '+' | '.' | '0'..='9' => {
            let end = rest[1..].find(|c: char| !(c.is_ascii_alphanumeric() || "._+-".contains(c)));
            let end = 1 + end.unwrap_or(rest.len() - 1);
            Ok((Word::Number(rest[..end].to_owned()), end))
        }
        letter if letter == '_' || letter.is_alphabetic() => {
            let name = name_at(rest);
            Ok((Word::Name(name.to_owned()), name.len()))
        }
        '\'' => Err(TextError::new(
            at,
            "a character is not available in Daymark; a text stands in double quotes",
        )),
        _ => match MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            Some(mark) => Ok((Word::Mark(mark), mark.len())),
            None => Err(TextError::new(at, format!("`{first}` has no meaning here"))),
        },
    }
}

fn name_at(text: &str) -> &str {
    let end = text.find(|letter: char| letter != '_' && !letter.is_alphanumeric());
    &text[..end.unwrap_or(text.len())]
}

/// `.A.B`: the names, and how long all of it is.
fn fields(text: &str) -> (Vec<String>, usize) {
    let mut names = Vec::new();
    let mut length = 0;
    while let Some(behind) = text[length..].strip_prefix('.') {
        let name = name_at(behind);
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            break;
        }
        length += 1 + name.len();
        names.push(name.to_owned());
    }
    (names, length)
}

fn quoted(rest: &str, at: usize) -> Result<(Word, usize), TextError> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((offset, letter)) = letters.next() {
        match letter {
            '"' => return Ok((Word::Text(text), offset + 1)),
            '\n' => break,
            '\\' => {
                let escaped = letters.next().map(|(_, letter)| letter);
                text.push(match escaped {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some(same @ ('\\' | '"')) => same,
                    _ => {
                        return Err(TextError::new(
                            at + offset,
                            "this escape is not available in Daymark",
                        ));
                    }
                });
            }
            other => text.push(other),
        }
    }
    Err(TextError::new(at, "this quote never closes"))
}

/// The value of a number as written; whole unless it has a point or an exponent.
pub(super) fn number(text: &str, at: usize) -> Result<Value, TextError> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let whole = match digits.get(..2) {
        Some("0x" | "0X") => i64::from_str_radix(&format!("{sign}{}", &digits[2..]), 16).ok(),
        // A leading zero makes it octal in Go; nobody is known to mean that.
        _ if digits.len() > 1 && digits.starts_with('0') && !digits.contains(['.', 'e']) => None,
        _ => format!("{sign}{digits}").parse().ok(),
    };
    if let Some(whole) = whole {
        return Ok(Value::Int(whole));
    }
    let float = digits.starts_with(|digit: char| digit.is_ascii_digit() || digit == '.');
    let float = float.then(|| text.parse().ok()).flatten().filter(|f: &f64| f.is_finite());
    let float = float.filter(|_| digits.contains(['.', 'e', 'E']));
    float.map(Value::Float).ok_or_else(|| TextError::new(at, format!("`{text}` is no number")))
}
