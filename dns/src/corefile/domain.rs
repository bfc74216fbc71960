//! Domain names as a Corefile writes them.

use std::fmt;
use std::sync::Arc;

/// Most bytes of a name in wire form (RFC 1035 §2.3.4).
const MAX_WIRE: usize = 255;
/// Most bytes of a label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// A domain name: absolute, in lower case (ASCII letters), checked for the lengths of RFC 1035 §2.3.4.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Arc<str>);

/// Why a text is no domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Two dots in a row, or one at the start.
    #[error("it has an empty label")]
    EmptyLabel,
    /// A label of more than 63 bytes.
    #[error("a label is longer than 63 bytes")]
    LongLabel,
    /// More than 255 bytes on the wire.
    #[error("it is longer than 255 bytes")]
    Long,
    /// `\` at the end, or `\DDD` above 255.
    #[error("it has a bad escape")]
    Escape,
}

impl Domain {
    /// The root.
    pub fn root() -> Self {
        Self(".".into())
    }

    /// Reads presentation form (RFC 1035 §5.1), with or without the last dot.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        if text.is_empty() {
            return Err(DomainError::Empty);
        }
        wire(text)?;
        let mut name = text.to_ascii_lowercase();
        if !ends_with_dot(&name) {
            name.push('.');
        }
        Ok(Self(name.into()))
    }

    /// Presentation form with the last dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Wire form: lengths and labels, the root's empty one included; at most 255 bytes.
    pub fn to_wire(&self) -> Vec<u8> {
        wire(&self.0).expect("checked by parse")
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        &*self.0 == "."
    }

    /// Whether `other` is this name or below it.
    pub fn contains(&self, other: &Self) -> bool {
        if self.is_root() {
            return true;
        }
        other.0.strip_suffix(&*self.0).is_some_and(|head| head.is_empty() || ends_with_dot(head))
    }

    /// Whether this is a zone for addresses: `in-addr.arpa` or `ip6.arpa`, or below one of them.
    pub fn is_reverse(&self) -> bool {
        ["in-addr.arpa.", "ip6.arpa."].into_iter().any(|zone| Self(zone.into()).contains(self))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the text ends in a dot that is not escaped.
fn ends_with_dot(text: &str) -> bool {
    let Some(head) = text.strip_suffix('.') else { return false };
    (head.len() - head.trim_end_matches('\\').len()).is_multiple_of(2)
}

fn wire(text: &str) -> Result<Vec<u8>, DomainError> {
    if text == "." {
        return Ok(vec![0]);
    }
    let mut out = vec![0];
    let mut label = 0;
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'.' => {
                end_label(&mut out, label)?;
                if bytes.peek().is_none() {
                    return Ok(out);
                }
                label = out.len() - 1;
                continue;
            }
            b'\\' => escaped(&mut bytes)?,
            _ => byte,
        };
        out.push(byte.to_ascii_lowercase());
        if out.len() > MAX_WIRE {
            return Err(DomainError::Long);
        }
    }
    end_label(&mut out, label)?;
    Ok(out)
}

/// Writes the length of the label that began at `label` and opens the next one.
fn end_label(out: &mut Vec<u8>, label: usize) -> Result<(), DomainError> {
    let length = out.len() - label - 1;
    if length == 0 {
        return Err(DomainError::EmptyLabel);
    }
    if length > MAX_LABEL {
        return Err(DomainError::LongLabel);
    }
    out[label] = u8::try_from(length).expect("at most MAX_LABEL");
    out.push(0);
    if out.len() > MAX_WIRE { Err(DomainError::Long) } else { Ok(()) }
}

/// The byte after a backslash: three digits name it, anything else is itself.
fn escaped(bytes: &mut std::iter::Peekable<std::str::Bytes<'_>>) -> Result<u8, DomainError> {
    let first = bytes.next().ok_or(DomainError::Escape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or(DomainError::Escape)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| DomainError::Escape)
}
