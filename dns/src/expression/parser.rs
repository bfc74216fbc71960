//! From words to a tree, with the precedences of expr-lang.

use super::{
    ExpressionError,
    lexer::{Word, WordKind, words},
    syntax::{Kind, Node, Operator},
    value::Value,
};

/// Deepest nesting of parts; evaluating goes down as deep.
const MAX_DEPTH: usize = 200;
/// Deepest nesting of brackets.
const MAX_BRACKETS: usize = 50;
/// Precedence of `not` and of signs, which stand before their part.
const NOT: u8 = 50;
const SIGN: u8 = 90;

/// Reads one expression.
pub(super) fn parse(text: &str) -> Result<Node, ExpressionError> {
    let mut parser = Parser { words: words(text)?, next: 0, brackets: 0, predicates: 0 };
    let node = parser.expression(0)?;
    match parser.kind() {
        WordKind::End => Ok(node),
        WordKind::Mark(";") => Err(parser.not_available("a sequence of expressions")),
        _ => Err(parser.unexpected()),
    }
}

struct Parser {
    words: Vec<Word>,
    next: usize,
    /// Recursions that are under way.
    brackets: usize,
    /// Predicates that are being read: `#` stands in one of them.
    predicates: usize,
}

type Parsed = Result<Node, ExpressionError>;

impl Parser {
    fn word(&self) -> &Word {
        // There is always the end, which is never passed.
        &self.words[self.next.min(self.words.len() - 1)]
    }

    fn kind(&self) -> &WordKind {
        &self.word().kind
    }

