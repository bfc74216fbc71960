//! What the parser makes of a template.

use super::{functions::Function, value::Value};

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    /// As it is.
    Text(String),
    /// A value is printed.
    Print(Pipeline),
    /// A variable gets a value.
    Set(usize, Pipeline),
    /// The first arm whose condition holds; with `with`, the condition's value is the dot there.
    Choice { arms: Vec<(Condition, Vec<Part>)>, otherwise: Vec<Part> },
    /// Once for each element, which is the dot there.
    Range {
        over: Pipeline,
        /// Variables for the index, or name, and for the element.
        index: Option<usize>,
        element: Option<usize>,
        body: Vec<Part>,
        otherwise: Vec<Part>,
    },
}

/// What decides on an arm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) pipeline: Pipeline,
    /// The variable that it sets.
    pub(super) variable: Option<usize>,
    /// Whether its value becomes the dot.
    pub(super) is_dot: bool,
}

/// Calls, each with the value of the one before as its last argument.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline(pub(super) Vec<Call>);

/// One command of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Call {
    /// A value.
    Operand(Operand),
    /// A function with its arguments.
    Function(Function, Vec<Operand>),
    /// `.Meta LABEL`.
    Meta(Vec<Operand>),
}

/// A value in a command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// A constant.
    Constant(Value),
    /// `.` where it is an element.
    Dot,
    /// `$x`.
    Variable(usize),
    /// `.Name` and so on.
    Field(Field),
    /// `(...)`.
    Pipeline(Pipeline),
}

/// A datum about the query and its match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// `.Zone`: of the directive's zones the one that matched.
    Zone,
    /// `.Name`: the question's, lower case.
    Name,
    /// `.Regex`: the pattern that matched.
    Regex,
    /// `.Class`.
    Class,
    /// `.Type`.
    Type,
    /// `.Remote`: the client's address.
    Remote,
    /// `.Match`: what the pattern and its groups found.
    Match,
    /// `.Group`, by number and name.
    Groups,
    /// `.Group.NAME`.
    Group(String),
    /// `.Var`.
    Variables,
    /// `.Var.NAME`.
    Variable(String),
    /// `.Question.Name`: letters as the client sent them.
    QuestionName,
    /// `.Question.Qtype`.
    QuestionType,
    /// `.Question.Qclass`.
    QuestionClass,
    /// `.Message.Id`.
    MessageId,
    /// `.Message.Opcode`.
    MessageOpcode,
    /// `.Message.RecursionDesired`.
    RecursionDesired,
    /// `.Message.CheckingDisabled`.
    CheckingDisabled,
    /// `.Message.AuthenticatedData`.
    AuthenticData,
}
