//! Rules that deny, followed on the short way: replies without answers, made when the Corefile is read.
//!
//! Such a rule looks at name and type alone, and its authority records depend on nothing but the zone.
//! A question that another kind of rule is for goes the long way, and so does one that a rule fails; one
//! that no pattern of a rule is for goes on here, whatever the rule does.

use std::{
    cell::Cell,
    sync::{Arc, OnceLock},
};

use hickory_proto::{
    rr::Record,
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};
use prometheus::IntCounter;
use regex_automata::{
    Input,
    dfa::{Automaton, StartKind, dense},
    nfa::thompson::{self, WhichCaptures},
};

use super::{
    config::{Config, Rule},
    counts::Counts,
    text::{Data, Field, Value},
};
use crate::{
    corefile::{domain::Domain, pattern::Pattern},
    metrics::{
        Metrics,
        counters::{TYPE_COUNT, type_index},
    },
    plugin::Labels,
    plugins::kubernetes::wire::{Asked, Written},
    server::short::is_usual,
    wire::{
        CLASS_IN, mnemonics,
        name::{FoldedName, MAX_NAME, count_labels},
        rcode, record_text,
        reply::Reply,
        rtype,
    },
};

/// Class or type that stands for all.
const ANY: u16 = 255;
/// Codes above do not fit a message without EDNS.
const MAX_CODE: u16 = 15;
/// Most octets of an automaton, and of what making it takes. Patterns that need more go the long way.
const MAX_AUTOMATON: usize = 256 << 10;
const MAX_MAKING: usize = 1 << 20;

/// The rules of one block, in order, and what one address of the block counts.
pub struct Denials {
    rules: Arc<[Compiled]>,
    counts: Counts,
    labels: Arc<Labels>,
    /// Queries by rule, zone and type.
    matches: Box<[Box<[OnceLock<ByType>]>]>,
}

type ByType = Box<[OnceLock<IntCounter>; TYPE_COUNT]>;
type Automata = Vec<dense::DFA<Vec<u32>>>;

/// A rule for questions of class IN.
struct Compiled {
    /// 255 for any.
    rtype: u16,
    /// The longest first: of those that a name is in, the first counts.
    zones: Vec<Zone>,
    /// `None`: the long way has to say.
    names: Option<Names>,
    /// Code of the denial. `None`: the long way answers.
    code: Option<u16>,
}

struct Zone {
    wire: Vec<u8>,
    labels: usize,
    text: String,
    /// The authority section: its records in wire form, and how many they are.
    records: Vec<u8>,
    count: u16,
}

/// Which names in its zones a rule is for.
struct Names {
    /// None: every name.
    patterns: Automata,
    /// Zones in wire form, with their labels, where other names go on.
    fallthrough: Vec<(Vec<u8>, usize)>,
}

/// What the rules say of a question.
pub enum Judgement<'a> {
    /// None is for it.
    Pass,
    /// It is denied.
    Denied(Denial<'a>),
    /// The long way has to say.
    Unsure,
}

/// A reply without answers.
pub struct Denial<'a> {
    of: &'a Denials,
    rule: usize,
    zone: usize,
    code: u16,
}

impl Denials {
    /// The rules of `config`. They count for no address yet.
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        let rules: Arc<[Compiled]> = config.rules.iter().filter_map(Compiled::of).collect();
        Denials {
            counts: Counts::new(metrics),
            labels: Arc::default(),
            matches: unused(&rules),
            rules,
        }
    }

    /// The same rules for a block that metrics say `labels` of.
    #[must_use]
    pub fn counting_as(&self, labels: &Arc<Labels>) -> Self {
        Denials {
            rules: Arc::clone(&self.rules),
            counts: self.counts.clone(),
            labels: Arc::clone(labels),
            matches: unused(&self.rules),
        }
    }

    /// What becomes of a question of class IN. Neither allocates nor locks.
    pub fn find(&self, name: &FoldedName, qtype: u16) -> Judgement<'_> {
        for (rule, compiled) in self.rules.iter().enumerate() {
            let own = compiled.rtype;
            if own != ANY && qtype != rtype::ANY && own != qtype {
                continue;
            }
            let mut zones = compiled.zones.iter();
            let zone = zones.position(|zone| name.labels_above(&zone.wire, zone.labels).is_some());
            let Some(zone) = zone else { continue };
            let is_for = compiled.names.as_ref().and_then(|names| names.include(name));
            return match (is_for, compiled.code) {
                (Some(true), Some(code)) if is_usual(qtype) => {
                    Judgement::Denied(Denial { of: self, rule, zone, code })
                }
                (Some(false), _) if compiled.hands_on(name) => continue,
                _ => Judgement::Unsure,
            };
        }
        Judgement::Pass
    }
}

