//! Types: from a tree to code, or what can't be meant.

use super::{
    ExpressionError, Scope,
    builtins::{self, Each},
    code::{Code, NetworkOf},
    facts::{Fact, Network},
    syntax::{Kind, Node, Operator},
    value::{Type, Value},
};
use crate::corefile::pattern::Pattern;

type Checked = Result<(Code, Type), ExpressionError>;

/// Checks `node` and gives the type of its value.
pub(super) fn check(node: &Node, scope: &Scope) -> Checked {
    Checker { scope, element: None }.part(node)
}

struct Checker<'a> {
    scope: &'a Scope,
    /// Type of the element that the predicate at hand looks at.
    element: Option<Type>,
}

impl Checker<'_> {
    fn part(&self, node: &Node) -> Checked {
        let at = node.at;
        match &node.kind {
            Kind::Constant(value) => Ok((Code::Constant(value.clone()), type_of(value))),
            Kind::List(parts) => {
                let parts = self.parts(parts)?;
                let kind = parts.iter().map(|(_, kind)| kind.clone()).reduce(Type::or);
                let code = Code::List(parts.into_iter().map(|(code, _)| code).collect());
                Ok((code, Type::List(Box::new(kind.unwrap_or(Type::Any)))))
            }
            Kind::Name(name) => self.name(name, at),
            Kind::Element => Ok((Code::Element, self.element.clone().unwrap_or(Type::Any))),
            Kind::Call(name, arguments) => self.call(name, arguments, at),
            Kind::Not(part) => {
                let code = self.typed(part, &Type::Bool, "`not` is for true or false")?;
                Ok((Code::Not(Box::new(code)), Type::Bool))
            }
            Kind::Sign(negative, part) => {
                let (code, kind) = self.part(part)?;
                if !kind.is_number() {
                    return Err(ExpressionError::new(
                        at,
                        format!("a sign is for a number, not {kind}"),
                    ));
                }
                Ok((if *negative { Code::Negative(Box::new(code)) } else { code }, kind))
            }
            Kind::Binary(operator, left, right) => self.binary(*operator, left, right, at),
            Kind::Choice(condition, one, other) => {
                let condition =
                    self.typed(condition, &Type::Bool, "what stands before `?` is true or false")?;
                let ((one, kind), (other, other_kind)) = (self.part(one)?, self.part(other)?);
                let code = Code::Choice(Box::new(condition), Box::new(one), Box::new(other));
                Ok((code, kind.or(other_kind)))
            }
            Kind::Index(of, index) => {
                let (of, kind) = self.part(of)?;
                let index = self.typed(index, &Type::Int, "an index is a whole number")?;
                let kind = match kind {
                    Type::List(element) => *element,
                    Type::Any => Type::Any,
                    other => {
                        return Err(ExpressionError::new(at, format!("{other} has no elements")));
                    }
                };
                Ok((Code::Index(Box::new(of), Box::new(index)), kind))
            }
            Kind::Slice(of, from, to) => {
                let (of, kind) = self.part(of)?;
                if !matches!(kind, Type::List(_) | Type::Text | Type::Any) {
                    return Err(ExpressionError::new(at, format!("{kind} has no parts")));
                }
                let bound = |part: &Option<Box<Node>>| {
                    let typed = |part| self.typed(part, &Type::Int, "a bound is a whole number");
                    part.as_deref().map(typed).transpose().map(|code| code.map(Box::new))
                };
                Ok((Code::Slice(Box::new(of), bound(from)?, bound(to)?), kind))
            }
        }
    }

    fn parts(&self, nodes: &[Node]) -> Result<Vec<(Code, Type)>, ExpressionError> {
        nodes.iter().map(|node| self.part(node)).collect()
    }

    /// A part that has to be of this type.
    fn typed(&self, node: &Node, want: &Type, what: &str) -> Result<Code, ExpressionError> {
        let (code, kind) = self.part(node)?;
        if !kind.may_be(want) {
            return Err(ExpressionError::new(node.at, format!("{what}; this is {kind}")));
        }
        Ok(code)
    }

    fn name(&self, name: &str, at: usize) -> Checked {
        let mut variables = self.scope.variables.iter();
        if let Some(index) = variables.position(|(known, _)| known == name) {
            return Ok((Code::Variable(index), self.scope.variables[index].1.clone()));
        }
        let what = if super::is_reserved(name) {
            format!("`{name}` is a function: write `{name}()`")
        } else {
            format!("there is no variable `{name}`; a text stands in quotes")
        };
        Err(ExpressionError::new(at, what))
    }

    fn call(&self, name: &str, arguments: &[Node], at: usize) -> Checked {
        if let Some(fact) = Fact::named(name) {
            if let Some(surplus) = arguments.first() {
                return Err(ExpressionError::new(surplus.at, format!("`{name}` takes nothing")));
            }
            return Ok((Code::Fact(fact), fact.kind()));
        }
        match (name, arguments) {
            ("incidr", [address, network]) => self.in_network(address, network),
            ("metadata", [label]) => {
                let label = self.typed(label, &Type::Text, "a label is text")?;
                Ok((Code::Metadata(Box::new(label)), Type::Text))
            }
            ("group", [which]) if self.scope.groups => {
                let (which, _) = self.part(which)?;
                Ok((Code::Group(Box::new(which)), Type::Text))
            }
            ("incidr", _) => {
                Err(ExpressionError::new(at, "`incidr` takes an address and a network"))
            }
            ("metadata", _) => Err(ExpressionError::new(at, "`metadata` takes a label")),
            ("group", _) if self.scope.groups => {
                Err(ExpressionError::new(at, "`group` takes a number or a name"))
            }
            _ => self.function(name, arguments, at),
        }
    }

    fn function(&self, name: &str, arguments: &[Node], at: usize) -> Checked {
        if let Some(each) = builtins::each(name) {
            return self.each(each, name, arguments, at);
        }
        let Some(builtin) = builtins::named(name) else {
            let what = if builtins::exists(name) && name != "type" {
                format!("the function `{name}` is not available in Daymark")
            } else {
                format!("there is no function `{name}`")
            };
            return Err(ExpressionError::new(at, what));
        };
        let (codes, kinds): (Vec<_>, Vec<_>) = self.parts(arguments)?.into_iter().unzip();
        let kind = builtin
            .check(&kinds)
            .map_err(|want| ExpressionError::new(at, format!("`{name}` takes {want}")))?;
        Ok((Code::Builtin(builtin, codes), kind))
    }

    fn each(&self, each: Each, name: &str, arguments: &[Node], at: usize) -> Checked {
        let [list, predicate] = arguments else {
            // `count(list)` counts what is true.
            let what = format!("`{name}` takes a list, and what is asked of each element `#`");
            return Err(ExpressionError::new(at, what));
        };
        let (list, kind) = self.part(list)?;
        let element = match kind {
            Type::List(element) => *element,
            Type::Any => Type::Any,
            other => {
                return Err(ExpressionError::new(
                    at,
                    format!("`{name}` takes a list, not {other}"),
                ));
            }
        };
        let inner = Checker { scope: self.scope, element: Some(element.clone()) };
        let (code, answer) = inner.part(predicate)?;
        if each != Each::Map && !answer.may_be(&Type::Bool) {
            let what = format!("what is asked of each element is true or false; this is {answer}");
            return Err(ExpressionError::new(predicate.at, what));
        }
        let kind = match each {
            Each::All | Each::None | Each::Any | Each::One => Type::Bool,
            Each::Filter => Type::List(Box::new(element)),
            Each::Map => Type::List(Box::new(answer)),
            Each::Find => Type::Any,
            Each::FindIndex | Each::Count => Type::Int,
        };
        Ok((Code::Each(each, Box::new(list), Box::new(code)), kind))
    }

    fn in_network(&self, address: &Node, network: &Node) -> Checked {
        let code = self.typed(address, &Type::Text, "an address is text")?;
        let of = match &network.kind {
            Kind::Constant(Value::Text(text)) => match Network::parse(text) {
                Some(network) => NetworkOf::Known(network),
                None => {
                    let what = format!("'{text}' is no network; write it like '10.0.0.0/8'");
                    return Err(ExpressionError::new(network.at, what));
                }
            },
            _ => {
                NetworkOf::Text(Box::new(self.typed(network, &Type::Text, "a network is text")?))
            }
        };
        Ok((Code::InNetwork(Box::new(code), of), Type::Bool))
    }

    fn binary(&self, operator: Operator, left: &Node, right: &Node, at: usize) -> Checked {
        use Operator as O;
        let (left_code, one) = self.part(left)?;
        if operator == O::Matches {
            return self.matches(left_code, &one, right, at);
        }
        let (right_code, other) = self.part(right)?;
        let both = |kind: &Type| one.may_be(kind) && other.may_be(kind);
        let numbers = one.is_number() && other.is_number();
        let number = || match (&one, &other) {
            (Type::Int, Type::Int) => Type::Int,
            (Type::Any, _) | (_, Type::Any) => Type::Any,
            _ => Type::Float,
        };
        let kind = match operator {
            O::Or | O::And => both(&Type::Bool).then_some(Type::Bool),
            O::Equal | O::Unequal => one.compares_with(&other).then_some(Type::Bool),
            O::Less | O::Greater | O::LessOrEqual | O::GreaterOrEqual => {
                (numbers || both(&Type::Text)).then_some(Type::Bool)
            }
            O::In => match &other {
                Type::List(element) => one.compares_with(element).then_some(Type::Bool),
                Type::Any => Some(Type::Bool),
                _ => None,
            },
            O::Contains | O::StartsWith | O::EndsWith => both(&Type::Text).then_some(Type::Bool),
            O::Range => both(&Type::Int).then(|| Type::List(Box::new(Type::Int))),
            O::Plus if both(&Type::Text) && !numbers => Some(Type::Text),
            O::Plus if both(&Type::Text) && numbers => Some(Type::Any),
            O::Plus | O::Minus | O::Times => numbers.then(number),
            O::Over | O::Power => numbers.then_some(Type::Float),
            O::Modulo => both(&Type::Int).then_some(Type::Int),
            O::Matches => None,
        };
        let Some(kind) = kind else {
            let what = format!("this operator does not go with {one} and {other}");
            return Err(ExpressionError::new(at, what));
        };
        Ok((Code::Binary(operator, Box::new(left_code), Box::new(right_code)), kind))
    }

    fn matches(&self, code: Code, kind: &Type, pattern: &Node, at: usize) -> Checked {
        if !kind.may_be(&Type::Text) {
            return Err(ExpressionError::new(at, format!("`matches` is for text, not {kind}")));
        }
        let Kind::Constant(Value::Text(text)) = &pattern.kind else {
            let what =
                "a pattern that is worked out is not available in Daymark; write it in quotes";
            return Err(ExpressionError::new(pattern.at, what));
        };
        let pattern = Pattern::new(text)
            .map_err(|error| ExpressionError::new(pattern.at, error.to_string()))?;
        Ok((Code::Matches(Box::new(code), pattern.0), Type::Bool))
    }
}

fn type_of(value: &Value) -> Type {
    match value {
        Value::Nil => Type::Nil,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Float(_) => Type::Float,
        Value::Text(_) => Type::Text,
        Value::List(_) => Type::Any,
    }
}
