//! The short way: a plain question answered from tables, on the thread that read it.

use std::sync::Arc;

use crate::{
    plugins::{
        header::config::Edits,
        kubernetes::wire::{self, Asked, Written},
        local::Names,
        rewrite::short::{Renamed, Renames},
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
    /// `hosts` comes before `kubernetes`: what it might answer goes the long way.
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
        if self.is_claimed(asked.name) {
            return Short::Long;
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
                    let rotation = if self.rotate { asked.rotation } else { 0 };
                    let asked = Asked { rotation, ..*asked };
                    let written = wire::write(out, &asked, &table.view, &directory, &found);
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
        if self.is_claimed(name) {
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

    /// Whether a plugin before `kubernetes` might answer this name.
    fn is_claimed(&self, name: &FoldedName) -> bool {
        self.hosts.iter().chain(&self.external).any(|plugin| plugin.may_answer(name))
    }

    fn falls_through(&self, name: &FoldedName) -> bool {
        self.fallthrough.iter().any(|(zone, labels)| name.labels_above(zone, *labels).is_some())
    }
}

/// Whether an authority asks for the proof of a domain there.
fn is_proof(name: &FoldedName) -> bool {
    name.label(0) == challenges::LABEL.as_bytes()
}

/// Whether the question's name is written as it is compared, without capital letters.
fn is_folded(asked: &Asked<'_>) -> bool {
    let name = asked.name.wire();
    asked.message.get(HEADER..HEADER + name.len()) == Some(name)
}
