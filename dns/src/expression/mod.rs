//! Expressions about queries, for `view` and `template`: the part of expr-lang that CoreDNS's users write.
//!
//! ```txt
//! incidr(client_ip(), '10.0.0.0/8') && type() in ['A', 'AAAA']
//! ```
//!
//! [`lexer`] and [`parser`] take the text apart, [`check`] gives every part a type and refuses what can't be
//! meant, [`run`] evaluates. What the language has and we do not is refused by name when the Corefile is read,
//! never read otherwise. Evaluating can't panic and takes a bounded number of steps.

mod builtins;
mod check;
mod code;
mod facts;
mod lexer;
mod parser;
mod run;
mod syntax;
mod value;

use std::fmt;

use self::{code::Code, run::Machine};
pub use self::{
    run::RunError,
    value::{Type, Value},
};
use crate::{
    corefile::{cause::Cause, checker::Checker, tree::Token},
    plugin::Query,
};

/// Most octets of an expression.
const MAX_TEXT: usize = 10_000;

/// A checked expression.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    code: Code,
    /// What it evaluates to.
    pub kind: Type,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// What an expression may name besides the functions that all have.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Variables with their types, in the order in which [`Surroundings::variables`] has their values.
    pub variables: Vec<(String, Type)>,
    /// Whether there is `group()`, for what a pattern found.
    pub groups: bool,
}

/// What an expression is evaluated over.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The query.
    pub query: &'a Query,
    /// Values of the scope's variables.
    pub variables: &'a [Value],
    /// Finds what a group of a pattern found, by its number or name.
    pub groups: &'a (dyn Fn(&str) -> String + Sync),
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    /// Offset of the octet where it shows.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for ExpressionError {}

impl ExpressionError {
    fn new(at: usize, what: impl Into<String>) -> Self {
        ExpressionError { at, what: what.into() }
    }
}

impl Expression {
    /// Reads and checks `text`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn compile(text: &str, scope: &Scope) -> Result<Self, ExpressionError> {
        if text.len() > MAX_TEXT {
            return Err(ExpressionError::new(0, format!("it is longer than {MAX_TEXT} bytes")));
        }
        let (code, kind) = check::check(&parser::parse(text)?, scope)?;
        Ok(Expression { text: text.to_owned(), code, kind })
    }

    /// Reads the words of a line, which make one expression with a blank between them, and notes what is wrong.
    pub fn parse(words: &[Token], scope: &Scope, cx: &mut Checker<'_>) -> Option<Self> {
        let texts: Vec<&str> = words.iter().map(|word| &*word.text).collect();
        let text = texts.join(" ");
        let error = match Expression::compile(&text, scope) {
            Ok(expression) => return Some(expression),
            Err(error) => error,
        };
        let mut end = 0;
        let word = words.iter().find(|word| {
            end += word.text.len() + 1;
            error.at < end
        });
        let span = word.or(words.last())?.span;
        let cause = Cause::Value { found: text, want: "an expression".to_owned() };
        cx.mistake_with(span, cause, format!("at character {}: {}", error.at + 1, error.what));
        None
    }

    /// The value for a query.
    ///
    /// # Errors
    /// [`RunError`]: a function was given what it can't take, or the bounds of an evaluation were met.
    pub fn evaluate(&self, surroundings: &Surroundings<'_>) -> Result<Value, RunError> {
        Machine::new(surroundings).run(&self.code)
    }
}

/// Whether `name` can't be a variable: it is a word of the language, or a function of it or ours.
pub fn is_reserved(name: &str) -> bool {
    const WORDS: [&str; 14] = [
        "true",
        "false",
        "nil",
        "in",
        "not",
        "and",
        "or",
        "matches",
        "contains",
        "startsWith",
        "endsWith",
        "let",
        "if",
        "else",
    ];
    let ours = ["incidr", "metadata", "group"];
    WORDS.contains(&name)
        || ours.contains(&name)
        || facts::Fact::named(name).is_some()
        || builtins::exists(name)
}

#[cfg(test)]
mod tests;
