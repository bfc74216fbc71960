//! Evaluating: a bounded number of steps, no panic.

use super::{
    Surroundings,
    builtins::{Each, MAX_LIST, MAX_TEXT},
    code::{Code, NetworkOf},
    facts::Network,
    syntax::Operator,
    value::Value,
};

/// Most steps of one evaluation.
const MAX_STEPS: u32 = 20_000;

/// Why an expression has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A value of another type than was needed.
    #[error("a value is of the wrong type")]
    Type,
    /// Text that is no number, or a number that can't be used.
    #[error("a number is none, or out of range")]
    NoNumber,
    /// Text that is no address.
    #[error("the first argument is not an IP address")]
    NoAddress,
    /// Text that is no network.
    #[error("the second argument is not a network")]
    NoNetwork,
    /// There is no such element.
    #[error("an index is out of range")]
    Index,
    /// A text or a list beyond its bound.
    #[error("a text or a list grew too large")]
    TooLarge,
    /// Too many steps.
    #[error("it took more than {MAX_STEPS} steps")]
    TooLong,
}

/// One evaluation.
pub(super) struct Machine<'a> {
    surroundings: &'a Surroundings<'a>,
    steps: u32,
    /// Elements that predicates look at, the innermost last.
    elements: Vec<Value>,
}

type Ran = Result<Value, RunError>;

impl<'a> Machine<'a> {
    pub(super) fn new(surroundings: &'a Surroundings<'a>) -> Self {
        Machine { surroundings, steps: 0, elements: Vec::new() }
    }

    pub(super) fn run(&mut self, code: &Code) -> Ran {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(RunError::TooLong);
        }
        match code {
            Code::Constant(value) => Ok(value.clone()),
            Code::List(parts) => Ok(Value::List(self.all(parts)?.into())),
            Code::Variable(index) => {
                self.surroundings.variables.get(*index).cloned().ok_or(RunError::Index)
            }
            Code::Element => self.elements.last().cloned().ok_or(RunError::Index),
            Code::Fact(fact) => Ok(fact.of(self.surroundings.query)),
            Code::InNetwork(address, network) => self.in_network(address, network),
            Code::Metadata(label) => {
                let label = self.text(label)?;
                let value = self.surroundings.query.metadata.value(&label);
                Ok(Value::text(value.unwrap_or_default()))
            }
            Code::Group(which) => {
                let found = match self.run(which)? {
                    Value::Int(number) => (self.surroundings.groups)(&number.to_string()),
                    Value::Text(name) => (self.surroundings.groups)(&name),
                    _ => String::new(),
                };
                Ok(Value::text(found))
            }
            Code::Builtin(builtin, arguments) => builtin.run(&self.all(arguments)?),
            Code::Each(each, list, predicate) => self.each(*each, list, predicate),
            Code::Not(part) => Ok(Value::Bool(!self.truth(part)?)),
            Code::Negative(part) => match self.run(part)? {
                Value::Int(number) => Ok(Value::Int(number.wrapping_neg())),
                Value::Float(number) => Ok(Value::Float(-number)),
                _ => Err(RunError::Type),
            },
            Code::Binary(operator, left, right) => self.binary(*operator, left, right),
            Code::Matches(text, pattern) => {
                let text = self.text(text)?;
                Ok(Value::Bool(pattern.is_match(&text)))
            }
            Code::Choice(condition, one, other) => {
                let chosen = if self.truth(condition)? { one } else { other };
                self.run(chosen)
            }
            Code::Index(of, index) => self.index(of, index),
            Code::Slice(of, from, to) => self.slice(of, from.as_deref(), to.as_deref()),
        }
    }

    fn all(&mut self, parts: &[Code]) -> Result<Vec<Value>, RunError> {
        parts.iter().map(|part| self.run(part)).collect()
    }

    fn truth(&mut self, code: &Code) -> Result<bool, RunError> {
        match self.run(code)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(RunError::Type),
        }
    }

    fn text(&mut self, code: &Code) -> Result<std::sync::Arc<str>, RunError> {
        match self.run(code)? {
            Value::Text(text) => Ok(text),
            _ => Err(RunError::Type),
        }
    }

    fn whole(&mut self, code: &Code) -> Result<i64, RunError> {
        match self.run(code)? {
            Value::Int(number) => Ok(number),
            _ => Err(RunError::Type),
        }
    }

    fn in_network(&mut self, address: &Code, network: &NetworkOf) -> Ran {
        let address = self.text(address)?.parse().map_err(|_| RunError::NoAddress)?;
        let network = match network {
            NetworkOf::Known(network) => *network,
            NetworkOf::Text(code) => {
                Network::parse(&self.text(code)?).ok_or(RunError::NoNetwork)?
            }
        };
        Ok(Value::Bool(network.contains(address)))
    }

    fn each(&mut self, each: Each, list: &Code, predicate: &Code) -> Ran {
        let Value::List(list) = self.run(list)? else { return Err(RunError::Type) };
        let mut chosen = Vec::new();
        let mut first = None;
        let mut count = 0;
        for (index, element) in list.iter().enumerate() {
            self.elements.push(element.clone());
            let answer = self.run(predicate);
            self.elements.pop();
            let answer = answer?;
            if each == Each::Map {
                chosen.push(answer);
                continue;
            }
            let Value::Bool(true) = answer else {
                match answer {
                    Value::Bool(_) if each == Each::All => return Ok(Value::Bool(false)),
                    Value::Bool(_) => continue,
                    _ => return Err(RunError::Type),
                }
            };
            count += 1;
            first.get_or_insert(index);
            match each {
                Each::Any => return Ok(Value::Bool(true)),
                Each::None => return Ok(Value::Bool(false)),
                Each::Find | Each::FindIndex => break,
                Each::Filter => chosen.push(element.clone()),
                Each::All | Each::One | Each::Map | Each::Count => {}
            }
        }
        Ok(match each {
            Each::All | Each::None => Value::Bool(true),
            Each::Any => Value::Bool(false),
            Each::One => Value::Bool(count == 1),
            Each::Filter | Each::Map => Value::List(chosen.into()),
            Each::Find => first.and_then(|index| list.get(index)).cloned().unwrap_or(Value::Nil),
            Each::FindIndex => Value::Int(first.map_or(-1, |index| index as i64)),
            Each::Count => Value::Int(count),
        })
    }

    fn binary(&mut self, operator: Operator, left: &Code, right: &Code) -> Ran {
        use Operator as O;
        match operator {
            O::Or => return Ok(Value::Bool(self.truth(left)? || self.truth(right)?)),
            O::And => return Ok(Value::Bool(self.truth(left)? && self.truth(right)?)),
            _ => {}
        }
        let (one, other) = (self.run(left)?, self.run(right)?);
        if let (Value::Text(one), Value::Text(other)) = (&one, &other) {
            let truth = match operator {
                O::Equal => one == other,
                O::Unequal => one != other,
                O::Less => one < other,
                O::Greater => one > other,
                O::LessOrEqual => one <= other,
                O::GreaterOrEqual => one >= other,
                O::Contains => one.contains(&**other),
                O::StartsWith => one.starts_with(&**other),
                O::EndsWith => one.ends_with(&**other),
                O::Plus if one.len() + other.len() > MAX_TEXT => return Err(RunError::TooLarge),
                O::Plus => return Ok(Value::text(format!("{one}{other}"))),
                _ => return Err(RunError::Type),
            };
            return Ok(Value::Bool(truth));
        }
        match (operator, &one, &other) {
            (O::Equal, ..) => Ok(Value::Bool(one.equals(&other))),
            (O::Unequal, ..) => Ok(Value::Bool(!one.equals(&other))),
            (O::In, _, Value::List(list)) => {
                // Each comparison is a step: lists may be long.
                self.steps = self.steps.saturating_add(list.len() as u32);
                Ok(Value::Bool(list.iter().any(|element| element.equals(&one))))
            }
            (O::Range, Value::Int(from), Value::Int(to)) => range(*from, *to),
            _ => arithmetic(operator, &one, &other),
        }
    }

    fn index(&mut self, of: &Code, index: &Code) -> Ran {
        let (of, index) = (self.run(of)?, self.whole(index)?);
        let Value::List(list) = of else { return Err(RunError::Type) };
        let place = if index < 0 { index.checked_add(list.len() as i64) } else { Some(index) };
        let found = place.and_then(|place| list.get(usize::try_from(place).ok()?));
        found.cloned().ok_or(RunError::Index)
    }

    fn slice(&mut self, of: &Code, from: Option<&Code>, to: Option<&Code>) -> Ran {
        let of = self.run(of)?;
        let length = match &of {
            Value::List(list) => list.len(),
            Value::Text(text) => text.len(),
            _ => return Err(RunError::Type),
        };
        let mut bound = |code: Option<&Code>, default: usize| {
            let Some(code) = code else { return Ok(default) };
            let at = self.whole(code)?;
            let at = if at < 0 { at.saturating_add(length as i64) } else { at };
            Ok(usize::try_from(at).unwrap_or(0).min(length))
        };
        let (from, to) = (bound(from, 0)?, bound(to, length)?);
        let range = from.min(to)..to;
        Ok(match &of {
            Value::List(list) => Value::List(list[range].into()),
            Value::Text(text) => Value::text(text.get(range).ok_or(RunError::Index)?),
            _ => return Err(RunError::Type),
        })
    }
}

