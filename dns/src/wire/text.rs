//! Names in presentation form, as rules and templates see them: each octet written in one way.
//!
//! The form is that of miekg/dns (RFC 1035 §5.1 with its own choice of what to escape), so that a
//! pattern written for CoreDNS matches here as well.

use hickory_proto::rr::Name;

use super::name::MAX_NAME;

/// A message name, letters as they are, with the last dot.
pub fn of(name: &Name) -> String {
    let mut text = String::with_capacity(name.len() + 1);
    for label in name {
        push_label(&mut text, label);
        text.push('.');
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

/// A message name in lower case, with the last dot.
pub fn folded(name: &Name) -> String {
    let mut text = of(name);
    text.make_ascii_lowercase();
    text
}

/// A name from presentation form, with or without the last dot. `None` where a label is empty or
/// longer than 63 octets, the name is longer than 255, or an escape is cut short.
pub fn name(text: &str) -> Option<Name> {
    if text == "." {
        return Some(Name::root());
    }
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b'.' => {
                labels.push(Vec::new());
                continue;
            }
            b'\\' => escaped(&mut octets)?,
            other => other,
        };
        labels.last_mut()?.push(octet);
    }
    if labels.len() > 1 && labels.last()?.is_empty() {
        labels.pop();
    }
    let octets: usize = labels.iter().map(|label| label.len() + 1).sum();
    let fits = octets < MAX_NAME && labels.iter().all(|label| (1..=63).contains(&label.len()));
    fits.then(|| Name::from_labels(labels.iter().map(Vec::as_slice)).ok())?
}

/// Whether the text ends in a dot that is not escaped.
pub fn is_absolute(text: &str) -> bool {
    let Some(head) = text.strip_suffix('.') else { return false };
    (head.len() - head.trim_end_matches('\\').len()).is_multiple_of(2)
}

/// The text with a dot at its end.
pub fn absolute(text: &str) -> String {
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

fn push_label(text: &mut String, label: &[u8]) {
    for octet in label {
        match octet {
            b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(*octet));
            }
            0x21..=0x7e => text.push(char::from(*octet)),
            other => text.push_str(&format!("\\{other:03}")),
        }
    }
}

/// What stands behind a backslash: three digits are an octet's number, anything else is itself.
pub(super) fn escaped(octets: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = octets.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut number = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = octets.next().filter(u8::is_ascii_digit)?;
        number = number * 10 + u16::from(digit - b'0');
    }
    u8::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_octets_are_escaped_as_coredns_has_them() {
        let odd = Name::from_labels([&b"a.b c"[..], b"\x00\xff'", b"ORG"]).unwrap();
        assert_eq!(of(&odd), "a\\.b\\ c.\\000\\255\\'.ORG.");
        assert_eq!(folded(&odd), "a\\.b\\ c.\\000\\255\\'.org.");
        assert_eq!(of(&Name::root()), ".");
    }

    #[test]
    fn text_that_is_no_name_is_told() {
        for text in ["", "..", "a..b", ".a", "a\\", "a\\25", "a\\256", &"x".repeat(64)] {
            assert_eq!(name(text), None, "{text}");
        }
        assert_eq!(name(&"abcdefg.".repeat(32)), None);
        assert_eq!(name("Web.Shop").unwrap(), name("Web.Shop.").unwrap());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(labels in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 1..=63), 0..4,
        )) {
            let wanted = Name::from_labels(labels.iter().map(Vec::as_slice));
            let Ok(wanted) = wanted else { return Ok(()) };
            prop_assume!(wanted.len() < MAX_NAME);
            prop_assert_eq!(name(&of(&wanted)), Some(wanted));
        }
    }
}