impl Denial<'_> {
    /// Whether it has authority records beside NOERROR, which other plugins may take out.
    pub fn is_mild(&self) -> bool {
        self.code == rcode::NOERROR && self.zone().count > 0
    }

    /// Writes the reply and counts it. `None` if it does not fit.
    pub fn write(&self, out: &mut [u8], asked: &Asked<'_>) -> Option<Written> {
        let mut reply = Reply::new(out, asked.message, asked.plain, asked.limit)?;
        let zone = self.zone();
        let [high, low] = zone.count.to_be_bytes();
        reply.push_records(&zone.records, [0, 0, high, low, 0, 0])?;
        reply.set_rcode(self.code);
        self.count(asked.plain.qtype);
        Some(Written { len: reply.finish(), rcode: self.code })
    }

    fn zone(&self) -> &Zone {
        &self.of.rules[self.rule].zones[self.zone]
    }

    fn count(&self, qtype: u16) {
        let Denials { counts, labels, matches, rules } = self.of;
        let by_type = matches[self.rule][self.zone].get_or_init(Box::default);
        let counter = by_type[type_index(qtype)].get_or_init(|| {
            let asked = if qtype == rtype::ANY { rules[self.rule].rtype } else { qtype };
            let rtype = mnemonics::rtype_name(asked).unwrap_or_default();
            let zone = &self.zone().text;
            counts.matches.with_label_values(&[&labels.server, zone, &labels.view, "IN", rtype])
        });
        counter.inc();
    }
}

impl Compiled {
    /// `None` for a rule that no question of class IN is for.
    fn of(rule: &Rule) -> Option<Self> {
        if rule.class != ANY && rule.class != CLASS_IN {
            return None;
        }
        let zones = Zone::all(rule);
        Some(Compiled {
            rtype: rule.rtype,
            names: Names::of(rule),
            code: zones.as_ref().and_then(|_| code(rule)),
            zones: zones.unwrap_or_else(|| Zone::bare(&rule.zones)),
        })
    }

    fn hands_on(&self, name: &FoldedName) -> bool {
        let zones = self.names.iter().flat_map(|names| &names.fallthrough);
        zones.into_iter().any(|(zone, labels)| name.labels_above(zone, *labels).is_some())
    }
}

impl Zone {
    /// The zones with their records. `None` if one is written in an unusual way, or if the records depend
    /// on more than the zone.
    fn all(rule: &Rule) -> Option<Vec<Self>> {
        let usual = rule.zones.iter().all(is_usual_name);
        let mut zones = Zone::bare(&rule.zones);
        for zone in &mut zones {
            for text in &rule.authorities {
                let data = ZoneAlone { zone: &zone.text, varies: Cell::new(false) };
                let line = text.fill(&data).ok().filter(|_| !data.varies.get())?;
                encode(&record_text::record(&line).ok()?, &mut zone.records)?;
                zone.count = zone.count.checked_add(1)?;
            }
        }
        usual.then_some(zones)
    }

    /// The zones without records, the longest first. One that is written in an unusual way is all names.
    fn bare(zones: &[Domain]) -> Vec<Self> {
        let zone = |zone: &Domain| {
            let wire = if is_usual_name(zone) { zone.to_wire() } else { vec![0] };
            let labels = count_labels(&wire);
            Zone { wire, labels, text: zone.to_string(), records: Vec::new(), count: 0 }
        };
        let mut zones: Vec<Zone> = zones.iter().map(zone).collect();
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.wire.len()));
        zones
    }
}

impl Names {
    /// `None` if a pattern takes too much room, or a zone is written in an unusual way.
    fn of(rule: &Rule) -> Option<Self> {
        let zone = |zone: &Domain| {
            let wire = zone.to_wire();
            let labels = count_labels(&wire);
            is_usual_name(zone).then_some((wire, labels))
        };
        Some(Names {
            patterns: rule.patterns.iter().map(automaton).collect::<Option<_>>()?,
            fallthrough: rule.fallthrough.iter().map(zone).collect::<Option<_>>()?,
        })
    }

