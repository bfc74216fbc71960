//! What Services are called outside the cluster: the tables, rules and lookup of `k8s_external`.
//!
//! `web.shop.ZONE` has the external addresses of the Service, `_http._tcp.web.shop.ZONE` its ports. The
//! `kubernetes` block's [`View`] says which Services count; its table is compiled in the same pass.

use std::{net::IpAddr, sync::Arc};

use daymark_cluster::{External, ObjectName, ServiceKind, ServiceState};

use super::{
    Found, Lookup,
    compile::{
        alias, endpoint_label, endpoint_names, finish, group_key, headless_names, shown,
        virtual_names,
    },
    directory::LabelSet,
    group::{Group, GroupDraft},
    lookup::{records, reverse_octets},
    reverse::{OF_SERVICE, Reverse},
    shard::Shards,
    view::{View, Zone, ZoneKind},
};
use crate::wire::{
    name::{FoldedName, push_label},
    rtype,
};

/// Tables of one state of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Externals {
    /// Services, by group key. One with an alias has SRV records that point there.
    pub services: Shards,
    /// PTR records, by address octets.
    pub reverse: Shards,
    /// Addresses of the name server `ns1` below the apex label.
    pub servers: Arc<[IpAddr]>,
    /// SOA serial: Unix time of the last change of a record.
    pub serial: u32,
}

/// The names of the Service, or `None` if none of them exists.
///
/// A Service with an external address has those addresses; one that has none but a host name is an
/// alias for the first, since an alias stands alone (RFC 1034 §3.6.2).
pub fn service(name: &ObjectName, state: &ServiceState, view: &View) -> Option<GroupDraft> {
    let service = state.service.as_ref().filter(|service| view.selects(&service.labels))?;
    let mut draft = GroupDraft { key: group_key(name)?, ..GroupDraft::default() };
    let addresses: Vec<IpAddr> = addresses_of(&service.externals).collect();
    if !addresses.is_empty() {
        virtual_names(&mut draft, &addresses, &service.ports);
        return finish(draft, false);
    }
    if !service.externals.is_empty() {
        draft.alias = Some(service.externals.iter().find_map(alias_of)?);
        // One candidate, whose address whoever asks finds by itself.
        virtual_names(&mut draft, &[IpAddr::from([0; 4])], &service.ports);
        for node in draft.nodes.values_mut() {
            node.v4.clear();
            node.glue.clear();
        }
        return finish(draft, false);
    }
    if !view.external?.headless {
        return None;
    }
    let slices = shown(state.own_slices(&name.name), view);
    let label = |endpoint: &_, _: &_| {
        let mut label = Vec::new();
        push_label(&mut label, endpoint_label(endpoint, view).as_bytes()).map(|()| label)
    };
    if service.kind == ServiceKind::Headless {
        headless_names(&mut draft, &slices, label);
    }
    endpoint_names(&mut draft, &slices, label);
    if !draft.nodes.is_empty() {
        // What is above its endpoints exists (RFC 8020).
        draft.node(b"");
    }
    finish(draft, false)
}

/// What the Service adds to the reverse table: address, rank, relative wire name of the target.
pub fn addresses(
    name: &ObjectName,
    state: &ServiceState,
    view: &View,
) -> Vec<(IpAddr, u8, Vec<u8>)> {
    let Some(key) = group_key(name).filter(|_| view.lists_namespace(&name.namespace)) else {
        return Vec::new();
    };
    let service = state.service.as_ref().filter(|service| view.selects(&service.labels));
    let externals = service.map(|service| &*service.externals).unwrap_or_default();
    let mut out: Vec<_> =
        addresses_of(externals).map(|address| (address, OF_SERVICE, key.clone())).collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// Those of the externals that are addresses.
pub fn addresses_of(externals: &[External]) -> impl Iterator<Item = IpAddr> {
    externals.iter().filter_map(|external| match external {
        External::Address(address) => Some(*address),
        External::Host(_) => None,
    })
}

fn alias_of(external: &External) -> Option<Vec<u8>> {
    match external {
        External::Host(host) => alias(host),
        External::Address(_) => None,
    }
}

/// The zones of a `k8s_external`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zones {
    /// Most labels first.
    zones: Vec<Zone>,
    /// The folded label below which the zone's own names are.
    apex: Vec<u8>,
}

