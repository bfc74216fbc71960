//! The long way of the `kubernetes` plugin, and what follows an alias.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RData, Record, rdata::CNAME},
};

use super::records::{Records, name, records};
use crate::{
    plugin::{Answer, Failure, FailureReason, Next, Outcome, Plugin, Query},
    server::long::fold,
    wire::{name::FoldedName, rtype},
    zone::{Directory, Found, Lookup, Table, lookup, view::Zone},
};

/// Aliases followed within a zone, the first included; a longer chain is NODATA.
const MAX_LINKS: usize = 11;

/// The `kubernetes` plugin of one block.
pub struct Kubernetes {
    table: Table,
    /// Zones (folded wire form, labels) under which a missing name is handed on.
    fallthrough: Vec<(Vec<u8>, usize)>,
}

impl Kubernetes {
    /// A plugin that answers from `table`.
    pub fn new(table: Table, fallthrough: Vec<(Vec<u8>, usize)>) -> Self {
        Kubernetes { table, fallthrough }
    }

    /// What it answers from.
    pub fn table(&self) -> &Table {
        &self.table
    }

    async fn answer(&self, query: &Query, next: Next<'_>) -> Outcome {
        let mut folded = FoldedName::default();
        let qtype = u16::from(query.rtype());
        if fold(query.name(), &mut folded).is_none() {
            return next.serve(query).await;
        }
        let directory = Arc::clone(&*self.table.load());
        let Some(found) = lookup(&directory, &self.table.view, &folded, qtype) else {
            return next.serve(query).await;
        };
        match found.found {
            Found::NxDomain if self.falls_through(&folded) => next.serve(query).await,
            Found::Refused => {
                let reason = FailureReason::Refused;
                Err(Failure::with_code("kubernetes", ResponseCode::Refused, reason))
            }
            Found::Alias(target) => {
                let follow =
                    Follow { plugin: self, directory: &directory, query, zone: found.zone };
                Ok(follow.alias(&folded, &found, target).await)
            }
            _ => {
                let records =
                    records(query.name(), &folded, qtype, &self.table.view, &directory, &found);
                Ok(reply(query, records.unwrap_or_default()))
            }
        }
    }

    fn falls_through(&self, name: &FoldedName) -> bool {
        self.fallthrough.iter().any(|(zone, labels)| name.labels_above(zone, *labels).is_some())
    }
}

impl Plugin for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn knows(&self, class: DNSClass) -> bool {
        class == DNSClass::IN
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        self.answer(query, next).boxed()
    }
}

/// An authoritative reply of these records.
fn reply(query: &Query, records: Records) -> Answer {
    let mut answer = Answer::with_code(query, records.rcode);
    answer.message.metadata.authoritative = true;
    answer.message.answers = records.answers;
    answer.message.authorities = records.authorities;
    answer.message.additionals = records.additionals;
    answer
}

/// Follows an alias: inside the zone by further lookups, outside through the whole server.
struct Follow<'a> {
    plugin: &'a Kubernetes,
    directory: &'a Directory,
    query: &'a Query,
    zone: &'a Zone,
}

impl Follow<'_> {
    async fn alias(&self, folded: &FoldedName, first: &Lookup<'_>, target: &[u8]) -> Answer {
        let mut answers = Vec::new();
        let complete = match u16::from(self.query.rtype()) {
            rtype::CNAME => self.link(self.query.name(), target, &mut answers).is_some(),
            _ => self.chain(target, &mut answers).await,
        };
        if complete && !answers.is_empty() {
            return reply(self.query, Records { answers, ..Records::default() });
        }
        // An alias that leads nowhere inside the zone is no data, as CoreDNS has it.
        let nothing = Lookup { found: Found::NoData, ..*first };
        let (view, qtype) = (&self.plugin.table.view, u16::from(self.query.rtype()));
        let records = records(self.query.name(), folded, qtype, view, self.directory, &nothing);
        reply(self.query, records.unwrap_or_default())
    }

    /// Collects the chain from the question's name on. `false` if it ends inside the zone without
    /// an address.
    async fn chain(&self, target: &[u8], answers: &mut Vec<Record>) -> bool {
        let view = &self.plugin.table.view;
        let qtype = u16::from(self.query.rtype());
        let mut owner = self.query.name().clone();
        let mut target = target;
        let mut folded = FoldedName::default();
        for _ in 0..MAX_LINKS {
            let Some(next_owner) = self.link(&owner, target, answers) else { return false };
            if folded.read(target, 0).is_none() {
                return false;
            }
            if folded.labels_above(&self.zone.wire, self.zone.labels).is_none() {
                self.outside(next_owner, answers).await;
                return true;
            }
            let Some(found) = lookup(self.directory, view, &folded, qtype) else { return false };
            if let Found::Alias(further) = found.found {
                (owner, target) = (next_owner, further);
                continue;
            }
            let found = records(&next_owner, &folded, qtype, view, self.directory, &found);
            let Some(found) = found.filter(|records| !records.answers.is_empty()) else {
                return false;
            };
            answers.extend(found.answers);
            return true;
        }
        false
    }

    /// Adds `owner CNAME target`; gives the target's name.
    fn link(&self, owner: &Name, target: &[u8], answers: &mut Vec<Record>) -> Option<Name> {
        let target = name(&[target])?;
        let data = RData::CNAME(CNAME(target.clone()));
        answers.push(Record::from_rdata(owner.clone(), self.plugin.table.view.ttl, data));
        Some(target)
    }

    /// Asks the whole server for a name outside the zone. Without an answer the alias stands alone;
    /// links that are there already (a loop through other zones) are not repeated.
    async fn outside(&self, target: Name, answers: &mut Vec<Record>) {
        let nested = self.query.with_question(target, self.query.rtype());
        if let Ok(answer) = nested.ask_server().await {
            for record in answer.message.answers {
                let known = |held: &Record| held.name == record.name && held.data == record.data;
                if !answers.iter().any(known) {
                    answers.push(record);
                }
            }
        }
    }
}
