//! The functions of the language.

use super::{
    run::RunError,
    value::{Type, Value},
};

/// Most octets of a text that a function makes.
pub(super) const MAX_TEXT: usize = 64 << 10;
/// Most elements of a list that a function makes.
pub(super) const MAX_LIST: usize = 10_000;

/// A function of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Builtin {
    Len,
    Abs,
    Ceil,
    Floor,
    Round,
    Int,
    Float,
    String,
    Trim,
    TrimPrefix,
    TrimSuffix,
    Upper,
    Lower,
    Split,
    Replace,
    Repeat,
    Join,
    IndexOf,
    LastIndexOf,
    HasPrefix,
    HasSuffix,
    Max,
    Min,
    First,
    Last,
    Reverse,
}

/// A function of a list and a predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Each {
    All,
    None,
    Any,
    One,
    Filter,
    Map,
    Find,
    FindIndex,
    Count,
}

const BUILTINS: [(&str, Builtin); 26] = [
    ("len", Builtin::Len),
    ("abs", Builtin::Abs),
    ("ceil", Builtin::Ceil),
    ("floor", Builtin::Floor),
    ("round", Builtin::Round),
    ("int", Builtin::Int),
    ("float", Builtin::Float),
    ("string", Builtin::String),
    ("trim", Builtin::Trim),
    ("trimPrefix", Builtin::TrimPrefix),
    ("trimSuffix", Builtin::TrimSuffix),
    ("upper", Builtin::Upper),
    ("lower", Builtin::Lower),
    ("split", Builtin::Split),
    ("replace", Builtin::Replace),
    ("repeat", Builtin::Repeat),
    ("join", Builtin::Join),
    ("indexOf", Builtin::IndexOf),
    ("lastIndexOf", Builtin::LastIndexOf),
    ("hasPrefix", Builtin::HasPrefix),
    ("hasSuffix", Builtin::HasSuffix),
    ("max", Builtin::Max),
    ("min", Builtin::Min),
    ("first", Builtin::First),
    ("last", Builtin::Last),
    ("reverse", Builtin::Reverse),
];

const EACH: [(&str, Each); 9] = [
    ("all", Each::All),
    ("none", Each::None),
    ("any", Each::Any),
    ("one", Each::One),
    ("filter", Each::Filter),
    ("map", Each::Map),
    ("find", Each::Find),
    ("findIndex", Each::FindIndex),
    ("count", Each::Count),
];

/// Functions that take a predicate and that we do not have.
const OTHER_EACH: [&str; 6] = ["sum", "findLast", "findLastIndex", "groupBy", "sortBy", "reduce"];

/// Functions of values that we do not have.
const OTHER: [&str; 24] = [
    "splitAfter",
    "mean",
    "median",
    "toJSON",
    "fromJSON",
    "toBase64",
    "fromBase64",
    "now",
    "duration",
    "date",
    "timezone",
    "get",
    "take",
    "keys",
    "values",
    "toPairs",
    "fromPairs",
    "uniq",
    "concat",
    "flatten",
    "sort",
    "bitnot",
    "bitand",
    "bitor",
];

/// Whether a function of the language has this name; we may not have it.
pub(super) fn exists(name: &str) -> bool {
    const MORE: [&str; 6] = ["type", "bitxor", "bitnand", "bitshl", "bitshr", "bitushr"];
    named(name).is_some() || takes_predicate(name) || OTHER.contains(&name) || MORE.contains(&name)
}

/// Whether the second argument of this function is a predicate.
pub(super) fn takes_predicate(name: &str) -> bool {
    each(name).is_some() || OTHER_EACH.contains(&name)
}

pub(super) fn named(name: &str) -> Option<Builtin> {
    BUILTINS.iter().find(|(known, _)| *known == name).map(|(_, builtin)| *builtin)
}

pub(super) fn each(name: &str) -> Option<Each> {
    EACH.iter().find(|(known, _)| *known == name).map(|(_, each)| *each)
}

