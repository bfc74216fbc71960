//! `template CLASS TYPE [ZONES...] { ... }`.

use std::collections::BTreeSet;

use super::text::{Names, Text};
use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::pattern::Pattern;
use crate::corefile::tree::{Line, Token};
use crate::expression::{Expression, Scope, is_reserved};
use crate::wire::mnemonics;

const PROPERTIES: &[&str] = &[
    "match",
    "answer",
    "additional",
    "authority",
    "var",
    "expr",
    "rcode",
    "ederror",
    "fallthrough",
];

/// The settings of all `template` directives of a server block.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// At least one, in the order of the file.
    pub rules: Vec<Rule>,
}

/// One directive.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Questions of this class; 255 for any.
    pub class: u16,
    /// Questions of this type; 255 for any.
    pub rtype: u16,
    /// Names in these.
    pub zones: Vec<Domain>,
    /// The first that finds something in the name decides; none at all is for every name.
    pub patterns: Vec<Pattern>,
    /// Variables, in the order of the file.
    pub variables: Vec<(String, Expression)>,
    /// All must be true.
    pub conditions: Vec<Expression>,
    /// Records of the answer section.
    pub answers: Vec<Text>,
    /// Records of the additional section.
    pub additionals: Vec<Text>,
    /// Records of the authority section.
    pub authorities: Vec<Text>,
    /// Code of the reply.
    pub rcode: u16,
    /// Extended DNS Error (RFC 8914): code and text.
    pub extended_error: Option<(u16, String)>,
    /// Names in these that no pattern is for go on.
    pub fallthrough: Vec<Domain>,
}

/// Reads one directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let args = cx.args(line, 2..=usize::MAX, "a class, a type, and perhaps zones")?;
    let class = mnemonics::class(&args[0].text);
    if class.is_none() {
        cx.not(&args[0], "a class in capitals: IN, CH, HS, ANY");
    }
    let rtype = mnemonics::rtype(&args[1].text);
    if rtype.is_none() {
        cx.not(&args[1], "a type in capitals, such as A or ANY");
    }
    let mut rule = Rule {
        class: class.unwrap_or_default(),
        rtype: rtype.unwrap_or_default(),
        zones: cx.zones_or_served(&args[2..]),
        patterns: Vec::new(),
        variables: Vec::new(),
        conditions: Vec::new(),
        answers: Vec::new(),
        additionals: Vec::new(),
        authorities: Vec::new(),
        rcode: 0,
        extended_error: None,
        fallthrough: Vec::new(),
    };
    let mut scope = Scope { variables: Vec::new(), groups: true };
    for property in cx.properties(line) {
        self::property(property, &mut rule, &mut scope, cx);
    }
    let names = names(&rule);
    for property in line.lines() {
        let section = match &*property.name().text {
            "answer" => &mut rule.answers,
            "additional" => &mut rule.additionals,
            "authority" => &mut rule.authorities,
            _ => continue,
        };
        let tokens = cx.some(property, "one or more records").unwrap_or_default();
        section.extend(tokens.iter().filter_map(|token| template(token, &names, cx)));
    }
    class.and(rtype)?;
    Some(Config { rules: vec![rule] })
}

/// Reads a property other than the templates, which may name what stands behind them.
fn property(line: &Line, rule: &mut Rule, scope: &mut Scope, cx: &mut Checker<'_>) {
    match &*line.name().text {
        "match" => {
            let tokens = cx.some(line, "one or more patterns").unwrap_or_default();
            rule.patterns.extend(tokens.iter().filter_map(|token| Pattern::parse(token, cx)));
        }
        "var" => variable(line, rule, scope, cx),
        "expr" => {
            let words = cx.some(line, "an expression").unwrap_or_default();
            if !words.is_empty() {
                rule.conditions.extend(Expression::parse(words, scope, cx));
            }
        }
        "rcode" => {
            let Some(token) = cx.one(line, "one argument, a response code") else { return };
            match mnemonics::rcode(&token.text) {
                Some(code) => rule.rcode = code,
                None => cx.not(token, "a response code in capitals, such as NXDOMAIN"),
            }
        }
        "ederror" => {
            let Some(args) = cx.args(line, 1..=2, "a code, and perhaps a text") else { return };
            let code = cx.integer(&args[0], "the code of an Extended DNS Error", 0..=u16::MAX);
            let text = args.get(1).map(|text| text.text.to_string()).unwrap_or_default();
            rule.extended_error = code.map(|code| (code, text));
        }
        "fallthrough" => rule.fallthrough = cx.zones_or_root(line.args()),
        "upstream" => cx.warn(line.span(), "`upstream` has no effect; aliases are followed anyway"),
        "answer" | "additional" | "authority" => {}
        _ => cx.unknown(line, PROPERTIES),
    }
}

fn variable(line: &Line, rule: &mut Rule, scope: &mut Scope, cx: &mut Checker<'_>) {
    let Some(args) = cx.args(line, 2..=usize::MAX, "a name and an expression") else { return };
    let name = &*args[0].text;
    let plain = name.bytes().all(|octet| octet == b'_' || octet.is_ascii_alphanumeric());
    if !plain || name.starts_with(|first: char| first.is_ascii_digit()) {
        cx.not(&args[0], "a name of letters, digits and `_` that begins with no digit");
        return;
    }
    if is_reserved(name) || scope.variables.iter().any(|(known, _)| known == name) {
        let cause = Cause::Value { found: name.to_owned(), want: "free as a name".to_owned() };
        cx.mistake_with(args[0].span, cause, "it means something in expressions already");
        return;
    }
    if let Some(expression) = Expression::parse(&args[1..], scope, cx) {
        scope.variables.push((name.to_owned(), expression.kind.clone()));
        rule.variables.push((name.to_owned(), expression));
    }
}

fn names(rule: &Rule) -> Names {
    let groups: BTreeSet<String> = rule
        .patterns
        .iter()
        .flat_map(|pattern| pattern.0.capture_names().flatten().map(str::to_owned))
        .collect();
    let variables = rule.variables.iter().map(|(name, _)| name.clone()).collect();
    Names { groups, variables }
}

fn template(token: &Token, names: &Names, cx: &mut Checker<'_>) -> Option<Text> {
    let error = match Text::compile(&token.text, names) {
        Ok(text) => return Some(text),
        Err(error) => error,
    };
    let cause = Cause::Value { found: token.text.to_string(), want: "a template".to_owned() };
    cx.mistake_with(token.span, cause, format!("at character {}: {}", error.at + 1, error.what));
    None
}
