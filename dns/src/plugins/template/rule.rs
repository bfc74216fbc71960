//! Whether a query is for a template, and what it found.

use std::{collections::BTreeMap, sync::Arc};

use regex::Regex;

use super::{
    config::Rule,
    text::{Data, Field, Value},
};
use crate::{
    corefile::domain::Domain,
    expression::{self, Surroundings},
    plugin::Query,
    wire::{mnemonics, text},
};

/// Class or type that stands for all.
const ANY: u16 = 255;

/// What a rule says of a query.
pub(super) enum Verdict<'a> {
    /// It is for this rule.
    Mine(Box<Found<'a>>),
    /// The next rule, or the next plugin, has it.
    Pass,
    /// No pattern is for it and it may not go on, or an expression failed.
    Fail,
}

/// What a rule found in a query.
pub(super) struct Found<'a> {
    query: &'a Query,
    /// The zone of the directive that the name is in, in metrics too.
    pub(super) zone: &'a str,
    /// Class and type by name, in metrics too; empty where they have none.
    pub(super) class: &'static str,
    pub(super) rtype: &'static str,
    name: String,
    pattern: &'a str,
    /// What the pattern and its groups found, by number.
    matched: Vec<String>,
    /// The same, by number and name.
    groups: BTreeMap<String, String>,
    variables: Vec<(&'a str, expression::Value)>,
}

impl Rule {
    /// Whether `query`, for `name`, is for this rule.
    pub(super) fn judge<'a>(&'a self, query: &'a Query, name: &Domain) -> Verdict<'a> {
        let zones = self.zones.iter().filter(|zone| zone.contains(name));
        let Some(zone) = zones.max_by_key(|zone| zone.to_wire().len()) else {
            return Verdict::Pass;
        };
        let question = &query.message.queries[0];
        let (class, rtype) = (u16::from(question.query_class), u16::from(question.query_type));
        let fits = |own: u16, asked: u16| own == ANY || asked == ANY || own == asked;
        if !fits(self.class, class) || !fits(self.rtype, rtype) {
            return Verdict::Pass;
        }
        let named = |own: u16, asked: u16| if asked == ANY { own } else { asked };
        let mut found = Found {
            query,
            zone: zone.as_str(),
            class: mnemonics::class_name(named(self.class, class)).unwrap_or_default(),
            rtype: mnemonics::rtype_name(named(self.rtype, rtype)).unwrap_or_default(),
            name: text::folded(&question.name),
            pattern: ".*",
            matched: Vec::new(),
            groups: BTreeMap::new(),
            variables: Vec::new(),
        };
        if !found.find(&self.patterns.iter().map(|pattern| &pattern.0).collect::<Vec<_>>()) {
            return self.unmatched(name);
        }
        match found.meets(self) {
            Ok(true) => Verdict::Mine(Box::new(found)),
            Ok(false) => self.unmatched(name),
            Err(_) => Verdict::Fail,
        }
    }

    fn unmatched(&self, name: &Domain) -> Verdict<'_> {
        match self.fallthrough.iter().any(|zone| zone.contains(name)) {
            true => Verdict::Pass,
            false => Verdict::Fail,
        }
    }
}

impl<'a> Found<'a> {
    /// Takes what the first pattern that is for the name finds; without patterns the whole name.
    fn find(&mut self, patterns: &[&'a Regex]) -> bool {
        if patterns.is_empty() {
            self.matched = vec![self.name.clone()];
            self.groups.insert("0".to_owned(), self.name.clone());
            return true;
        }
        for pattern in patterns {
            let Some(found) = pattern.captures(&self.name) else { continue };
            let text = |group: Option<regex::Match<'_>>| {
                group.map_or("", |group| group.as_str()).to_owned()
            };
            let matched: Vec<String> = found.iter().map(text).collect();
            let numbered = matched.iter().enumerate();
            let mut groups: BTreeMap<_, _> =
                numbered.map(|(number, text)| (number.to_string(), text.clone())).collect();
            let names = pattern.capture_names().zip(&matched);
            groups.extend(names.filter_map(|(name, text)| Some((name?.to_owned(), text.clone()))));
            self.pattern = pattern.as_str();
            (self.matched, self.groups) = (matched, groups);
            return true;
        }
        false
    }

    /// Works out the variables and whether all conditions hold.
    fn meets(&mut self, rule: &'a Rule) -> Result<bool, expression::RunError> {
        let groups = |which: &str| self.groups.get(which).cloned().unwrap_or_default();
        let mut values: Vec<expression::Value> = Vec::new();
        for (_, expression) in &rule.variables {
            let surroundings =
                Surroundings { query: self.query, variables: &values, groups: &groups };
            let value = expression.evaluate(&surroundings)?;
            values.push(value);
        }
        let surroundings = Surroundings { query: self.query, variables: &values, groups: &groups };
        for condition in &rule.conditions {
            if condition.evaluate(&surroundings)? != expression::Value::Bool(true) {
                return Ok(false);
            }
        }
        self.variables = rule.variables.iter().map(|(name, _)| name.as_str()).zip(values).collect();
        Ok(true)
    }
}

impl Data for Found<'_> {
    fn field(&self, field: &Field) -> Value {
        let question = &self.query.message.queries[0];
        let header = &self.query.message.metadata;
        match field {
            Field::Zone => Value::text(self.zone),
            Field::Name => Value::text(&*self.name),
            Field::Regex => Value::text(self.pattern),
            Field::Class => Value::text(self.class),
            Field::Type => Value::text(self.rtype),
            Field::Remote => Value::text(self.query.origin.client.ip().to_canonical().to_string()),
            Field::Match => {
                Value::List(self.matched.iter().map(|text| Value::text(&**text)).collect())
            }
            Field::Groups => {
                let groups = self.groups.iter();
                let groups = groups.map(|(name, text)| (name.clone(), Value::text(&**text)));
                Value::Map(Arc::new(groups.collect()))
            }
            Field::Group(name) => {
                self.groups.get(name).map_or(Value::Nothing, |text| Value::text(&**text))
            }
            Field::Variables => {
                let variables = self.variables.iter();
                let variables =
                    variables.map(|(name, value)| ((*name).to_owned(), value.clone().into()));
                Value::Map(Arc::new(variables.collect()))
            }
            Field::Variable(name) => {
                let variable = self.variables.iter().find(|(known, _)| known == name);
                variable.map_or(Value::Nothing, |(_, value)| value.clone().into())
            }
            Field::QuestionName => Value::text(text::of(&question.name)),
            Field::QuestionType => Value::Unsigned(u16::from(question.query_type).into()),
            Field::QuestionClass => Value::Unsigned(u16::from(question.query_class).into()),
            Field::MessageId => Value::Unsigned(header.id.into()),
            Field::MessageOpcode => Value::Int(u8::from(header.op_code).into()),
            Field::RecursionDesired => Value::Bool(header.recursion_desired),
            Field::CheckingDisabled => Value::Bool(header.checking_disabled),
            Field::AuthenticData => Value::Bool(header.authentic_data),
        }
    }

    fn meta(&self, label: &str) -> String {
        self.query.metadata.value(label).unwrap_or_default()
    }
}
