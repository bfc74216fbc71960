//! What is done with a reply so that it answers what the client asked.

use std::sync::Arc;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};

use super::renaming::Renaming;
use crate::{plugins::metadata::Metadata, wire::text};

/// One thing that is done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reversal {
    /// A name in every record is replaced.
    Swap(Part, Swap),
    /// TTLs are brought within bounds, in seconds.
    Ttl { least: u32, most: u32 },
    /// A response code is replaced.
    Rcode { old: u16, new: u16 },
    /// The first alias that this is for leads elsewhere, and is followed there.
    Cname(Arc<Renaming>),
    /// An EDNS option of the query goes back to what it was; `None` if it was not there.
    Option { code: u16, before: Option<EdnsOption> },
}

impl Eq for Reversal {}

/// Which name of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Its owner.
    Owner,
    /// The name in its data: the target of SRV, MX, CNAME, NS, PTR and NAPTR, a SOA's primary server.
    Value,
}

/// Which name is replaced by which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Swap {
    /// This name and names below it. Presentation form.
    Name { from: String, to: String },
    /// Names that end so.
    Suffix { from: String, to: String },
    /// Names that a pattern finds something in.
    Renaming(Renaming),
}

impl Swap {
    fn apply(&self, name: &str) -> Option<String> {
        match self {
            Swap::Name { from, to } => {
                let before = &name[..ending(name, from)?];
                (before.is_empty() || before.ends_with('.')).then(|| format!("{before}{to}"))
            }
            Swap::Suffix { from, to } => Some(format!("{}{to}", &name[..ending(name, from)?])),
            Swap::Renaming(renaming) => renaming.apply(name, &Metadata::default()),
        }
    }

    fn replace(&self, name: &mut Name) {
        let swapped = self.apply(&text::of(name)).and_then(|swapped| text::name(&swapped));
        if let Some(swapped) = swapped {
            *name = swapped;
        }
    }
}

/// Where `end` begins at the end of `name`, letters of either case being the same (RFC 4343).
fn ending(name: &str, end: &str) -> Option<usize> {
    let at = name.len().checked_sub(end.len())?;
    name.get(at..)?.eq_ignore_ascii_case(end).then_some(at)
}

/// Does to the records of `message` what is done record by record: the last rule's part first, as in CoreDNS.
pub(super) fn revert_records(message: &mut Message, reversals: &[Reversal]) {
    let sections = [&mut message.authorities, &mut message.answers, &mut message.additionals];
    for record in sections.into_iter().flatten() {
        for reversal in reversals.iter().rev() {
            match reversal {
                Reversal::Swap(Part::Owner, swap) => swap.replace(&mut record.name),
                Reversal::Swap(Part::Value, swap) => {
                    if let Some(name) = value_mut(record) {
                        swap.replace(name);
                    }
                }
                Reversal::Ttl { least, most } => record.ttl = record.ttl.max(*least).min(*most),
                Reversal::Rcode { .. } | Reversal::Cname(_) | Reversal::Option { .. } => {}
            }
        }
    }
}

/// Brings options in the reply of an upstream back to what the client sent.
pub(super) fn revert_options(message: &mut Message, reversals: &[Reversal]) {
    let Some(edns) = &mut message.edns else { return };
    let options = &mut edns.options_mut().options;
    for reversal in reversals.iter().rev() {
        let Reversal::Option { code, before } = reversal else { continue };
        let code = EdnsCode::from(*code);
        let Some(at) = options.iter().position(|(known, _)| *known == code) else { continue };
        match before {
            Some(before) => options[at].1 = before.clone(),
            None => drop(options.remove(at)),
        }
    }
}

/// The code that replaces `code`.
pub(super) fn revert_code(code: ResponseCode, reversals: &[Reversal]) -> ResponseCode {
    reversals.iter().rev().fold(code, |code, reversal| match reversal {
        Reversal::Rcode { old, new } if u16::from(code) == *old => (*new).into(),
        _ => code,
    })
}

fn value_mut(record: &mut Record) -> Option<&mut Name> {
    match &mut record.data {
        RData::SRV(data) => Some(&mut data.target),
        RData::MX(data) => Some(&mut data.exchange),
        RData::CNAME(data) => Some(&mut data.0),
        RData::NS(data) => Some(&mut data.0),
        RData::NAPTR(data) => Some(&mut data.replacement),
        RData::SOA(data) => Some(&mut data.mname),
        RData::PTR(data) => Some(&mut data.0),
        _ => None,
    }
}
