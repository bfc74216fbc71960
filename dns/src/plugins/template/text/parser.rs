//! From words to a tree. What a name stands for is known here, so that a wrong one is told at once.

use super::{
    Names, TextError,
    fields::field,
    functions::{Function, OTHER},
    lexer::{Piece, Word, number},
    printf,
    tree::{Call, Condition, Operand, Part, Pipeline},
    value::Value,
};

/// Deepest nesting of `if`, `with` and `range`, and of parentheses.
const MAX_DEPTH: usize = 20;

/// Makes a tree of the pieces; tells how many variables it needs.
pub(super) fn parse(pieces: Vec<Piece>, names: &Names) -> Result<(Vec<Part>, usize), TextError> {
    let mut parser = Parser {
        pieces: pieces.into_iter(),
        names,
        variables: Vec::new(),
        slots: 0,
        in_element: false,
        depth: 0,
    };
    let (parts, end) = parser.body()?;
    match end {
        End::Source => Ok((parts, parser.slots)),
        End::Close(at) => Err(TextError::new(at, "there is nothing that this `end` closes")),
        End::Else(at, _) => Err(TextError::new(at, "there is nothing that this `else` belongs to")),
    }
}

struct Parser<'a> {
    pieces: std::vec::IntoIter<Piece>,
    names: &'a Names,
    /// Variables that can be seen, in the order of their slots.
    variables: Vec<String>,
    slots: usize,
    /// Whether the dot is an element, in `with` and `range`.
    in_element: bool,
    depth: usize,
}

/// Words of an action, with the offset of each.
type Words = [(usize, Word)];

/// What ended a body.
enum End {
    Source,
    Close(usize),
    /// `else`, with the words behind it.
    Else(usize, Vec<(usize, Word)>),
}

