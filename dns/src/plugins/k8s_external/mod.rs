//! Names of Services for clients outside the cluster. See README.md.
//!
//! Questions are answered from [`crate::zone::external`], by the table of the block's `kubernetes`.

pub mod config;
mod outgoing;

use std::sync::{Arc, OnceLock};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::ResponseCode,
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{CNAME, NS, PTR, SOA, SRV},
    },
};

use self::config::Config;
use super::kubernetes::records::{address_data, name};
use crate::{
    corefile::domain::Domain,
    plugin::{Answer, Failure, FailureReason, Next, Outcome, Plugin, Query},
    server::{long::fold, short::ClaimNames},
    wire::{
        name::{FoldedName, count_labels},
        rtype,
    },
    zone::{
        Directory, Found, Table,
        external::Zones,
        group::Node,
        view::{Zone, ZoneKind},
    },
};

/// The `k8s_external` plugin of one block.
pub struct External {
    zones: Zones,
    /// The label of the zones' own names, in wire form.
    apex: Vec<u8>,
    /// The zone that PTR records point into.
    primary: Name,
    ttl: u32,
    /// Zones (folded wire form, labels) under which a missing name is handed on.
    fallthrough: Vec<(Vec<u8>, usize)>,
    /// The table of the block's `kubernetes`.
    table: OnceLock<Table>,
}

impl External {
    /// A plugin by its settings.
    pub fn new(config: &Config) -> Arc<Self> {
        let kind = |zone: &Domain| match zone.is_reverse() {
            true => ZoneKind::Reverse,
            false => ZoneKind::Cluster,
        };
        let zones = config.zones.iter().map(|zone| (zone.to_wire(), kind(zone)));
        let primary = config.zones.iter().find(|zone| !zone.is_reverse());
        let primary = primary.or(config.zones.first()).map(Domain::to_wire).unwrap_or_default();
        let fallthrough = config.fallthrough.iter().map(Domain::to_wire);
        let apex = [&[config.apex.len() as u8], config.apex.as_bytes()].concat();
        Arc::new(External {
            zones: Zones::new(zones, &config.apex),
            apex,
            primary: name(&[&primary]).unwrap_or_default(),
            ttl: config.ttl,
            fallthrough: fallthrough.map(|wire| (wire.clone(), count_labels(&wire))).collect(),
            table: OnceLock::new(),
        })
    }

    /// The table of the block's `kubernetes`.
    pub fn answer_from(&self, of_block: &Table) {
        // A block has one `kubernetes`.
        let _ = self.table.set(of_block.clone());
    }

    async fn answer(&self, query: &Query, next: Next<'_>) -> Outcome {
        let mut folded = FoldedName::default();
        let qtype = u16::from(query.rtype());
        let Some(table) = fold(query.name(), &mut folded).and_then(|()| self.table.get()) else {
            return next.serve(query).await;
        };
        let directory = Arc::clone(&*table.load());
        let (tables, namespaces) = (&directory.external, &directory.namespaces);
        let Some(found) = self.zones.lookup(tables, namespaces, &folded, qtype) else {
            return next.serve(query).await;
        };
        let missing = matches!(found.found, Found::NxDomain);
        if missing && self.hands_on(&folded, found.above) {
            return next.serve(query).await;
        }
        let writer = Writer { plugin: self, table, directory: &directory, query, zone: found.zone };
        writer.answer(&found.found).await.ok_or_else(|| {
            Failure::with_code("k8s_external", ResponseCode::Refused, FailureReason::Refused)
        })
    }

    /// Whether a name that does not exist is the next plugin's.
    fn hands_on(&self, name: &FoldedName, above: usize) -> bool {
        let falls = |(zone, labels): &(Vec<u8>, usize)| name.labels_above(zone, *labels).is_some();
        !self.zones.owns(name, above) && self.fallthrough.iter().any(falls)
    }

    /// A name out of wire pieces in the zone.
    fn in_zone(&self, zone: &Zone, pieces: &[&[u8]]) -> Option<Name> {
        name(pieces)?.append_domain(&name(&[&zone.wire])?).ok()
    }

    fn server(&self, zone: &Zone) -> Option<Name> {
        self.in_zone(zone, &[b"\x03ns1", &self.apex])
    }

    fn soa(&self, zone: &Zone, directory: &Directory) -> Option<Record> {
        let rname = self.in_zone(zone, &[b"\x0ahostmaster", &self.apex])?;
        let serial = directory.external.serial;
        let data = SOA::new(self.server(zone)?, rname, serial, 7200, 1800, 86_400, self.ttl);
        Some(Record::from_rdata(name(&[&zone.wire])?, self.ttl, RData::SOA(data)))
    }
}

impl Plugin for External {
    fn name(&self) -> &'static str {
        "k8s_external"
    }

    fn knows(&self, class: DNSClass) -> bool {
        class == DNSClass::IN
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        self.answer(query, next).boxed()
    }
}

impl ClaimNames for External {
    fn may_answer(&self, name: &FoldedName) -> bool {
        let Some((zone, above)) = self.zones.of(name) else { return false };
        let Some(table) = self.table.get().filter(|_| self.hands_on(name, above)) else {
            return true;
        };
        let directory = table.load();
        let (tables, namespaces) = (&directory.external, &directory.namespaces);
        let qtype = if zone.kind == ZoneKind::Reverse { rtype::PTR } else { rtype::A };
        let found = self.zones.lookup(tables, namespaces, name, qtype);
        found.is_some_and(|found| !matches!(found.found, Found::NxDomain))
    }
}

