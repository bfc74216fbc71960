//! Regular expressions in a Corefile: Go's syntax as far as Rust's `regex` reads it alike.

use regex::{Regex, RegexBuilder};

use super::cause::Cause;
use super::checker::Checker;
use super::tree::Token;

/// Most bytes of a pattern, as in CoreDNS.
pub const MAX_PATTERN: usize = 10_000;
/// Most octets of memory for a compiled pattern; `(\w{100}){100}` has few bytes and needs many.
const MAX_COMPILED: usize = 4 << 20;

/// A regular expression; two are equal if they are written alike.
#[derive(Debug, Clone)]
pub struct Pattern(pub Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Too many bytes.
    #[error("it is longer than {MAX_PATTERN} bytes")]
    Long,
    /// What `regex` says.
    #[error("{0}")]
    Syntax(String),
    /// Text within brackets that Go takes as it is, and Rust for an operator.
    #[error(
        "within brackets, `{0}` means something else in Rust's syntax than in Go's; write `\\{0}`"
    )]
    Bracket(&'static str),
}

impl Pattern {
    /// Compiles `text`, whose size when compiled is bounded.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN {
            return Err(PatternError::Long);
        }
        let built = RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
        let regex = built.map_err(|error| PatternError::Syntax(error.to_string()))?;
        match bracket_operator(text) {
            Some(operator) => Err(PatternError::Bracket(operator)),
            None => Ok(Pattern(regex)),
        }
    }

    /// Reads a word, and notes what is wrong with it.
    pub fn parse(token: &Token, cx: &mut Checker<'_>) -> Option<Self> {
        let error = match Pattern::new(&token.text) {
            Ok(pattern) => return Some(pattern),
            Err(error) => error,
        };
        let cause = match error {
            PatternError::Long => Cause::TooLarge { what: "bytes of a pattern", most: MAX_PATTERN },
            _ => Cause::Value {
                found: token.text.to_string(),
                want: "a regular expression".to_owned(),
            },
        };
        cx.mistake_with(token.span, cause, error.to_string());
        None
    }
}

/// A set operator of Rust's bracket expressions, if `text` has one: Go reads its characters as they
/// are, so the same pattern would match other names.
fn bracket_operator(text: &str) -> Option<&'static str> {
    let mut rest = text;
    let mut inside = false;
    while let Some(next) = rest.chars().next() {
        let after = &rest[next.len_utf8()..];
        rest = match (inside, next) {
            (_, '\\') => after.get(after.chars().next().map_or(0, char::len_utf8)..)?,
            (false, '[') => {
                inside = true;
                let after = after.strip_prefix('^').unwrap_or(after);
                after.strip_prefix(']').unwrap_or(after)
            }
            (true, ']') => {
                inside = false;
                after
            }
            (true, '[') => match after.strip_prefix(':').and_then(|name| name.split_once(":]")) {
                Some((_, behind)) => behind,
                None => return Some("["),
            },
            (true, '&') if after.starts_with('&') => return Some("&&"),
            (true, '-') if after.starts_with('-') => return Some("--"),
            (true, '~') if after.starts_with('~') => return Some("~~"),
            _ => after,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rust_reads_otherwise_than_go_is_refused() {
        for good in
            [r"a[^]]b", r"[[:alpha:]-]+", r"\[[a-z]\]", r"[\[&]", r"(?P<a>[0-9]*)[.]", r"[a-]"]
        {
            assert!(Pattern::new(good).is_ok(), "{good}: {:?}", Pattern::new(good));
        }
        for bad in ["[a[b]]", "[a&&b]", "[+--]", "[a~~b]", "[]", "(?=a)", r"(\w{100}){100}"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Pattern::new(&"a".repeat(MAX_PATTERN + 1)), Err(PatternError::Long));
    }
}
