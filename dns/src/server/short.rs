//! The short way: a plain question answered from tables, on the thread that read it.

use std::sync::Arc;

use crate::{
    metrics::counters::TYPES,
    plugin::Labels,
    plugins::{
        header::config::Edits,
        kubernetes::wire::{self, Asked, Written},
        local::Names,
        rewrite::short::{Renamed, Renames},
        template::short::{Denials, Judgement},
        tls::acme::challenges,
    },
    wire::{HEADER, name::FoldedName, rtype},
    zone::{Found, Table, lookup},
};

/// A plugin that comes before `kubernetes` and may answer some of its names.
pub trait ClaimNames: Send + Sync {
    /// Whether the plugin might answer this name: then the long way decides. Must not lock or
    /// allocate.
    fn may_answer(&self, name: &FoldedName) -> bool;

    /// Answers a question for such a name into `out`, if no more than a table is needed.
    fn answer(&self, _out: &mut [u8], _asked: &Asked<'_>) -> Option<Written> {
        None
    }
}

/// A plugin that can answer plain questions by itself on the short way.
pub trait AnswerShort: Send + Sync {
    /// Answers `asked` into `out`, or says that the long way has to.
    fn answer(&self, out: &mut [u8], asked: &Asked<'_>) -> Short;
}

/// How a block may be answered on the short way. Made only for blocks whose other plugins change
/// nothing about these answers.
#[derive(Clone, Default)]
pub struct ShortPlan {
    /// The `kubernetes` plugin's table, if the block has one.
    pub table: Option<Table>,
    /// Zones (folded wire form, labels) under which a missing cluster name is handed on.
    pub fallthrough: Vec<(Vec<u8>, usize)>,
    /// `template`, which comes before `hosts`.
    pub denials: Option<Arc<Denials>>,
    /// `hosts` comes before `kubernetes`: what it might answer is left to it.
    pub hosts: Option<Arc<dyn ClaimNames>>,
    /// `k8s_external` as well.
    pub external: Option<Arc<dyn ClaimNames>>,
    /// `rewrite`, whose names everything behind it sees.
    pub renames: Option<Arc<Renames>>,
    /// `nsid`: who asks for the identifier goes the long way.
    pub nsid: bool,
    /// Some block gets certificates by ACME, whose proofs the long way has.
    pub acme: bool,
    /// `local`: its names go the long way.
    pub local: Option<Names>,
    /// `dns64`: questions for AAAA go the long way.
    pub dns64: bool,
    /// `any`: questions for all types go the long way.
    pub any: bool,
    /// `minimal`: what would have additional records goes the long way.
    pub minimal: bool,
    /// What `header` makes of the flags in replies that `cache` does not keep.
    pub header: Edits,
    /// `cache`, for names that the cluster does not own.
    pub cache: Option<Arc<dyn AnswerShort>>,
    /// Whether address sets start elsewhere with every reply (`loadbalance`).
    pub rotate: bool,
}

/// What came of a question on the short way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Short {
    /// Answered.
    Answered(Written),
    /// Answered from the cache, and the entry wants to be fetched again: the same question goes the
    /// long way as well, without a reply.
    AnsweredRefresh(Written),
    /// The long way has to answer.
    Long,
}

impl ShortPlan {
    /// The plan of a block that metrics say this of.
    #[must_use]
    pub fn counting_as(mut self, labels: &Arc<Labels>) -> Self {
        let counting = |denials: Arc<Denials>| Arc::new(denials.counting_as(labels));
        self.denials = self.denials.map(counting);
        self
    }

    /// Answers `asked` into `out` if it can be.
    pub fn answer(&self, out: &mut [u8], asked: &Asked<'_>) -> Short {
        if self.leaves(asked) {
            return Short::Long;
        }
        let Some(renames) = &self.renames else { return self.answer_name(out, asked) };
        let mut name = FoldedName::default();
        match renames.apply(asked.name, &mut name) {
            Renamed::No => self.answer_name(out, asked),
            // The long way turns names back in lower case.
            Renamed::Yes if is_folded(asked) => {
                self.answer_name(out, &Asked { name: &name, renamed: true, ..*asked })
            }
            Renamed::Yes | Renamed::Unsure => Short::Long,
        }
    }