/// Writes the reply to one query.
struct Writer<'a> {
    plugin: &'a External,
    table: &'a Table,
    directory: &'a Directory,
    query: &'a Query,
    zone: &'a Zone,
}

impl Writer<'_> {
    /// The reply; `None` if there is to be none but REFUSED.
    async fn answer(&self, found: &Found<'_>) -> Option<Answer> {
        let mut answer = Answer::to(self.query);
        answer.message.metadata.authoritative = true;
        let message = &mut answer.message;
        match *found {
            Found::V4(set) => message.answers.extend(set.iter().map(|a| self.address((*a).into()))),
            Found::V6(set) => message.answers.extend(set.iter().map(|a| self.address((*a).into()))),
            Found::Srv(node) => self.services(node, &mut answer).await,
            Found::Ptr(reverse) => {
                let target = |relative| name(&[relative])?.append_domain(&self.plugin.primary).ok();
                let targets = reverse.items().filter_map(|(_, relative)| target(relative));
                let records = targets.map(|name| self.own(self.plugin.ttl, RData::PTR(PTR(name))));
                message.answers.extend(records);
            }
            Found::Soa => message.answers.extend(self.plugin.soa(self.zone, self.directory)),
            Found::Ns => self.name_server(&mut answer),
            Found::NsAddress => {
                let wants_v4 = self.query.rtype() == RecordType::A;
                let servers = self.directory.external.servers.iter();
                let wanted = servers.filter(|address| address.is_ipv4() == wants_v4);
                message.answers.extend(wanted.map(|address| self.address(*address)));
            }
            Found::Alias(target) => self.alias(target, &mut answer).await,
            Found::NxDomain => {
                // Before all is known, nothing is said not to exist.
                message.metadata.response_code = match self.directory.synced {
                    true => ResponseCode::NXDomain,
                    false => ResponseCode::ServFail,
                };
            }
            Found::Refused => return None,
            // The rest is not made by these tables.
            Found::NoData | Found::Address(_) | Found::Version => {}
        }
        if answer.message.answers.is_empty() {
            answer.message.authorities.extend(self.plugin.soa(self.zone, self.directory));
        }
        Some(answer)
    }

    fn own(&self, ttl: u32, data: RData) -> Record {
        Record::from_rdata(self.query.name().clone(), ttl, data)
    }

    fn address(&self, address: std::net::IpAddr) -> Record {
        self.own(self.plugin.ttl, address_data(address))
    }

    fn name_server(&self, answer: &mut Answer) {
        let Some(server) = self.plugin.server(self.zone) else { return };
        answer.message.answers.push(self.own(self.plugin.ttl, RData::NS(NS(server.clone()))));
        let addresses = self.directory.external.servers.iter();
        answer.message.additionals.extend(addresses.map(|address| {
            Record::from_rdata(server.clone(), self.plugin.ttl, address_data(*address))
        }));
    }

    /// SRV records, which have the TTL of `kubernetes` as in CoreDNS, and the addresses of their targets.
    async fn services(&self, node: Node<'_>, answer: &mut Answer) {
        let (key, alias) = (node.group().key(), node.group().alias());
        let target = |relative| match alias {
            Some(alias) => name(&[alias]),
            None => self.plugin.in_zone(self.zone, &[relative, key]),
        };
        for srv in node.srv() {
            let Some(target) = target(srv.target) else { continue };
            let data = RData::SRV(SRV::new(0, srv.weight, srv.port, target));
            answer.message.answers.push(self.own(self.table.view.ttl, data));
        }
        for (relative, octets) in node.glue() {
            let address = match octets {
                [a, b, c, d] => [*a, *b, *c, *d].into(),
                _ => <[u8; 16]>::try_from(octets).map_or([0; 4].into(), std::net::IpAddr::from),
            };
            let owner = target(relative);
            answer
                .message
                .additionals
                .extend(owner.map(|owner| {
                    Record::from_rdata(owner, self.plugin.ttl, address_data(address))
                }));
        }
        if let Some(alias) = alias.and_then(|alias| name(&[alias])) {
            for rtype in [RecordType::A, RecordType::AAAA] {
                let nested = self.query.with_question(alias.clone(), rtype);
                if let Ok(found) = nested.ask_server().await {
                    answer.message.additionals.extend(found.message.answers);
                }
            }
        }
    }

    /// The alias, with the TTL of `kubernetes` as in CoreDNS, and what the whole server finds behind it.
    async fn alias(&self, target: &[u8], answer: &mut Answer) {
        let Some(target) = name(&[target]) else { return };
        let data = RData::CNAME(CNAME(target.clone()));
        answer.message.answers.push(self.own(self.table.view.ttl, data));
        if self.query.rtype() == RecordType::CNAME {
            return;
        }
        let nested = self.query.with_question(target, self.query.rtype());
        // Without an answer the alias stands alone: the client can follow it by itself.
        if let Ok(found) = nested.ask_server().await {
            answer.message.metadata.truncation |= found.message.metadata.truncation;
            for record in found.message.answers {
                let known = |held: &Record| held.name == record.name && held.data == record.data;
                if !answer.message.answers.iter().any(known) {
                    answer.message.answers.push(record);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