impl Builtin {
    /// The type of the result for arguments of these types; else what it takes, in words.
    pub(super) fn check(self, arguments: &[Type]) -> Result<Type, &'static str> {
        use Type::{Any, Bool, Float, Int, List, Text};
        let text = |at: usize| arguments.get(at).is_none_or(|kind| kind.may_be(&Text));
        let whole = |at: usize| arguments.get(at).is_none_or(|kind| kind.may_be(&Int));
        let texts = |least: usize, most: usize| {
            (least..=most).contains(&arguments.len()) && (0..arguments.len()).all(text)
        };
        let list = |kind: &Type| matches!(kind, List(_) | Any);
        let need = |good: bool, kind: Type, want| if good { Ok(kind) } else { Err(want) };
        match (self, arguments) {
            (Builtin::Len, [one]) if list(one) || one.may_be(&Text) => Ok(Int),
            (Builtin::Len, _) => Err("one text or list"),
            (Builtin::Abs, [one]) if one.is_number() => Ok(one.clone()),
            (Builtin::Ceil | Builtin::Floor | Builtin::Round, [one]) if one.is_number() => {
                Ok(Float)
            }
            (Builtin::Abs | Builtin::Ceil | Builtin::Floor | Builtin::Round, _) => {
                Err("one number")
            }
            (Builtin::Int, [one]) if one.is_number() || one.may_be(&Text) => Ok(Int),
            (Builtin::Float, [one]) if one.is_number() || one.may_be(&Text) => Ok(Float),
            (Builtin::Int | Builtin::Float, _) => Err("one number or text"),
            (Builtin::String, _) => need(arguments.len() == 1, Text, "one value"),
            (Builtin::Trim | Builtin::TrimPrefix | Builtin::TrimSuffix, _) => {
                need(texts(1, 2), Text, "a text, and perhaps what to cut off")
            }
            (Builtin::Upper | Builtin::Lower, _) => need(texts(1, 1), Text, "one text"),
            (Builtin::Split, _) => {
                let good = matches!(arguments.len(), 2 | 3) && text(0) && text(1) && whole(2);
                need(
                    good,
                    List(Box::new(Text)),
                    "a text, a separator, and perhaps a number of parts",
                )
            }
            (Builtin::Replace, _) => {
                let good = matches!(arguments.len(), 3 | 4) && (0..3).all(text) && whole(3);
                need(good, Text, "a text, what to replace, with what, and perhaps how often")
            }
            (Builtin::Repeat, _) => {
                need(arguments.len() == 2 && text(0) && whole(1), Text, "a text and a number")
            }
            (Builtin::Join, [of]) if list(of) => Ok(Text),
            (Builtin::Join, [of, with]) if list(of) && with.may_be(&Text) => Ok(Text),
            (Builtin::Join, _) => Err("a list of texts, and perhaps what to put between them"),
            (Builtin::IndexOf | Builtin::LastIndexOf, _) => need(texts(2, 2), Int, "two texts"),
            (Builtin::HasPrefix | Builtin::HasSuffix, _) => need(texts(2, 2), Bool, "two texts"),
            (Builtin::Max | Builtin::Min, []) => Err("one or more numbers"),
            (Builtin::Max | Builtin::Min, numbers) => {
                let kind = numbers.iter().cloned().reduce(Type::or).unwrap_or(Any);
                need(numbers.iter().all(Type::is_number), kind, "one or more numbers")
            }
            (Builtin::First | Builtin::Last, [List(_) | Any]) => Ok(Any),
            (Builtin::Reverse, [one]) if list(one) => Ok(one.clone()),
            (Builtin::First | Builtin::Last | Builtin::Reverse, _) => Err("one list"),
        }
    }

    /// The result. The arguments are of types that [`Self::check`] took, as far as they were known.
    pub(super) fn run(self, arguments: &[Value]) -> Result<Value, RunError> {
        use Value::{Bool, Float, Int, List, Text};
        Ok(match (self, arguments) {
            (Builtin::Len, [Text(text)]) => Int(text.chars().count() as i64),
            (Builtin::Len, [List(list)]) => Int(list.len() as i64),
            (Builtin::Abs, [Int(number)]) => Int(number.wrapping_abs()),
            (Builtin::Abs, [Float(number)]) => Float(number.abs()),
            (Builtin::Ceil, [number]) => Float(float(number)?.ceil()),
            (Builtin::Floor, [number]) => Float(float(number)?.floor()),
            (Builtin::Round, [number]) => Float(float(number)?.round()),
            (Builtin::Int, [Int(number)]) => Int(*number),
            (Builtin::Int, [Float(number)]) => Int(*number as i64),
            (Builtin::Int, [Text(text)]) => Int(text.parse().map_err(|_| RunError::NoNumber)?),
            (Builtin::Float, [Text(text)]) => Float(text.parse().map_err(|_| RunError::NoNumber)?),
            (Builtin::Float, [number]) => Float(float(number)?),
            (Builtin::String, [value]) => bounded(value.to_string())?,
            (Builtin::Trim, [Text(text)]) => Value::text(text.trim()),
            (Builtin::Trim, [Text(text), Text(cut)]) => {
                Value::text(text.trim_matches(|letter| cut.contains(letter)))
            }
            (Builtin::TrimPrefix, [Text(text), rest @ ..]) => {
                Value::text(text.strip_prefix(cut(rest)?).unwrap_or(text))
            }
            (Builtin::TrimSuffix, [Text(text), rest @ ..]) => {
                Value::text(text.strip_suffix(cut(rest)?).unwrap_or(text))
            }
            (Builtin::Upper, [Text(text)]) => bounded(text.to_uppercase())?,
            (Builtin::Lower, [Text(text)]) => bounded(text.to_lowercase())?,
            (Builtin::Split, [Text(text), Text(by)]) => split(text, by, -1)?,
            (Builtin::Split, [Text(text), Text(by), Int(most)]) => split(text, by, *most)?,
            (Builtin::Replace, [Text(text), Text(from), Text(to)]) => replace(text, from, to, -1)?,
            (Builtin::Replace, [Text(text), Text(from), Text(to), Int(most)]) => {
                replace(text, from, to, *most)?
            }
            (Builtin::Repeat, [Text(text), Int(times)]) => {
                let times = usize::try_from(*times).map_err(|_| RunError::NoNumber)?;
                if text.len().saturating_mul(times) > MAX_TEXT {
                    return Err(RunError::TooLarge);
                }
                Value::text(text.repeat(times))
            }
            (Builtin::Join, [List(list), rest @ ..]) => {
                let between = match rest {
                    [Text(between)] => between,
                    _ => "",
                };
                let texts = list.iter().map(|value| match value {
                    Text(text) => Ok(&**text),
                    _ => Err(RunError::Type),
                });
                let texts = texts.collect::<Result<Vec<_>, _>>()?;
                if between.len().saturating_mul(texts.len()) > MAX_TEXT {
                    return Err(RunError::TooLarge);
                }
                bounded(texts.join(between))?
            }
            (Builtin::IndexOf, [Text(text), Text(part)]) => index(text.find(&**part)),
            (Builtin::LastIndexOf, [Text(text), Text(part)]) => index(text.rfind(&**part)),
            (Builtin::HasPrefix, [Text(text), Text(part)]) => Bool(text.starts_with(&**part)),
            (Builtin::HasSuffix, [Text(text), Text(part)]) => Bool(text.ends_with(&**part)),
            (Builtin::Max, numbers) => extreme(numbers, |one, other| one > other)?,
            (Builtin::Min, numbers) => extreme(numbers, |one, other| one < other)?,
            (Builtin::First, [List(list)]) => list.first().cloned().unwrap_or(Value::Nil),
            (Builtin::Last, [List(list)]) => list.last().cloned().unwrap_or(Value::Nil),
            (Builtin::Reverse, [List(list)]) => List(list.iter().rev().cloned().collect()),
            _ => return Err(RunError::Type),
        })
    }
}

