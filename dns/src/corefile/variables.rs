//! Environment variables in tokens: `{$NAME}` and `{%NAME%}`.
//!
//! Each form is replaced in one pass from left to right, the second one first, as in CoreDNS. A value is not
//! searched for further variables, so that a variable that names itself does no harm.

use std::sync::Arc;

use super::source::Reader;

/// `text` with its variables put in; unset ones are empty. `None` if the result would be longer than `most` bytes.
pub(crate) fn expand(text: &Arc<str>, reader: &dyn Reader, most: usize) -> Option<Arc<str>> {
    if !text.contains("{$") && !text.contains("{%") {
        return Some(text.clone());
    }
    let once = replace(text, "{%", "%}", reader, most)?;
    Some(replace(&once, "{$", "}", reader, most)?.into())
}

fn replace(
    text: &str,
    open: &str,
    close: &str,
    reader: &dyn Reader,
    most: usize,
) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(open) {
        let name_start = start + open.len();
        let Some(length) = rest[name_start..].find(close).filter(|&length| length > 0) else {
            break;
        };
        let name = &rest[name_start..name_start + length];
        out.push_str(&rest[..start]);
        out.push_str(&reader.variable(name).unwrap_or_default());
        rest = &rest[name_start + length + close.len()..];
        if out.len() > most {
            return None;
        }
    }
    out.push_str(rest);
    (out.len() <= most).then_some(out)
}