    /// Whether one of the patterns finds something in the name; `None` if that can't be told here.
    fn include(&self, name: &FoldedName) -> Option<bool> {
        if self.patterns.is_empty() {
            return Some(true);
        }
        let mut room = [0; MAX_NAME];
        let text = text_of(name, &mut room)?;
        for pattern in &self.patterns {
            if pattern.try_search_fwd(&Input::new(text).earliest(true)).ok()?.is_some() {
                return Some(true);
            }
        }
        Some(false)
    }
}

/// What a template may name whose record is made once for each zone.
struct ZoneAlone<'a> {
    zone: &'a str,
    /// Whether it named something else.
    varies: Cell<bool>,
}

impl Data for ZoneAlone<'_> {
    fn field(&self, field: &Field) -> Value {
        match field {
            Field::Zone => Value::text(self.zone),
            // Even where the rule is for any.
            Field::Class => Value::text("IN"),
            _ => {
                self.varies.set(true);
                Value::Nothing
            }
        }
    }

    fn meta(&self, _label: &str) -> String {
        self.varies.set(true);
        String::new()
    }
}

/// The code of a rule that does no more than deny.
fn code(rule: &Rule) -> Option<u16> {
    let has_more = !(rule.answers.is_empty()
        && rule.additionals.is_empty()
        && rule.variables.is_empty()
        && rule.conditions.is_empty()
        && rule.extended_error.is_none());
    // The order of several records may be turned where the code is NOERROR.
    let turns = rule.rcode == rcode::NOERROR && rule.authorities.len() > 1;
    let fits = rule.rcode <= MAX_CODE && rule.rcode != rcode::SERVFAIL;
    (fits && !has_more && !turns).then_some(rule.rcode)
}

fn unused(rules: &[Compiled]) -> Box<[Box<[OnceLock<ByType>]>]> {
    rules.iter().map(|rule| rule.zones.iter().map(|_| OnceLock::new()).collect()).collect()
}

/// Puts the record behind `records`, its names whole: it may stand anywhere in a message.
fn encode(record: &Record, records: &mut Vec<u8>) -> Option<()> {
    let mut one = Vec::new();
    let mut encoder = BinEncoder::new(&mut one);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    record.emit(&mut encoder).ok()?;
    records.extend(one);
    Some(())
}

/// The same pattern as an automaton, which can be searched with nothing but the text.
fn automaton(pattern: &Pattern) -> Option<dense::DFA<Vec<u32>>> {
    let limits = dense::Config::new()
        .start_kind(StartKind::Unanchored)
        // Names that are searched here are ASCII, where `\b` needs no tables.
        .unicode_word_boundary(true)
        .dfa_size_limit(Some(MAX_AUTOMATON))
        .determinize_size_limit(Some(MAX_MAKING));
    let thompson = thompson::Config::new().which_captures(WhichCaptures::None);
    let built =
        dense::Builder::new().configure(limits).thompson(thompson).build(pattern.0.as_str());
    built.ok()
}

/// The name in presentation form with its last dot, if it has only octets that need no escapes.
fn text_of<'t>(name: &FoldedName, room: &'t mut [u8; MAX_NAME]) -> Option<&'t [u8]> {
    let labels = name.labels();
    if labels == 0 {
        return Some(b".");
    }
    let length = name.wire().len() - 1;
    let text = &mut room[..length];
    // A dot stands where the length of the next label was.
    text.copy_from_slice(&name.wire()[1..]);
    (1..=labels).for_each(|label| text[name.start(label) - 1] = b'.');
    let usual =
        (0..labels).all(|label| name.label(label).iter().all(|octet| is_usual_octet(*octet)));
    usual.then_some(text)
}

fn is_usual_octet(octet: u8) -> bool {
    octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'-' | b'_')
}

/// Whether the name is written without escapes: in text and on the wire the same names are below it.
fn is_usual_name(name: &Domain) -> bool {
    name.as_str().bytes().all(|octet| octet == b'.' || is_usual_octet(octet))
}

#[cfg(test)]
mod tests;
