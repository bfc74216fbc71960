//! Go's text/template, as far as Corefiles use it, compiled when the Corefile is read.
//!
//! ```txt
//! {{ .Name }} 60 IN A {{ .Group.a }}.{{ index .Match 2 }}
//! ```
//!
//! [`lexer`] finds the actions in the text, [`parser`] makes [`tree`]s of them and knows what data there are, [`run`]
//! fills them in, [`printf`] is Go's. What the language has and we do not is refused by name, with its place. Filling
//! in can't panic, takes a bounded number of steps and makes a bounded text.

mod fields;
mod functions;
mod lexer;
mod parser;
mod printf;
mod run;
mod tree;
mod value;

use std::{collections::BTreeSet, fmt};

use self::tree::Part;
pub use self::{
    run::{Data, FillError},
    tree::Field,
    value::Value,
};

/// Most octets of a template.
const MAX_TEXT: usize = 64 << 10;

/// A compiled template.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    normal: String,
    parts: Vec<Part>,
    /// Most variables at once.
    slots: usize,
}

/// What a template may name, as far as that depends on its directive.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Names of the groups of the patterns.
    pub groups: BTreeSet<String>,
    /// Variables of `var`.
    pub variables: BTreeSet<String>,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextError {
    /// Offset of the octet where it shows.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for TextError {}

impl TextError {
    fn new(at: usize, what: impl Into<String>) -> Self {
        TextError { at, what: what.into() }
    }
}

impl Text {
    /// Reads `source`.
    ///
    /// # Errors
    /// The first thing that is wrong with it, or that is not available.
    pub fn compile(source: &str, names: &Names) -> Result<Self, TextError> {
        if source.len() > MAX_TEXT {
            return Err(TextError::new(0, format!("it is longer than {MAX_TEXT} bytes")));
        }
        let (pieces, normal) = lexer::pieces(source)?;
        let (parts, slots) = parser::parse(pieces, names)?;
        Ok(Text { normal, parts, slots })
    }

    /// The text with its actions carried out over `data`.
    ///
    /// # Errors
    /// [`FillError`]: a function was given what it can't take, or a bound was met.
    pub fn fill(&self, data: &dyn Data) -> Result<String, FillError> {
        run::fill(&self.parts, self.slots, data)
    }

    /// The template as Go writes it out, for metrics.
    pub fn normal(&self) -> &str {
        &self.normal
    }
}

#[cfg(test)]
mod tests;
