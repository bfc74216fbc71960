//! Checked expressions: names found, types known, patterns and networks compiled.

use regex::Regex;

use super::{
    builtins::Builtin,
    facts::{Fact, Network},
    syntax::Operator,
    value::Value,
};

/// A part that can be evaluated.
#[derive(Debug, Clone)]
pub(super) enum Code {
    Constant(Value),
    List(Vec<Code>),
    /// A variable by its place in the scope.
    Variable(usize),
    /// The element that a predicate looks at.
    Element,
    /// A function without arguments about the query.
    Fact(Fact),
    /// `incidr(address, network)`.
    InNetwork(Box<Code>, NetworkOf),
    /// `metadata(label)`.
    Metadata(Box<Code>),
    /// `group(which)`.
    Group(Box<Code>),
    Builtin(Builtin, Vec<Code>),
    /// A function of a list and what is asked of each element.
    Each(super::builtins::Each, Box<Code>, Box<Code>),
    Not(Box<Code>),
    Negative(Box<Code>),
    Binary(Operator, Box<Code>, Box<Code>),
    Matches(Box<Code>, Regex),
    Choice(Box<Code>, Box<Code>, Box<Code>),
    Index(Box<Code>, Box<Code>),
    Slice(Box<Code>, Option<Box<Code>>, Option<Box<Code>>),
}

/// The network of `incidr`.
#[derive(Debug, Clone)]
pub(super) enum NetworkOf {
    /// Written in the expression.
    Known(Network),
    /// Worked out.
    Text(Box<Code>),
}