impl Parser<'_> {
    fn body(&mut self) -> Result<(Vec<Part>, End), TextError> {
        let mut parts = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (at, words) = match piece {
                Piece::Text(text) => {
                    parts.push(Part::Text(text));
                    continue;
                }
                Piece::Action(at, words) => (at, words),
            };
            let first = match words.first() {
                Some((_, Word::Name(name))) => name.as_str(),
                Some(_) => "",
                None => return Err(TextError::new(at, "this action is empty")),
            };
            match first {
                "end" if words.len() == 1 => return Ok((parts, End::Close(at))),
                "else" => return Ok((parts, End::Else(at, words[1..].to_vec()))),
                "if" => parts.push(self.choice(at, &words[1..], false)?),
                "with" => parts.push(self.choice(at, &words[1..], true)?),
                "range" => parts.push(self.range(at, &words[1..])?),
                "define" | "template" | "block" | "break" | "continue" => {
                    return Err(TextError::new(
                        at,
                        format!("`{first}` is not available in Daymark"),
                    ));
                }
                _ => parts.push(self.action(at, &words)?),
            }
        }
        Ok((parts, End::Source))
    }

    fn deeper(&mut self, at: usize) -> Result<(), TextError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(TextError::new(at, "it is nested too deeply"));
        }
        Ok(())
    }

    /// A body with variables and a dot of its own.
    fn inner(&mut self, in_element: bool) -> Result<(Vec<Part>, End), TextError> {
        let held = self.variables.len();
        let outside = std::mem::replace(&mut self.in_element, in_element);
        let found = self.body();
        self.in_element = outside;
        self.variables.truncate(held);
        found
    }

    /// What stands behind `else` without a condition, up to `end`.
    fn otherwise(&mut self, at: usize, end: End) -> Result<Vec<Part>, TextError> {
        match end {
            End::Close(_) => Ok(Vec::new()),
            End::Else(_, words) if words.is_empty() => match self.inner(self.in_element)? {
                (parts, End::Close(_)) => Ok(parts),
                (_, End::Else(at, _)) => {
                    Err(TextError::new(at, "there is an `else` before this one"))
                }
                (_, End::Source) => {
                    Err(TextError::new(at, "this never ends: `{{ end }}` is missing"))
                }
            },
            End::Else(at, _) => Err(TextError::new(at, "nothing may stand behind this `else`")),
            End::Source => Err(TextError::new(at, "this never ends: `{{ end }}` is missing")),
        }
    }

    fn choice(&mut self, at: usize, words: &Words, is_dot: bool) -> Result<Part, TextError> {
        self.deeper(at)?;
        let held = self.variables.len();
        let mut arms = Vec::new();
        let mut words = words.to_vec();
        let otherwise = loop {
            let (variable, rest) = self.declared(&words)?;
            let pipeline = self.pipeline(at, rest)?;
            let variable = variable.map(|name| self.declare(name));
            let in_element = self.in_element || is_dot;
            let (body, end) = self.inner(in_element)?;
            arms.push((Condition { pipeline, variable, is_dot }, body));
            let word = if is_dot { "with" } else { "if" };
            match end {
                End::Else(_, next) if matches!(next.first(), Some((_, Word::Name(name))) if name == word) =>
                {
                    words = next[1..].to_vec();
                }
                end => break self.otherwise(at, end)?,
            }
        };
        self.variables.truncate(held);
        self.depth -= 1;
        Ok(Part::Choice { arms, otherwise })
    }

    fn range(&mut self, at: usize, words: &Words) -> Result<Part, TextError> {
        self.deeper(at)?;
        let held = self.variables.len();
        let (first, second, rest) = match words {
            [
                (_, Word::Variable(index, one)),
                (_, Word::Mark(",")),
                (_, Word::Variable(element, other)),
                (_, Word::Mark(":=")),
                rest @ ..,
            ] if one.is_empty() && other.is_empty() => {
                (Some(index.clone()), Some(element.clone()), rest)
            }
            _ => {
                let (variable, rest) = self.declared(words)?;
                (None, variable, rest)
            }
        };
        let over = self.pipeline(at, rest)?;
        let index = first.map(|name| self.declare(name));
        let element = second.map(|name| self.declare(name));
        let (body, end) = self.inner(true)?;
        let otherwise = self.otherwise(at, end)?;
        self.variables.truncate(held);
        self.depth -= 1;
        Ok(Part::Range { over, index, element, body, otherwise })
    }

    /// `$x :=` in front of a pipeline.
    fn declared<'w>(&self, words: &'w Words) -> Result<(Option<String>, &'w Words), TextError> {
        match words {
            [(at, Word::Variable(name, fields)), (_, Word::Mark(":=")), rest @ ..] => {
                if name.is_empty() || !fields.is_empty() {
                    return Err(TextError::new(*at, "this can't be a variable"));
                }
                Ok((Some(name.clone()), rest))
            }
            _ => Ok((None, words)),
        }
    }

    fn declare(&mut self, name: String) -> usize {
        self.variables.push(name);
        self.slots = self.slots.max(self.variables.len());
        self.variables.len() - 1
    }

    fn action(&mut self, at: usize, words: &Words) -> Result<Part, TextError> {
        if let [(place, Word::Variable(name, fields)), (_, Word::Mark("=")), rest @ ..] = words {
            if !fields.is_empty() {
                return Err(TextError::new(*place, "this can't be a variable"));
            }
            let slot = self.variable(name, *place)?;
            return Ok(Part::Set(slot, self.pipeline(at, rest)?));
        }
        let (variable, rest) = self.declared(words)?;
        let pipeline = self.pipeline(at, rest)?;
        Ok(match variable {
            Some(name) => Part::Set(self.declare(name), pipeline),
            None => Part::Print(pipeline),
        })
    }

    fn variable(&self, name: &str, at: usize) -> Result<usize, TextError> {
        let found = self.variables.iter().rposition(|known| known == name);
        found.ok_or_else(|| TextError::new(at, format!("there is no variable `${name}` here")))
    }

    fn pipeline(&mut self, at: usize, words: &Words) -> Result<Pipeline, TextError> {
        self.deeper(at)?;
        let mut calls = Vec::new();
        for command in split_at_pipes(words) {
            let piped = !calls.is_empty();
            calls.push(self.command(at, command, piped)?);
        }
        self.depth -= 1;
        Ok(Pipeline(calls))
    }

    fn command(&mut self, at: usize, words: &Words, piped: bool) -> Result<Call, TextError> {
        let Some(((place, first), rest)) = words.split_first() else {
            return Err(TextError::new(at, "a value is missing here"));
        };
        let place = *place;
        match first {
            Word::Name(name) if !matches!(&**name, "true" | "false" | "nil") => {
                let Some(function) = Function::named(name) else {
                    let what = if OTHER.contains(&&**name) {
                        format!("the function `{name}` is not available in Daymark")
                    } else {
                        format!("there is no function `{name}`")
                    };
                    return Err(TextError::new(place, what));
                };
                let operands = self.operands(rest)?;
                let count = operands.len() + usize::from(piped);
                let (least, most) = function.arity();
                if !(least..=most).contains(&count) {
                    return Err(TextError::new(
                        place,
                        format!("`{name}` can't take {count} arguments"),
                    ));
                }
                if function == Function::Printf {
                    check_format(&operands, count, place)?;
                }
                Ok(Call::Function(function, operands))
            }
            Word::Path(path) if matches!(&path[..], [one] if one == "Meta") => {
                self.must_be_root(place)?;
                let operands = self.operands(rest)?;
                if operands.len() + usize::from(piped) != 1 {
                    return Err(TextError::new(place, "`.Meta` takes one label"));
                }
                Ok(Call::Meta(operands))
            }
            Word::Variable(name, path)
                if name.is_empty() && matches!(&path[..], [one] if one == "Meta") =>
            {
                let operands = self.operands(rest)?;
                if operands.len() + usize::from(piped) != 1 {
                    return Err(TextError::new(place, "`$.Meta` takes one label"));
                }
                Ok(Call::Meta(operands))
            }
            _ => {
                let mut operands = self.operands(words)?;
                match operands.pop() {
                    Some(operand) if operands.is_empty() && !piped => Ok(Call::Operand(operand)),
                    _ => Err(TextError::new(
                        place,
                        "a value takes no arguments; a function's name stands first",
                    )),
                }
            }
        }
    }

    fn operands(&mut self, words: &Words) -> Result<Vec<Operand>, TextError> {
        let mut operands = Vec::new();
        let mut rest = words;
        while let Some(((at, word), behind)) = rest.split_first() {
            rest = behind;
            operands.push(match word {
                Word::Text(text) => Operand::Constant(Value::text(&**text)),
                Word::Number(text) => Operand::Constant(number(text, *at)?),
                Word::Name(name) => match &**name {
                    "true" => Operand::Constant(Value::Bool(true)),
                    "false" => Operand::Constant(Value::Bool(false)),
                    _ => {
                        let what = format!("`{name}` stands first in a command, or in parentheses");
                        return Err(TextError::new(*at, what));
                    }
                },
                Word::Path(path) if path.is_empty() && self.in_element => Operand::Dot,
                Word::Path(path) => {
                    self.must_be_root(*at)?;
                    Operand::Field(field(path, self.names, *at)?)
                }
                Word::Variable(name, path) if name.is_empty() => {
                    Operand::Field(field(path, self.names, *at)?)
                }
                Word::Variable(name, path) => {
                    if !path.is_empty() {
                        return Err(TextError::new(
                            *at,
                            "a field of a variable is not available in Daymark",
                        ));
                    }
                    Operand::Variable(self.variable(name, *at)?)
                }
                Word::Mark("(") => {
                    let close = closing(rest)
                        .ok_or_else(|| TextError::new(*at, "this parenthesis never closes"))?;
                    let inner = self.pipeline(*at, &rest[..close])?;
                    rest = &rest[close + 1..];
                    Operand::Pipeline(inner)
                }
                Word::Mark(mark) => {
                    return Err(TextError::new(*at, format!("`{mark}` can't stand here")));
                }
            });
        }
        Ok(operands)
    }

    fn must_be_root(&self, at: usize) -> Result<(), TextError> {
        if self.in_element {
            let what =
                "in `with` and `range` the dot is something else; write `$.Name` for `.Name`";
            return Err(TextError::new(at, what));
        }
        Ok(())
    }
}