    fn mark(&self) -> Option<&'static str> {
        match self.kind() {
            WordKind::Mark(mark) => Some(mark),
            _ => None,
        }
    }

    /// Takes the mark if it is next.
    fn take(&mut self, mark: &str) -> bool {
        let found = self.mark() == Some(mark);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, mark: &str) -> Result<(), ExpressionError> {
        if self.take(mark) {
            return Ok(());
        }
        let what = format!("`{mark}` is missing here");
        Err(ExpressionError::new(self.word().at, what))
    }

    fn unexpected(&self) -> ExpressionError {
        let what = match self.kind() {
            WordKind::End => "it ends too early".to_owned(),
            WordKind::Mark(mark) => format!("`{mark}` can't stand here"),
            WordKind::Name(name) => format!("`{name}` can't stand here"),
            WordKind::Number(number) => format!("{number} can't stand here"),
            WordKind::Text(text) => format!("'{text}' can't stand here"),
        };
        ExpressionError::new(self.word().at, what)
    }

    fn not_available(&self, what: &str) -> ExpressionError {
        ExpressionError::new(self.word().at, format!("{what} is not available in Daymark"))
    }

    /// A part with an operator of at least this precedence between its parts.
    fn expression(&mut self, precedence: u8) -> Parsed {
        self.brackets += 1;
        if self.brackets > MAX_BRACKETS {
            return Err(ExpressionError::new(self.word().at, "it is nested too deeply"));
        }
        let node = self.operators(precedence);
        self.brackets -= 1;
        node
    }

    fn operators(&mut self, precedence: u8) -> Parsed {
        let mut left = self.primary()?;
        loop {
            let at = self.word().at;
            let negated = self.mark() == Some("not");
            let offset = usize::from(negated);
            let Some(Word { kind: WordKind::Mark(word), .. }) = self.words.get(self.next + offset)
            else {
                break;
            };
            if *word == "|" && precedence == 0 && !negated {
                self.next += 1;
                left = self.piped(left)?;
                continue;
            }
            if *word == "??" {
                return Err(self.not_available("`??`"));
            }
            let Some((operator, binds)) = Operator::of(word) else { break };
            if binds < precedence {
                break;
            }
            if negated && !operator.can_be_negated() {
                return Err(self.unexpected());
            }
            self.next += 1 + offset;
            left = match operator {
                // expr-lang reads a < b < c as a < b && b < c.
                _ if operator.orders() => {
                    let right = self.expression(binds + 1)?;
                    if self.mark().and_then(Operator::of).is_some_and(|(next, _)| next.orders()) {
                        return Err(self.not_available("a chain of comparisons; `&&` between two"));
                    }
                    binary(at, operator, left, right)?
                }
                // To the right: a ** b ** c is a ** (b ** c).
                Operator::Power => {
                    let right = self.expression(binds)?;
                    binary(at, operator, left, right)?
                }
                _ => {
                    let right = self.expression(binds + 1)?;
                    binary(at, operator, left, right)?
                }
            };
            if negated {
                left = unary(at, left, Kind::Not)?;
            }
        }
        if precedence == 0 { self.choice(left) } else { Ok(left) }
    }

    fn choice(&mut self, condition: Node) -> Parsed {
        let mut condition = condition;
        while self.mark() == Some("?") {
            let at = self.word().at;
            self.next += 1;
            if self.mark() == Some(":") {
                return Err(self.not_available("`?:`"));
            }
            let one = self.expression(0)?;
            self.expect(":")?;
            let other = self.expression(0)?;
            let depth = 1 + condition.depth.max(one.depth).max(other.depth);
            let kind = Kind::Choice(Box::new(condition), Box::new(one), Box::new(other));
            condition = checked(Node { at, depth, kind })?;
        }
        Ok(condition)
    }

    /// `a | f(b)`, which is `f(a, b)`.
    fn piped(&mut self, left: Node) -> Parsed {
        let at = self.word().at;
        let WordKind::Name(name) = self.kind().clone() else { return Err(self.unexpected()) };
        self.next += 1;
        let call = self.call(at, name, vec![left])?;
        self.postfix(call)
    }

    fn primary(&mut self) -> Parsed {
        let at = self.word().at;
        let node = match self.mark() {
            Some("not" | "!") => {
                self.next += 1;
                let part = self.expression(NOT)?;
                unary(at, part, Kind::Not)?
            }
            Some(sign @ ("-" | "+")) => {
                self.next += 1;
                let part = self.expression(SIGN)?;
                unary(at, part, |part| Kind::Sign(sign == "-", part))?
            }
            Some("(") => {
                self.next += 1;
                let inner = self.expression(0)?;
                self.expect(")")?;
                inner
            }
            Some("#") if self.predicates > 0 => {
                self.next += 1;
                if let WordKind::Name(name) = self.kind() {
                    let what = format!("`#{name}`");
                    return Err(self.not_available(&what));
                }
                Node { at, depth: 1, kind: Kind::Element }
            }
            Some("[") => {
                self.next += 1;
                let parts = self.list("]")?;
                node(at, Kind::List(parts))?
            }
            Some("{") => return Err(self.not_available("a map")),
            Some(word @ ("let" | "if")) => {
                let what = format!("`{word}`");
                return Err(self.not_available(&what));
            }
            Some("::") => return Err(self.not_available("`::`")),
            Some(_) => return Err(self.unexpected()),
            None => self.atom()?,
        };
        self.postfix(node)
    }

    fn atom(&mut self) -> Parsed {
        let Word { at, kind } = self.word().clone();
        let constant = |value| Ok(Node { at, depth: 1, kind: Kind::Constant(value) });
        match kind {
            WordKind::Number(text) => {
                self.next += 1;
                constant(
                    number(&text)
                        .ok_or_else(|| ExpressionError::new(at, "this number is out of range"))?,
                )
            }
            WordKind::Text(text) => {
                self.next += 1;
                constant(Value::text(text))
            }
            WordKind::Name(name) => {
                self.next += 1;
                match &*name {
                    "true" => constant(Value::Bool(true)),
                    "false" => constant(Value::Bool(false)),
                    "nil" => constant(Value::Nil),
                    _ if self.mark() == Some("(") => self.call(at, name, Vec::new()),
                    _ => Ok(Node { at, depth: 1, kind: Kind::Name(name) }),
                }
            }
            WordKind::Mark(_) | WordKind::End => Err(self.unexpected()),
        }
    }

    fn call(&mut self, at: usize, name: String, first: Vec<Node>) -> Parsed {
        self.expect("(")?;
        let mut arguments = first;
        if super::builtins::takes_predicate(&name) {
            if arguments.is_empty() {
                arguments.push(self.expression(0)?);
                if self.mark() != Some(")") {
                    self.expect(",")?;
                }
            }
            if self.mark() != Some(")") {
                arguments.push(self.predicate()?);
                self.take(",");
            }
            self.expect(")")?;
        } else {
            arguments.extend(self.list(")")?);
        }
        node(at, Kind::Call(name, arguments))
    }

    fn predicate(&mut self) -> Parsed {
        let braces = self.take("{");
        self.predicates += 1;
        let node = self.expression(0)?;
        self.predicates -= 1;
        if braces {
            self.expect("}")?;
        }
        Ok(node)
    }

    /// Parts with commas between them, up to `close`.
    fn list(&mut self, close: &str) -> Result<Vec<Node>, ExpressionError> {
        let mut parts = Vec::new();
        while !self.take(close) {
            if !parts.is_empty() {
                self.expect(",")?;
                if self.take(close) {
                    break;
                }
            }
            parts.push(self.expression(0)?);
        }
        Ok(parts)
    }

    /// What may follow a part: `[index]`, `[from:to]`.
    fn postfix(&mut self, node: Node) -> Parsed {
        let mut node = node;
        loop {
            let at = self.word().at;
            match self.mark() {
                Some("." | "?.") => return Err(self.not_available("a member or method")),
                Some("[") => self.next += 1,
                _ => return Ok(node),
            }
            let from = match self.mark() {
                Some(":") => None,
                _ => Some(self.expression(0)?),
            };
            let depth = node.depth;
            let (kind, below) = if self.take(":") {
                let to = if self.mark() == Some("]") { None } else { Some(self.expression(0)?) };
                let below = [&from, &to].into_iter().flatten().map(|part| part.depth).max();
                (Kind::Slice(Box::new(node), from.map(Box::new), to.map(Box::new)), below)
            } else {
                let Some(index) = from else { return Err(self.unexpected()) };
                let below = Some(index.depth);
                (Kind::Index(Box::new(node), Box::new(index)), below)
            };
            self.expect("]")?;
            node = checked(Node { at, depth: 1 + depth.max(below.unwrap_or(0)), kind })?;
        }
    }
}

