//! Which data a template may name.

use super::{Names, TextError, tree::Field};

const FIELDS: [&str; 9] =
    ["Zone", "Name", "Regex", "Match", "Group", "Class", "Type", "Remote", "Var"];

/// The datum behind `.A.B`, given as its names.
pub(super) fn field(path: &[String], known: &Names, at: usize) -> Result<Field, TextError> {
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    Ok(match &names[..] {
        ["Zone"] => Field::Zone,
        ["Name"] => Field::Name,
        ["Regex"] => Field::Regex,
        ["Class"] => Field::Class,
        ["Type"] => Field::Type,
        ["Remote"] => Field::Remote,
        ["Match"] => Field::Match,
        ["Group"] => Field::Groups,
        ["Var"] => Field::Variables,
        ["Group", name] if known.groups.contains(*name) => Field::Group((*name).to_owned()),
        ["Group", name] => {
            return Err(TextError::new(at, format!("no pattern of `match` has a group `{name}`")));
        }
        ["Var", name] if known.variables.contains(*name) => Field::Variable((*name).to_owned()),
        ["Var", name] => {
            return Err(TextError::new(at, format!("there is no `var {name}`")));
        }
        ["Question", "Name"] => Field::QuestionName,
        ["Question", "Qtype"] => Field::QuestionType,
        ["Question", "Qclass"] => Field::QuestionClass,
        ["Message", "Id"] => Field::MessageId,
        ["Message", "Opcode"] => Field::MessageOpcode,
        ["Message", "RecursionDesired"] => Field::RecursionDesired,
        ["Message", "CheckingDisabled"] => Field::CheckingDisabled,
        ["Message", "AuthenticatedData"] => Field::AuthenticData,
        [] => {
            return Err(TextError::new(
                at,
                "all data at once can't be printed; name a field: `.Name`",
            ));
        }
        ["Meta", ..] => {
            return Err(TextError::new(
                at,
                "`.Meta` stands first in a command: `.Meta \"plugin/label\"`",
            ));
        }
        ["Question" | "Message", ..] => {
            let what = format!("`.{}` is not available in Daymark", names.join("."));
            return Err(TextError::new(at, what));
        }
        [first, ..] => {
            let what = format!(
                "there is no `.{}`; there are .Zone, .Name, .Regex, .Match, .Group, .Class, .Type, .Message, \
                 .Question, .Remote, .Var and .Meta",
                if FIELDS.contains(first) { names.join(".") } else { (*first).to_owned() }
            );
            return Err(TextError::new(at, what));
        }
    })
}