fn float(value: &Value) -> Result<f64, RunError> {
    value.as_float().ok_or(RunError::Type)
}

fn index(found: Option<usize>) -> Value {
    Value::Int(found.map_or(-1, |at| at as i64))
}

/// What is cut off: a blank where nothing is said.
fn cut(rest: &[Value]) -> Result<&str, RunError> {
    match rest {
        [] => Ok(" "),
        [Value::Text(text)] => Ok(text),
        _ => Err(RunError::Type),
    }
}

fn bounded(text: String) -> Result<Value, RunError> {
    if text.len() > MAX_TEXT { Err(RunError::TooLarge) } else { Ok(Value::text(text)) }
}

/// At most `most` parts, all if it is negative; an empty separator splits into letters.
fn split(text: &str, by: &str, most: i64) -> Result<Value, RunError> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let parts: Vec<&str> = if most == 0 {
        Vec::new()
    } else if by.is_empty() {
        let mut ends: Vec<usize> = text.char_indices().map(|(at, _)| at).take(most).collect();
        ends.push(text.len());
        ends.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
    } else {
        text.splitn(most, by).take(MAX_LIST + 1).collect()
    };
    if parts.len() > MAX_LIST {
        return Err(RunError::TooLarge);
    }
    Ok(Value::List(parts.into_iter().map(Value::text).collect()))
}

fn replace(text: &str, from: &str, to: &str, most: i64) -> Result<Value, RunError> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let found = text.matches(from).take(most).count();
    if found.saturating_mul(to.len()).saturating_add(text.len()) > MAX_TEXT {
        return Err(RunError::TooLarge);
    }
    Ok(Value::text(text.replacen(from, to, most)))
}

fn extreme(values: &[Value], better: fn(f64, f64) -> bool) -> Result<Value, RunError> {
    let mut best: Option<(&Value, f64)> = None;
    for value in values {
        let number = float(value)?;
        if best.is_none_or(|(_, held)| better(number, held)) {
            best = Some((value, number));
        }
    }
    best.map(|(value, _)| value.clone()).ok_or(RunError::Type)
}