impl Zones {
    /// Zones of these names in folded wire form, with `apex` for their name server.
    pub fn new(names: impl IntoIterator<Item = (Vec<u8>, ZoneKind)>, apex: &str) -> Self {
        let mut zones: Vec<Zone> =
            names.into_iter().map(|(wire, kind)| Zone::of(wire, kind)).collect();
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.labels));
        Zones { zones, apex: apex.to_ascii_lowercase().into_bytes() }
    }

    /// The zone of exactly this name.
    pub fn named(&self, wire: &[u8]) -> Option<&Zone> {
        self.zones.iter().find(|zone| zone.wire == wire)
    }

    /// The longest zone that `name` is in, and how many labels are above it.
    pub fn of(&self, name: &FoldedName) -> Option<(&Zone, usize)> {
        let above = |zone: &Zone| name.labels_above(&zone.wire, zone.labels);
        self.zones.iter().find_map(|zone| Some((zone, above(zone)?)))
    }

    /// Whether the name, with so many labels above its zone, is the zone's own: it, and what is at and
    /// below the apex label.
    pub fn owns(&self, name: &FoldedName, above: usize) -> bool {
        above.checked_sub(1).is_none_or(|at| name.label(at) == self.apex)
    }

    /// Looks `name` up; `None` if it is in none of the zones.
    pub fn lookup<'t>(
        &'t self,
        tables: &'t Externals,
        namespaces: &LabelSet,
        name: &FoldedName,
        qtype: u16,
    ) -> Option<Lookup<'t>> {
        let (zone, above) = self.of(name)?;
        let found = match (qtype, zone.kind) {
            (rtype::AXFR | rtype::IXFR, _) => Found::Refused,
            _ if self.owns(name, above) => own(tables, name, above, qtype),
            (_, ZoneKind::Reverse) => reverse(tables, name, qtype),
            _ => forward(tables, namespaces, name, above, qtype),
        };
        Some(Lookup { zone, above, found })
    }
}

/// The zone itself, `dns`, and `ns1.dns`.
fn own<'t>(tables: &Externals, name: &FoldedName, above: usize, qtype: u16) -> Found<'t> {
    let has = |v4: bool| tables.servers.iter().any(|address| address.is_ipv4() == v4);
    match (above, qtype) {
        (0, rtype::SOA) => Found::Soa,
        (0, rtype::NS) => Found::Ns,
        (0 | 1, _) => Found::NoData,
        (2, _) if name.label(0) != b"ns1" => Found::NxDomain,
        (2, rtype::A) if has(true) => Found::NsAddress,
        (2, rtype::AAAA) if has(false) => Found::NsAddress,
        (2, _) => Found::NoData,
        _ => Found::NxDomain,
    }
}

fn reverse<'t>(tables: &'t Externals, name: &FoldedName, qtype: u16) -> Found<'t> {
    let mut octets = [0; 16];
    let octets = reverse_octets(name, &mut octets).filter(|_| qtype == rtype::PTR);
    let entry = octets.and_then(|octets| tables.reverse.get(octets));
    entry.map_or(Found::NxDomain, |entry| Found::Ptr(Reverse::at(entry)))
}

fn forward<'t>(
    tables: &'t Externals,
    namespaces: &LabelSet,
    name: &FoldedName,
    above: usize,
    qtype: u16,
) -> Found<'t> {
    let Some(own) = above.checked_sub(2) else {
        let exists = namespaces.contains(name.label(0));
        return if exists { Found::NoData } else { Found::NxDomain };
    };
    let group = tables.services.get(name.span(own, above)).map(Group::at);
    let Some(node) = group.and_then(|group| group.node(name.span(0, own))) else {
        return Found::NxDomain;
    };
    match (node.group().alias(), qtype) {
        (Some(target), rtype::A | rtype::AAAA | rtype::CNAME) if own == 0 => Found::Alias(target),
        _ => records(node, qtype),
    }
}