    /// Answers as plugins behind `rewrite` do.
    fn answer_name(&self, out: &mut [u8], asked: &Asked<'_>) -> Short {
        if let Some(denied) = self.deny(out, asked) {
            return denied;
        }
        let rotation = if self.rotate { asked.rotation } else { 0 };
        let turned = Asked { rotation, ..*asked };
        if let Some(plugin) = self.claims(asked.name) {
            let written = plugin.answer(out, &turned);
            self.header.apply_to_bytes(out);
            return written.map_or(Short::Long, Short::Answered);
        }
        if let Some(table) = &self.table {
            let directory = table.load();
            if let Some(found) = lookup(&directory, &table.view, asked.name, asked.plain.qtype) {
                let hand_on =
                    matches!(found.found, Found::NxDomain) && self.falls_through(asked.name);
                if !hand_on {
                    if self.minimal && matches!(found.found, Found::Srv(_) | Found::Ns) {
                        return Short::Long;
                    }
                    let addresses =
                        matches!(found.found, Found::V4(_) | Found::V6(_) | Found::Address(_));
                    if asked.renamed && !addresses {
                        return Short::Long;
                    }
                    let written = wire::write(out, &turned, &table.view, &directory, &found);
                    self.header.apply_to_bytes(out);
                    return written.map_or(Short::Long, Short::Answered);
                }
            }
        }
        match &self.cache {
            Some(cache) => cache.answer(out, asked),
            None => Short::Long,
        }
    }

    /// Whether what comes before upstream answers this itself, or may: then no cache is asked.
    pub fn owns(&self, name: &FoldedName, qtype: u16) -> bool {
        let denied =
            |denials: &Arc<Denials>| matches!(denials.find(name, qtype), Judgement::Denied(_));
        if self.denials.as_ref().is_some_and(denied) || self.claims(name).is_some() {
            return true;
        }
        let Some(table) = &self.table else { return false };
        let directory = table.load();
        lookup(&directory, &table.view, name, qtype).is_some_and(|found| {
            !(matches!(found.found, Found::NxDomain) && self.falls_through(name))
        })
    }

    /// Whether a plugin before all others has something to say to this question.
    fn leaves(&self, asked: &Asked<'_>) -> bool {
        (self.any && asked.plain.qtype == rtype::ANY)
            || (self.dns64 && asked.plain.qtype == rtype::AAAA)
            || (self.acme && asked.plain.qtype == rtype::TXT && is_proof(asked.name))
            || self.local.is_some_and(|names| names.include(asked.name))
            || (self.nsid && asked.plain.edns.is_some_and(|edns| edns.nsid))
    }

    /// What `template` says, if a rule is for the question.
    fn deny(&self, out: &mut [u8], asked: &Asked<'_>) -> Option<Short> {
        let denial = match self.denials.as_ref()?.find(asked.name, asked.plain.qtype) {
            Judgement::Pass => return None,
            Judgement::Denied(denial) => denial,
            Judgement::Unsure => return Some(Short::Long),
        };
        // `rewrite` turns names in its records back, `minimal` takes them out.
        if asked.renamed || (self.minimal && denial.is_mild()) {
            return Some(Short::Long);
        }
        let written = denial.write(out, asked);
        self.header.apply_to_bytes(out);
        Some(written.map_or(Short::Long, Short::Answered))
    }

    /// The plugin before `kubernetes` that might answer this name.
    fn claims(&self, name: &FoldedName) -> Option<&Arc<dyn ClaimNames>> {
        self.hosts.iter().chain(&self.external).find(|plugin| plugin.may_answer(name))
    }

    fn falls_through(&self, name: &FoldedName) -> bool {
        self.fallthrough.iter().any(|(zone, labels)| name.labels_above(zone, *labels).is_some())
    }
}

/// Whether an authority asks for the proof of a domain there.
fn is_proof(name: &FoldedName) -> bool {
    name.label(0) == challenges::LABEL.as_bytes()
}

/// Whether the type is one of every day, and no transfer: a reply without records is the same for all
/// of them.
pub fn is_usual(qtype: u16) -> bool {
    let known = TYPES.iter().any(|(known, _)| *known == qtype);
    known && !matches!(qtype, rtype::IXFR | rtype::AXFR)
}

/// Whether the question's name is written as it is compared, without capital letters.
fn is_folded(asked: &Asked<'_>) -> bool {
    let name = asked.name.wire();
    asked.message.get(HEADER..HEADER + name.len()) == Some(name)
}
