//! Values in a template.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// A value; what Go has as a number of some size is whole, without a sign or with one.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A key that a map does not have.
    Nothing,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number of `parseInt`.
    Unsigned(u64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// Several values.
    List(Arc<[Value]>),
    /// Values by name.
    Map(Arc<BTreeMap<String, Value>>),
}

impl Value {
    /// The text `text`.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Value::Text(text.into())
    }

    /// Whether a condition takes it for true: it is neither zero nor empty.
    pub(super) fn holds(&self) -> bool {
        match self {
            Value::Nothing => false,
            Value::Bool(value) => *value,
            Value::Int(number) => *number != 0,
            Value::Unsigned(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
        }
    }

    /// As a whole number of any size.
    pub(super) fn whole(&self) -> Option<i128> {
        match self {
            Value::Int(number) => Some((*number).into()),
            Value::Unsigned(number) => Some((*number).into()),
            _ => None,
        }
    }
}

/// An expression's value, as a variable of the template.
impl From<crate::expression::Value> for Value {
    fn from(value: crate::expression::Value) -> Self {
        use crate::expression::Value as Other;
        match value {
            Other::Nil => Value::Nothing,
            Other::Bool(value) => Value::Bool(value),
            Other::Int(number) => Value::Int(number),
            Other::Float(number) => Value::Float(number),
            Other::Text(text) => Value::Text(text),
            Other::List(list) => Value::List(list.iter().cloned().map(Value::from).collect()),
        }
    }
}

/// As Go prints it with `%v`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nothing => f.write_str("<no value>"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Unsigned(number) => write!(f, "{number}"),
            Value::Float(number) => crate::expression::Value::Float(*number).fmt(f),
            Value::Text(text) => f.write_str(text),
            Value::List(list) => {
                f.write_str("[")?;
                for (index, value) in list.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
            Value::Map(map) => {
                f.write_str("map[")?;
                for (index, (name, value)) in map.iter().enumerate() {
                    write!(f, "{}{name}:{value}", if index == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
        }
    }
}
