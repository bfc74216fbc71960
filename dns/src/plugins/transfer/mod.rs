//! Gives whole zones to secondaries, and tells them of changes. See README.md.

pub mod config;
mod notify;
pub mod source;

use std::sync::{Arc, OnceLock};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RData, RecordType},
};

use self::{
    config::{Config, Rule},
    notify::Notifier,
    source::{Outgoing, Source},
};
use crate::{
    corefile::domain::Domain,
    plugin::{
        Answer, Failure, FailureReason, Next, Outcome, Plugin, Query, Transfer as Records,
        Transport,
    },
    server::long::fold,
    wire::name::{FoldedName, count_labels},
};

/// The `transfer` plugin of one block.
pub struct Transfer {
    rules: Vec<Compiled>,
    notifier: Notifier,
    /// Plugins of the block that have zones, in their order.
    sources: OnceLock<Vec<Arc<dyn Source>>>,
}

/// A rule with its zones in folded wire form, and their labels.
struct Compiled {
    zones: Vec<(Vec<u8>, usize)>,
    rule: Rule,
}

impl Transfer {
    /// A plugin by its settings.
    pub fn new(config: &Config) -> Arc<Self> {
        let compiled = |rule: &Rule| {
            let wire = rule.zones.iter().map(Domain::to_wire);
            let zones = wire.map(|wire| (wire.clone(), count_labels(&wire))).collect();
            Compiled { zones, rule: rule.clone() }
        };
        let rules = config.rules.iter().map(compiled).collect();
        Arc::new(Transfer { rules, notifier: Notifier::default(), sources: OnceLock::new() })
    }

    /// The plugins of the block that have zones.
    pub fn give(&self, sources: Vec<Arc<dyn Source>>) {
        // A block is built once.
        let _ = self.sources.set(sources);
    }

    /// Tells the zone's `to` addresses that it has changed (RFC 1996), as long as that takes.
    pub fn notify(&self, zone: &Name) {
        let mut folded = FoldedName::default();
        if fold(zone, &mut folded).is_some()
            && let Some(rule) = self.rule(&folded)
        {
            self.notifier.notify(zone, &rule.to, rule.source);
        }
    }

    /// The rule with the longest zone that `name` is in.
    fn rule(&self, name: &FoldedName) -> Option<&Rule> {
        let longest = |compiled: &Compiled| {
            let zones = compiled.zones.iter();
            zones.filter_map(|(zone, labels)| name.labels_above(zone, *labels)).min()
        };
        let matching = self.rules.iter().filter_map(|rule| Some((longest(rule)?, &rule.rule)));
        matching.min_by_key(|(above, _)| *above).map(|(_, rule)| rule)
    }

    async fn answer(&self, query: &Query, next: Next<'_>) -> Outcome {
        let incremental = match query.rtype() {
            RecordType::AXFR => false,
            RecordType::IXFR => true,
            _ => return next.serve(query).await,
        };
        let mut folded = FoldedName::default();
        let rule = fold(query.name(), &mut folded).and_then(|()| self.rule(&folded));
        let Some(rule) = rule else { return next.serve(query).await };
        let refused =
            || Failure::with_code("transfer", ResponseCode::Refused, FailureReason::Refused);
        let streamed = matches!(query.origin.transport, Transport::Tcp | Transport::Tls);
        let datagram = query.origin.transport == Transport::Udp;
        if !(streamed || incremental && datagram) {
            return Err(refused());
        }
        let client = query.origin.client.ip().to_canonical();
        if !rule.to_all && !rule.to.iter().any(|to| to.ip().to_canonical() == client) {
            return Err(refused());
        }
        let known = match incremental {
            true => match query.message.authorities.as_slice() {
                [record] => match &record.data {
                    RData::SOA(soa) => Some(soa.serial),
                    _ => return Ok(Answer::with_code(query, ResponseCode::FormErr)),
                },
                _ => return Ok(Answer::with_code(query, ResponseCode::FormErr)),
            },
            false => None,
        };
        let sources = self.sources.get().into_iter().flatten();
        let Some(zone) = sources.filter_map(|source| source.zone(query.name())).next() else {
            return Ok(Answer::with_code(query, ResponseCode::NotAuth));
        };
        let Some(outgoing) = zone else {
            let what = format!("there is no usable state of the zone {}", query.name());
            return Err(Failure::new("transfer", FailureReason::Unusable(what.into())));
        };
        Ok(reply(query, outgoing, known, streamed))
    }
}

/// The zone for the client, or its SOA record alone: where the client has that serial already, or
/// has to come again over TCP (RFC 1995 §2, §4).
fn reply(query: &Query, outgoing: Outgoing, known: Option<u32>, streamed: bool) -> Answer {
    let Outgoing { soa, records } = outgoing;
    let serial = match &soa.data {
        RData::SOA(soa) => soa.serial,
        _ => 0,
    };
    let client = query.origin.client.ip();
    let mut answer = Answer::to(query);
    answer.message.metadata.authoritative = true;
    if known == Some(serial) || !streamed {
        tracing::info!(
            target: "plugin/transfer",
            "{client} asks for changes of {} and gets its serial, {serial}", query.name()
        );
        answer.message.answers.push(soa);
        return answer;
    }
    tracing::info!(
        target: "plugin/transfer",
        "transferring the zone {} with the serial {serial} to {client}", query.name()
    );
    answer.transfer = Some(Records(Arc::new(move || {
        let ends = || std::iter::once(soa.clone());
        Box::new(ends().chain(records()).chain(ends()))
    })));
    answer
}

impl Plugin for Transfer {
    fn name(&self) -> &'static str {
        "transfer"
    }

    fn knows(&self, class: DNSClass) -> bool {
        class == DNSClass::IN
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        self.answer(query, next).boxed()
    }
}

#[cfg(test)]
mod tests;
