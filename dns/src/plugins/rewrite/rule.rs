//! Rules as they run: what each makes of a question.

use std::sync::Arc;

use hickory_proto::{
    op::Edns,
    rr::{DNSClass, RecordType},
};

use super::{
    edns::EdnsRule,
    renaming::{Match, Renaming},
    reversal::{Part, Reversal, Swap},
};
use crate::{
    plugin::{Origin, Query},
    plugins::metadata::Metadata,
    wire::text,
};

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Whether the rules behind this one are tried after it applied.
    pub(super) goes_on: bool,
    pub(super) action: Action,
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// `name`.
    Name(NameRule),
    /// `type`: from, to.
    Type(u16, u16),
    /// `class`: from, to.
    Class(u16, u16),
    /// `ttl`: records of replies for these names get a TTL within the bounds, in seconds.
    Ttl { names: Match, least: u32, most: u32 },
    /// `rcode`: replies for these names with the code `old` get `new`.
    Rcode { names: Match, old: u16, new: u16 },
    /// `cname`: aliases in any reply.
    Cname(Arc<Renaming>),
    /// `edns0`.
    Edns(EdnsRule),
}

/// A rule for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameRule {
    pub(super) renaming: Renaming,
    /// The name that is asked instead is turned back in the reply.
    pub(super) auto: bool,
    /// What else is done with the reply.
    pub(super) answers: Vec<Reversal>,
}

/// What rules look at and change.
pub(super) struct Subject<'a> {
    /// Presentation form, the letters of the client as long as no rule changed the name.
    pub(super) name: String,
    pub(super) rtype: u16,
    pub(super) class: u16,
    pub(super) edns: Option<Edns>,
    pub(super) origin: &'a Origin,
    pub(super) metadata: &'a Metadata,
}

impl<'a> Subject<'a> {
    pub(super) fn of(query: &'a Query) -> Self {
        let question = &query.message.queries[0];
        Subject {
            name: text::of(&question.name),
            rtype: question.query_type.into(),
            class: question.query_class.into(),
            edns: query.message.edns.clone(),
            origin: &query.origin,
            metadata: &query.metadata,
        }
    }

    /// The query with what the rules made of it; `None` if the name is none any more.
    pub(super) fn put_into(self, query: &Query) -> Option<Query> {
        let mut message = query.message.as_ref().clone();
        message.queries[0].name = text::name(&self.name)?;
        message.queries[0].query_type = RecordType::from(self.rtype);
        message.queries[0].query_class = DNSClass::from(self.class);
        message.edns = self.edns;
        Some(Query { message: Arc::new(message), ..query.clone() })
    }

    /// The name in lower case, as rules compare it.
    pub(super) fn folded(&self) -> String {
        self.name.to_ascii_lowercase()
    }
}

impl Rule {
    /// Changes the question if the rule is for it: then gives what the reply needs, in order.
    pub(super) fn apply(&self, subject: &mut Subject<'_>) -> Option<Vec<Reversal>> {
        match &self.action {
            Action::Name(rule) => rule.apply(subject),
            Action::Type(from, to) => swap(&mut subject.rtype, *from, *to),
            Action::Class(from, to) => swap(&mut subject.class, *from, *to),
            Action::Ttl { names, least, most } => {
                let reversal = || vec![Reversal::Ttl { least: *least, most: *most }];
                names.takes(&subject.folded()).then(reversal)
            }
            Action::Rcode { names, old, new } => {
                let reversal = || vec![Reversal::Rcode { old: *old, new: *new }];
                names.takes(&subject.folded()).then(reversal)
            }
            Action::Cname(renaming) => Some(vec![Reversal::Cname(Arc::clone(renaming))]),
            Action::Edns(rule) => rule.apply(subject),
        }
    }
}

impl NameRule {
    fn apply(&self, subject: &mut Subject<'_>) -> Option<Vec<Reversal>> {
        let to = self.renaming.apply(&subject.folded(), subject.metadata)?;
        let from = std::mem::replace(&mut subject.name, to);
        let mut reversals = Vec::new();
        if self.auto {
            let swap = match (&self.renaming.from, &self.renaming.to.0[..]) {
                // Turned around, the rule itself says how names below go back.
                (Match::Suffix(suffix), [super::renaming::Piece::Text(to)]) => {
                    Swap::Suffix { from: to.clone(), to: suffix.clone() }
                }
                _ => Swap::Name { from: subject.name.clone(), to: from },
            };
            let parts = [Part::Owner, Part::Value];
            reversals.extend(parts.map(|part| Reversal::Swap(part, swap.clone())));
        }
        reversals.extend(self.answers.iter().cloned());
        Some(reversals)
    }
}

fn swap(value: &mut u16, from: u16, to: u16) -> Option<Vec<Reversal>> {
    (*value == from).then(|| {
        *value = to;
        Vec::new()
    })
}
