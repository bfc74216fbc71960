//! Values of expressions and their types.

use std::{fmt, sync::Arc};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing: the first of an empty list, for instance.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// Several values.
    List(Arc<[Value]>),
}

/// What is known of a value before it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// [`Value::Nil`].
    Nil,
    /// [`Value::Bool`].
    Bool,
    /// [`Value::Int`].
    Int,
    /// [`Value::Float`].
    Float,
    /// [`Value::Text`].
    Text,
    /// [`Value::List`] of these.
    List(Box<Type>),
    /// Any of them.
    Any,
}

impl Type {
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Type::Int | Type::Float | Type::Any)
    }

    pub(super) fn may_be(&self, other: &Type) -> bool {
        self == other || matches!(self, Type::Any) || matches!(other, Type::Any)
    }

    /// Whether values of both can be equal.
    pub(super) fn compares_with(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::List(one), Type::List(other)) => one.compares_with(other),
            (Type::Nil, _) | (_, Type::Nil) => true,
            _ => self.may_be(other) || (self.is_number() && other.is_number()),
        }
    }

    /// The type of values that are of either.
    pub(super) fn or(self, other: Type) -> Type {
        if self == other { self } else { Type::Any }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Nil => f.write_str("nil"),
            Type::Bool => f.write_str("true or false"),
            Type::Int => f.write_str("a whole number"),
            Type::Float => f.write_str("a number"),
            Type::Text => f.write_str("text"),
            Type::List(_) => f.write_str("a list"),
            Type::Any => f.write_str("a value of any type"),
        }
    }
}

impl Value {
    /// The text of `text`.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Value::Text(text.into())
    }

    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Equality as expressions have it: a whole number equals the same number with a fraction of zero.
    pub(super) fn equals(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Int(one), Value::Int(other)) => one == other,
            (Value::List(one), Value::List(other)) => {
                one.len() == other.len() && one.iter().zip(other.iter()).all(|(a, b)| a.equals(b))
            }
            _ => match (self.as_float(), other.as_float()) {
                (Some(one), Some(other)) => one == other,
                _ => self == other,
            },
        }
    }
}

/// As Go's `fmt` prints it with `%v`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("<nil>"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write_float(*value, f),
            Value::Text(text) => f.write_str(text),
            Value::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    let blank = if index == 0 { "" } else { " " };
                    write!(f, "{blank}{value}")?;
                }
                f.write_str("]")
            }
        }
    }
}

/// The shortest form, with an exponent below 1e-4 and from 1e21 on.
fn write_float(value: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let size = value.abs();
    if value.is_nan() {
        return f.write_str("NaN");
    }
    if value.is_infinite() {
        return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    if size == 0.0 || (1e-4..1e21).contains(&size) {
        return write!(f, "{value}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs())
}