fn number(text: &str) -> Option<Value> {
    let whole = |digits: &str, base| i64::from_str_radix(digits, base).ok().map(Value::Int);
    match text.get(..2) {
        Some("0x") => whole(&text[2..], 16),
        Some("0o") => whole(&text[2..], 8),
        Some("0b") => whole(&text[2..], 2),
        _ if text.contains(['.', 'e']) => {
            text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float)
        }
        _ => whole(text, 10),
    }
}

fn node(at: usize, kind: Kind) -> Parsed {
    let parts = match &kind {
        Kind::List(parts) | Kind::Call(_, parts) => parts.iter().map(|part| part.depth).max(),
        _ => None,
    };
    checked(Node { at, depth: 1 + parts.unwrap_or(0), kind })
}

fn unary(at: usize, part: Node, kind: impl FnOnce(Box<Node>) -> Kind) -> Parsed {
    checked(Node { at, depth: 1 + part.depth, kind: kind(Box::new(part)) })
}

fn binary(at: usize, operator: Operator, left: Node, right: Node) -> Parsed {
    let depth = 1 + left.depth.max(right.depth);
    checked(Node { at, depth, kind: Kind::Binary(operator, Box::new(left), Box::new(right)) })
}

fn checked(node: Node) -> Parsed {
    if node.depth > MAX_DEPTH {
        return Err(ExpressionError::new(
            node.at,
            format!("it has more than {MAX_DEPTH} steps in a row"),
        ));
    }
    Ok(node)
}