/// Commands between the `|` that stand in no parentheses.
fn split_at_pipes(words: &Words) -> Vec<&Words> {
    let mut depth = 0_usize;
    let mut commands = Vec::new();
    let mut start = 0;
    for (index, (_, word)) in words.iter().enumerate() {
        match word {
            Word::Mark("(") => depth += 1,
            Word::Mark(")") => depth = depth.saturating_sub(1),
            Word::Mark("|") if depth == 0 => {
                commands.push(&words[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    commands.push(&words[start..]);
    commands
}

/// Where the parenthesis closes that opened before `words`.
fn closing(words: &Words) -> Option<usize> {
    let mut depth = 1_usize;
    for (index, (_, word)) in words.iter().enumerate() {
        match word {
            Word::Mark("(") => depth += 1,
            Word::Mark(")") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

fn check_format(operands: &[Operand], count: usize, at: usize) -> Result<(), TextError> {
    let Some(Operand::Constant(Value::Text(format))) = operands.first() else {
        return Err(TextError::new(at, "the format of `printf` has to stand in quotes"));
    };
    let directives = printf::directives(format).map_err(|what| TextError::new(at, what))?;
    let (verbs, given) = (printf::verbs(&directives), count - 1);
    if verbs != given {
        let what = format!("this format takes {verbs} arguments, but has {given}");
        return Err(TextError::new(at, what));
    }
    Ok(())
}
