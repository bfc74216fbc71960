//! A cluster zone as a whole, for `transfer`: what queries find, so that a secondary answers the same.
//!
//! Pods are left out: whoever asks for one says its address. So are the names that exist only by what is below them.

use std::{net::IpAddr, sync::Arc};

use hickory_proto::rr::{
    Name, RData, Record,
    rdata::{CNAME, NS, PTR, SRV, TXT},
};

use super::{
    Kubernetes,
    records::{address_data, name, soa},
};
use crate::{
    plugin::ZoneRecords,
    plugins::transfer::source::{Outgoing, Source},
    server::long::fold,
    wire::name::FoldedName,
    zone::{
        Directory, View,
        group::{Group, Node},
        lookup::{SPECIFICATION, VERSION_TTL},
        reverse::Reverse,
        view::{Zone, ZoneKind},
    },
};

impl Source for Kubernetes {
    fn zone(&self, name: &Name) -> Option<Option<Outgoing>> {
        let mut folded = FoldedName::default();
        fold(name, &mut folded)?;
        let view = &self.table().view;
        let zone = view.zones.iter().find(|zone| zone.wire == folded.wire())?;
        let directory = Arc::clone(&*self.table().load());
        // Before all is known, a secondary would take what is missing for what does not exist.
        Some(if directory.synced { outgoing(zone, view, &directory) } else { None })
    }
}

/// A zone and what its records are made of.
struct Whole {
    zone: Zone,
    /// Its name.
    origin: Name,
    view: Arc<View>,
    directory: Arc<Directory>,
    /// Keys of its groups by Service and namespace, or of its addresses.
    keys: Vec<Box<[u8]>>,
}

fn outgoing(zone: &Zone, view: &Arc<View>, directory: &Arc<Directory>) -> Option<Outgoing> {
    let origin = name(&[&zone.wire])?;
    let soa = soa(&origin, view, directory, zone.kind)?;
    let table = match zone.kind {
        ZoneKind::Cluster => &directory.services,
        ZoneKind::ClusterSet => &directory.imports,
        ZoneKind::Reverse => &directory.reverse,
    };
    let mut keys: Vec<Box<[u8]>> =
        table.entries().map(|entry| entry[1..1 + usize::from(entry[0])].into()).collect();
    keys.sort_unstable();
    let (view, directory) = (Arc::clone(view), Arc::clone(directory));
    let whole = Arc::new(Whole { zone: zone.clone(), origin, view, directory, keys });
    let records = move || {
        let of_keys = Arc::clone(&whole);
        let keys = (0..whole.keys.len()).flat_map(move |at| of_keys.at(&of_keys.keys[at]));
        Box::new(whole.apex().into_iter().chain(keys)) as ZoneRecords
    };
    Some(Outgoing { soa, records: Box::new(records) })
}

impl Whole {
    fn record(&self, owner: Name, data: RData) -> Record {
        Record::from_rdata(owner, self.view.ttl, data)
    }

    fn in_zone(&self, pieces: &[&[u8]]) -> Option<Name> {
        name(pieces)?.append_domain(&self.origin).ok()
    }

    /// NS records, the addresses of name servers that are no Services, and the specification's version.
    fn apex(&self) -> Vec<Record> {
        let mut servers: Vec<Record> = Vec::new();
        let mut addresses = Vec::new();
        let mut last: &[u8] = &[];
        for (relative, address) in self.directory.servers.iter() {
            let Some(server) = self.in_zone(&[relative]) else { continue };
            if relative != last {
                servers.push(self.record(self.origin.clone(), RData::NS(NS(server.clone()))));
            }
            last = relative;
            if !relative.ends_with(b"\x03svc") {
                addresses.push(self.record(server, address_data(*address)));
            }
        }
        servers.extend(addresses.into_iter().filter(|_| self.zone.kind != ZoneKind::Reverse));
        if let Some(owner) =
            self.in_zone(&[b"\x0bdns-version"]).filter(|_| self.zone.kind != ZoneKind::Reverse)
        {
            let text = String::from_utf8_lossy(SPECIFICATION).into_owned();
            let data = RData::TXT(TXT::new(vec![text]));
            servers.push(Record::from_rdata(owner, VERSION_TTL, data));
        }
        servers
    }

    fn at(&self, key: &[u8]) -> Vec<Record> {
        let directory = &self.directory;
        match self.zone.kind {
            ZoneKind::Cluster => directory.service(key).map(|group| self.group(group)),
            ZoneKind::ClusterSet => directory.import(key).map(|group| self.group(group)),
            ZoneKind::Reverse => directory.address(key).map(|names| self.address(key, names)),
        }
        .unwrap_or_default()
    }

    fn group(&self, group: Group<'_>) -> Vec<Record> {
        if let Some(target) = group.alias() {
            let owner = self.in_zone(&[group.key(), b"\x03svc"]);
            let alias = owner.zip(name(&[target]));
            return alias
                .map(|(owner, target)| self.record(owner, RData::CNAME(CNAME(target))))
                .into_iter()
                .collect();
        }
        group.nodes().flat_map(|node| self.node(node)).collect()
    }

    fn node(&self, node: Node<'_>) -> Vec<Record> {
        let key = node.group().key();
        let relative = |name| self.in_zone(&[name, key, b"\x03svc"]);
        let Some(owner) = relative(node.name()) else { return Vec::new() };
        let v4 = node.v4().iter().map(|address| IpAddr::from(*address));
        let v6 = node.v6().iter().map(|address| IpAddr::from(*address));
        let addresses = v4.chain(v6).map(address_data);
        let services = node.srv().filter_map(|srv| {
            let target = relative(srv.target)?;
            Some(RData::SRV(SRV::new(0, srv.weight, srv.port, target)))
        });
        addresses.chain(services).map(|data| self.record(owner.clone(), data)).collect()
    }

    /// The PTR records of an address in a reverse zone.
    fn address(&self, key: &[u8], names: Reverse<'_>) -> Vec<Record> {
        let address = match key {
            [a, b, c, d] => IpAddr::from([*a, *b, *c, *d]),
            _ => <[u8; 16]>::try_from(key).map_or(IpAddr::from([0; 4]), IpAddr::from),
        };
        let owner = Name::from(address);
        let primary = self.view.primary_zone().filter(|_| self.origin.zone_of(&owner));
        let Some(primary) = primary.and_then(|wire| name(&[wire])) else { return Vec::new() };
        let target = |relative| name(&[relative, b"\x03svc"])?.append_domain(&primary).ok();
        let targets = names.targets().filter_map(target);
        targets.map(|target| self.record(owner.clone(), RData::PTR(PTR(target)))).collect()
    }
}