fn range(from: i64, to: i64) -> Ran {
    let length = to.checked_sub(from).and_then(|length| length.checked_add(1));
    match length {
        Some(length) if length <= MAX_LIST as i64 => {
            Ok(Value::List((from..=to).map(Value::Int).collect()))
        }
        _ => Err(RunError::TooLarge),
    }
}

fn arithmetic(operator: Operator, one: &Value, other: &Value) -> Ran {
    use Operator as O;
    if let (Value::Int(one), Value::Int(other)) = (one, other) {
        let number = match operator {
            O::Plus => Some(one.wrapping_add(*other)),
            O::Minus => Some(one.wrapping_sub(*other)),
            O::Times => Some(one.wrapping_mul(*other)),
            O::Modulo if *other == 0 => return Err(RunError::NoNumber),
            O::Modulo => Some(one.wrapping_rem(*other)),
            _ => None,
        };
        if let Some(number) = number {
            return Ok(Value::Int(number));
        }
    }
    let (Some(one), Some(other)) = (one.as_float(), other.as_float()) else {
        return Err(RunError::Type);
    };
    Ok(match operator {
        O::Plus => Value::Float(one + other),
        O::Minus => Value::Float(one - other),
        O::Times => Value::Float(one * other),
        O::Over => Value::Float(one / other),
        O::Power => Value::Float(one.powf(other)),
        O::Less => Value::Bool(one < other),
        O::Greater => Value::Bool(one > other),
        O::LessOrEqual => Value::Bool(one <= other),
        O::GreaterOrEqual => Value::Bool(one >= other),
        _ => return Err(RunError::Type),
    })
}
