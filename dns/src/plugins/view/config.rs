//! `view NAME { expr EXPRESSION }`.

use std::sync::Arc;

use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;
use crate::expression::{Expression, Scope, Type};

const PROPERTIES: &[&str] = &["expr"];

/// The settings of `view`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The name, in metrics and as `view/name`.
    pub name: Arc<str>,
    /// All must be true; with none the block takes every query.
    pub expressions: Vec<Expression>,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let name = cx.one(line, "one argument, the view's name");
    let mut expressions = Vec::new();
    for property in cx.properties(line) {
        match &*property.name().text {
            "expr" => {
                let Some(words) = cx.some(property, "an expression") else { continue };
                let Some(expression) = Expression::parse(words, &Scope::default(), cx) else {
                    continue;
                };
                if !matches!(expression.kind, Type::Bool | Type::Any) {
                    let cause = Cause::Value {
                        found: words.iter().map(|word| &*word.text).collect::<Vec<_>>().join(" "),
                        want: format!("true or false, but {}", expression.kind),
                    };
                    cx.mistake_with(words[0].span, cause, "the view would take no query");
                }
                expressions.push(expression);
            }
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    Some(Config { name: name?.text.clone(), expressions })
}
