//! Filling in: a bounded number of steps and a bounded text.

use super::{
    functions::Function,
    printf,
    tree::{Call, Condition, Field, Operand, Part, Pipeline},
    value::Value,
};

/// Most steps of one filling.
const MAX_STEPS: u32 = 20_000;
/// Most octets of a text that is filled in: more than a message has.
const MAX_OUTPUT: usize = 128 << 10;

/// What a template is filled in with.
pub trait Data {
    /// The value of a field.
    fn field(&self, field: &Field) -> Value;
    /// The value of a metadata label; empty where there is none.
    fn meta(&self, label: &str) -> String;
}

/// Why a template can't be filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// A function was given what it can't take.
    #[error("a function can't take its arguments")]
    Argument,
    /// There is no such element.
    #[error("an index is out of range")]
    Index,
    /// A text that is no number of the size asked for.
    #[error("a text is no number, or the number is too large")]
    Number,
    /// `range` over what has no elements.
    #[error("`range` is over something without elements")]
    Range,
    /// The bounds of a filling.
    #[error("filling it in took too many steps or made too long a text")]
    TooLarge,
}

/// Fills in `parts`, which use `slots` variables.
pub(super) fn fill(parts: &[Part], slots: usize, data: &dyn Data) -> Result<String, FillError> {
    let mut filling =
        Filling { data, out: String::new(), steps: 0, variables: vec![Value::Nothing; slots] };
    filling.parts(parts, &Value::Nothing)?;
    Ok(filling.out)
}

struct Filling<'a> {
    data: &'a dyn Data,
    out: String,
    steps: u32,
    variables: Vec<Value>,
}

impl Filling<'_> {
    fn step(&mut self) -> Result<(), FillError> {
        self.steps += 1;
        if self.steps > MAX_STEPS { Err(FillError::TooLarge) } else { Ok(()) }
    }

    fn push(&mut self, text: &str) -> Result<(), FillError> {
        if self.out.len() + text.len() > MAX_OUTPUT {
            return Err(FillError::TooLarge);
        }
        self.out.push_str(text);
        Ok(())
    }

    fn set(&mut self, slot: Option<usize>, value: &Value) {
        if let Some(held) = slot.and_then(|slot| self.variables.get_mut(slot)) {
            *held = value.clone();
        }
    }

    fn parts(&mut self, parts: &[Part], dot: &Value) -> Result<(), FillError> {
        parts.iter().try_for_each(|part| self.part(part, dot))
    }

    fn part(&mut self, part: &Part, dot: &Value) -> Result<(), FillError> {
        self.step()?;
        match part {
            Part::Text(text) => self.push(text),
            Part::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                self.push(&value.to_string())
            }
            Part::Set(slot, pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                self.set(Some(*slot), &value);
                Ok(())
            }
            Part::Choice { arms, otherwise } => {
                for (condition, body) in arms {
                    let Condition { pipeline, variable, is_dot } = condition;
                    let value = self.pipeline(pipeline, dot)?;
                    self.set(*variable, &value);
                    if value.holds() {
                        return self.parts(body, if *is_dot { &value } else { dot });
                    }
                }
                self.parts(otherwise, dot)
            }
            Part::Range { over, index, element, body, otherwise } => {
                let pairs = elements(&self.pipeline(over, dot)?)?;
                if pairs.is_empty() {
                    return self.parts(otherwise, dot);
                }
                for (key, value) in pairs {
                    self.set(*index, &key);
                    self.set(*element, &value);
                    self.parts(body, &value)?;
                }
                Ok(())
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, FillError> {
        let mut value = None;
        for call in &pipeline.0 {
            value = Some(self.call(call, value, dot)?);
        }
        value.ok_or(FillError::Argument)
    }

    fn call(
        &mut self,
        call: &Call,
        before: Option<Value>,
        dot: &Value,
    ) -> Result<Value, FillError> {
        self.step()?;
        match call {
            Call::Operand(operand) => self.operand(operand, dot),
            Call::Meta(operands) => {
                let mut arguments = self.operands(operands, dot)?;
                arguments.extend(before);
                match &arguments[..] {
                    [Value::Text(label)] => Ok(Value::text(self.data.meta(label))),
                    _ => Err(FillError::Argument),
                }
            }
            // They stop at the argument that decides.
            Call::Function(function @ (Function::And | Function::Or), operands) => {
                for operand in operands {
                    let value = self.operand(operand, dot)?;
                    if value.holds() == (*function == Function::Or) {
                        return Ok(value);
                    }
                    if before.is_none() && std::ptr::eq(operand, &operands[operands.len() - 1]) {
                        return Ok(value);
                    }
                }
                before.ok_or(FillError::Argument)
            }
            Call::Function(function, operands) => {
                let mut arguments = self.operands(operands, dot)?;
                arguments.extend(before);
                match (function, &arguments[..]) {
                    (Function::Printf, [Value::Text(format), rest @ ..]) => {
                        printf::printf(format, rest).map(Value::text)
                    }
                    _ => function.run(&arguments),
                }
            }
        }
    }

    fn operands(&mut self, operands: &[Operand], dot: &Value) -> Result<Vec<Value>, FillError> {
        operands.iter().map(|operand| self.operand(operand, dot)).collect()
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, FillError> {
        self.step()?;
        match operand {
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Dot => Ok(dot.clone()),
            Operand::Variable(slot) => self.variables.get(*slot).cloned().ok_or(FillError::Index),
            Operand::Field(field) => Ok(self.data.field(field)),
            Operand::Pipeline(pipeline) => self.pipeline(pipeline, dot),
        }
    }
}

/// What `range` goes over: elements with their numbers, or values with their names.
fn elements(over: &Value) -> Result<Vec<(Value, Value)>, FillError> {
    match over {
        Value::List(list) => {
            let numbered = list.iter().enumerate();
            Ok(numbered.map(|(at, value)| (Value::Int(at as i64), value.clone())).collect())
        }
        Value::Map(map) => {
            Ok(map.iter().map(|(name, value)| (Value::text(&**name), value.clone())).collect())
        }
        Value::Nothing => Ok(Vec::new()),
        _ => Err(FillError::Range),
    }
}
