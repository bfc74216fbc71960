//! Go's `printf` for the verbs that texts and whole numbers need.

use super::{run::FillError, value::Value};

/// A part of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Directive {
    /// As it is.
    Text(String),
    /// An argument.
    Verb { left: bool, zeros: bool, plus: bool, width: usize, precision: Option<usize>, verb: char },
}

/// Widest that a format may ask for.
const MAX_WIDTH: usize = 255;

/// Takes a format apart.
///
/// # Errors
/// What of it is not available, in words.
pub(super) fn directives(format: &str) -> Result<Vec<Directive>, String> {
    let mut directives = Vec::new();
    let mut text = String::new();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        if letters.next_if_eq(&'%').is_some() {
            text.push('%');
            continue;
        }
        let (mut left, mut zeros, mut plus) = (false, false, false);
        while let Some(flag) = letters.next_if(|flag| "-0+".contains(*flag)) {
            match flag {
                '-' => left = true,
                '0' => zeros = true,
                _ => plus = true,
            }
        }
        let number = |letters: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut number: Option<usize> = None;
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                let digit = digit as usize - '0' as usize;
                number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
            }
            number
        };
        let width = number(&mut letters).unwrap_or(0);
        let precision = letters.next_if_eq(&'.').map(|_| number(&mut letters).unwrap_or(0));
        let verb = letters.next().ok_or("`%` ends the format")?;
        if !"vsdxXobqt".contains(verb) {
            return Err(format!("`%{verb}` is not available in Daymark"));
        }
        if width.max(precision.unwrap_or(0)) > MAX_WIDTH {
            return Err(format!("a width above {MAX_WIDTH} is not available in Daymark"));
        }
        if precision.is_some() && !"sv".contains(verb) {
            return Err(format!("a precision with `%{verb}` is not available in Daymark"));
        }
        directives.push(Directive::Text(std::mem::take(&mut text)));
        directives.push(Directive::Verb { left, zeros, plus, width, precision, verb });
    }
    directives.push(Directive::Text(text));
    directives.retain(|directive| *directive != Directive::Text(String::new()));
    Ok(directives)
}

/// How many arguments a format takes.
pub(super) fn verbs(directives: &[Directive]) -> usize {
    directives.iter().filter(|directive| matches!(directive, Directive::Verb { .. })).count()
}

/// The text. Go marks an argument that its verb is not for; here that is an error, since the record can't be read
/// either way.
pub(super) fn printf(format: &str, arguments: &[Value]) -> Result<String, FillError> {
    let directives = directives(format).map_err(|_| FillError::Argument)?;
    let mut rest = arguments.iter();
    let mut out = String::new();
    for directive in &directives {
        match directive {
            Directive::Text(text) => out.push_str(text),
            Directive::Verb { left, zeros, plus, width, precision, verb } => {
                let value = rest.next().ok_or(FillError::Argument)?;
                let text = formatted(*verb, value, *plus, *precision)?;
                let missing = width.saturating_sub(text.chars().count());
                if *left {
                    out.push_str(&text);
                    out.extend(std::iter::repeat_n(' ', missing));
                } else if *zeros {
                    let (sign, digits) = match text.strip_prefix(['-', '+']) {
                        Some(digits) if value.whole().is_some() => {
                            text.split_at(text.len() - digits.len())
                        }
                        _ => ("", &*text),
                    };
                    out.push_str(sign);
                    out.extend(std::iter::repeat_n('0', missing));
                    out.push_str(digits);
                } else {
                    out.extend(std::iter::repeat_n(' ', missing));
                    out.push_str(&text);
                }
            }
        }
    }
    Ok(out)
}

fn formatted(
    verb: char,
    value: &Value,
    plus: bool,
    precision: Option<usize>,
) -> Result<String, FillError> {
    let whole = value.whole();
    let text = match (verb, value) {
        ('v', _) | ('t', Value::Bool(_)) | ('s', Value::Text(_) | Value::List(_)) => {
            value.to_string()
        }
        ('q', Value::Text(text)) => format!("{text:?}"),
        ('x', Value::Text(text)) => text.bytes().map(|octet| format!("{octet:02x}")).collect(),
        ('X', Value::Text(text)) => text.bytes().map(|octet| format!("{octet:02X}")).collect(),
        _ => {
            let number = whole.ok_or(FillError::Argument)?;
            let sign = if number < 0 { "-" } else { "" };
            let size = number.unsigned_abs();
            match verb {
                'd' => format!("{sign}{size}"),
                'x' => format!("{sign}{size:x}"),
                'X' => format!("{sign}{size:X}"),
                'o' => format!("{sign}{size:o}"),
                'b' => format!("{sign}{size:b}"),
                _ => return Err(FillError::Argument),
            }
        }
    };
    let positive = plus && whole.is_some_and(|number| number >= 0);
    let text = if positive { format!("+{text}") } else { text };
    Ok(match precision {
        Some(most) if whole.is_none() => text.chars().take(most).collect(),
        _ => text,
    })
}
