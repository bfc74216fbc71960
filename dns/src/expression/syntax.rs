//! What the parser makes of the text. Nothing here knows which functions there are.

use super::value::Value;

/// A part of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Offset of the octet that mistakes are shown at.
    pub(super) at: usize,
    /// Longest way down to a part without parts.
    pub(super) depth: usize,
    pub(super) kind: Kind,
}

/// What a part is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A constant.
    Constant(Value),
    /// `[a, b]`.
    List(Vec<Node>),
    /// A variable.
    Name(String),
    /// `#`: the element that a predicate looks at.
    Element,
    /// `name(...)`.
    Call(String, Vec<Node>),
    /// `not a`.
    Not(Box<Node>),
    /// `-a`, `+a`.
    Sign(bool, Box<Node>),
    /// `a OPERATOR b`.
    Binary(Operator, Box<Node>, Box<Node>),
    /// `a ? b : c`.
    Choice(Box<Node>, Box<Node>, Box<Node>),
    /// `a[b]`.
    Index(Box<Node>, Box<Node>),
    /// `a[b:c]`.
    Slice(Box<Node>, Option<Box<Node>>, Option<Box<Node>>),
}

/// An operator between two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    In,
    Matches,
    Contains,
    StartsWith,
    EndsWith,
    Range,
    Plus,
    Minus,
    Times,
    Over,
    Modulo,
    Power,
}

impl Operator {
    /// The operator with its precedence; a higher one binds closer.
    pub(super) fn of(word: &str) -> Option<(Self, u8)> {
        Some(match word {
            "or" | "||" => (Self::Or, 10),
            "and" | "&&" => (Self::And, 15),
            "==" => (Self::Equal, 20),
            "!=" => (Self::Unequal, 20),
            "<" => (Self::Less, 20),
            ">" => (Self::Greater, 20),
            "<=" => (Self::LessOrEqual, 20),
            ">=" => (Self::GreaterOrEqual, 20),
            "in" => (Self::In, 20),
            "matches" => (Self::Matches, 20),
            "contains" => (Self::Contains, 20),
            "startsWith" => (Self::StartsWith, 20),
            "endsWith" => (Self::EndsWith, 20),
            ".." => (Self::Range, 25),
            "+" => (Self::Plus, 30),
            "-" => (Self::Minus, 30),
            "*" => (Self::Times, 60),
            "/" => (Self::Over, 60),
            "%" => (Self::Modulo, 60),
            "**" | "^" => (Self::Power, 100),
            _ => return None,
        })
    }

    /// Whether it orders its sides: such comparisons can be chained.
    pub(super) fn orders(self) -> bool {
        matches!(self, Self::Less | Self::Greater | Self::LessOrEqual | Self::GreaterOrEqual)
    }

    /// Whether `not` may stand before it.
    pub(super) fn can_be_negated(self) -> bool {
        matches!(
            self,
            Self::In | Self::Matches | Self::Contains | Self::StartsWith | Self::EndsWith
        )
    }
}
