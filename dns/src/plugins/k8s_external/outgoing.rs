//! A zone as a whole, for `transfer`: what queries find, so that a secondary answers the same.

use std::{net::IpAddr, sync::Arc};

use hickory_proto::rr::{
    Name, RData, Record,
    rdata::{CNAME, NS, PTR, SRV},
};

use super::External;
use crate::{
    plugin::ZoneRecords,
    plugins::{
        kubernetes::records::{address_data, name},
        transfer::source::{Outgoing, Source},
    },
    server::long::fold,
    wire::name::FoldedName,
    zone::{
        Directory,
        group::{Group, Node},
        reverse::Reverse,
        view::{Zone, ZoneKind},
    },
};

impl Source for External {
    fn zone(&self, name: &Name) -> Option<Option<Outgoing>> {
        let mut folded = FoldedName::default();
        fold(name, &mut folded)?;
        let zone = self.zones.named(folded.wire())?;
        let table = self.table.get()?;
        let directory = Arc::clone(&*table.load());
        // Before all is known, a secondary would take what is missing for what does not exist.
        Some(if directory.synced { self.outgoing(zone, table.view.ttl, directory) } else { None })
    }
}

impl External {
    fn outgoing(
        &self,
        zone: &Zone,
        services_ttl: u32,
        directory: Arc<Directory>,
    ) -> Option<Outgoing> {
        let soa = self.soa(zone, &directory)?;
        let table = match zone.kind {
            ZoneKind::Reverse => &directory.external.reverse,
            ZoneKind::Cluster | ZoneKind::ClusterSet => &directory.external.services,
        };
        let mut keys: Vec<Box<[u8]>> =
            table.entries().map(|entry| entry[1..1 + usize::from(entry[0])].into()).collect();
        keys.sort_unstable();
        let whole = Arc::new(Whole {
            origin: name(&[&zone.wire])?,
            server: self.server(zone)?,
            primary: self.primary.clone(),
            is_reverse: zone.kind == ZoneKind::Reverse,
            ttl: self.ttl,
            services_ttl,
            directory,
            keys,
        });
        let records = move || {
            let of_keys = Arc::clone(&whole);
            let keys = (0..whole.keys.len()).flat_map(move |at| of_keys.at(&of_keys.keys[at]));
            Box::new(whole.apex().into_iter().chain(keys)) as ZoneRecords
        };
        Some(Outgoing { soa, records: Box::new(records) })
    }
}

/// A zone and what its records are made of.
struct Whole {
    /// Its name.
    origin: Name,
    /// The name of its name server.
    server: Name,
    /// The zone that PTR records point into.
    primary: Name,
    is_reverse: bool,
    ttl: u32,
    /// TTL of SRV and CNAME records.
    services_ttl: u32,
    directory: Arc<Directory>,
    /// Keys of its groups by Service and namespace, or of its addresses.
    keys: Vec<Box<[u8]>>,
}

impl Whole {
    fn apex(&self) -> Vec<Record> {
        let server = RData::NS(NS(self.server.clone()));
        let mut records = vec![Record::from_rdata(self.origin.clone(), self.ttl, server)];
        let addresses = self.directory.external.servers.iter().map(|at| address_data(*at));
        records
            .extend(addresses.map(|data| Record::from_rdata(self.server.clone(), self.ttl, data)));
        records
    }

    fn at(&self, key: &[u8]) -> Vec<Record> {
        let external = &self.directory.external;
        let found = match self.is_reverse {
            true => external.reverse.get(key).map(|names| self.address(key, Reverse::at(names))),
            false => external.services.get(key).map(|group| self.group(Group::at(group))),
        };
        found.unwrap_or_default()
    }

    fn group(&self, group: Group<'_>) -> Vec<Record> {
        let alias = group.alias().and_then(|alias| name(&[alias]));
        let owner = |name| self.in_zone(&[name, group.key()]);
        let mut records = Vec::new();
        for node in group.nodes() {
            let Some(owner) = owner(node.name()) else { continue };
            match &alias {
                // What is an alias has no other records (RFC 1034 §3.6.2).
                Some(target) if node.name().is_empty() => {
                    let data = RData::CNAME(CNAME(target.clone()));
                    records.push(Record::from_rdata(owner, self.services_ttl, data));
                }
                alias => self.node(&owner, node, alias.as_ref(), &mut records),
            }
        }
        records
    }

    fn node(&self, owner: &Name, node: Node<'_>, alias: Option<&Name>, records: &mut Vec<Record>) {
        let v4 = node.v4().iter().map(|address| IpAddr::from(*address));
        let addresses = v4.chain(node.v6().iter().map(|address| IpAddr::from(*address)));
        records.extend(
            addresses.map(|at| Record::from_rdata(owner.clone(), self.ttl, address_data(at))),
        );
        records.extend(node.srv().filter_map(|srv| {
            let inside = || self.in_zone(&[srv.target, node.group().key()]);
            let target = alias.cloned().or_else(inside)?;
            let data = RData::SRV(SRV::new(0, srv.weight, srv.port, target));
            Some(Record::from_rdata(owner.clone(), self.services_ttl, data))
        }));
    }

    /// The PTR records of an address in a reverse zone.
    fn address(&self, key: &[u8], names: Reverse<'_>) -> Vec<Record> {
        let address = match key {
            [a, b, c, d] => IpAddr::from([*a, *b, *c, *d]),
            _ => <[u8; 16]>::try_from(key).map_or(IpAddr::from([0; 4]), IpAddr::from),
        };
        let owner = Name::from(address);
        if !self.origin.zone_of(&owner) {
            return Vec::new();
        }
        let target = |relative| name(&[relative])?.append_domain(&self.primary).ok();
        let targets = names.items().filter_map(|(_, relative)| target(relative));
        let data = targets.map(|target| RData::PTR(PTR(target)));
        data.map(|data| Record::from_rdata(owner.clone(), self.ttl, data)).collect()
    }

    fn in_zone(&self, pieces: &[&[u8]]) -> Option<Name> {
        name(pieces)?.append_domain(&self.origin).ok()
    }
}
