//! The record rules: what the cluster knows of one Service, turned into names and records.
//!
//! Pure functions of a [`ServiceState`] and a [`View`]. The rules are those of the Kubernetes DNS
//! specification 1.1.0 as CoreDNS answers them.

use std::{fmt::Write, net::IpAddr};

use daymark_cluster::{Endpoint, EndpointSlice, ObjectName, Port, ServiceKind, ServiceState};

use super::{
    group::{GroupDraft, MAX_RECORDS, NodeDraft, SrvDraft},
    reverse::{OF_ENDPOINT, OF_SERVICE},
    view::View,
};
use crate::wire::name::push_label;

/// Folded labels of a Service and its namespace. `None` if they are no DNS labels.
pub fn group_key(name: &ObjectName) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(name.name.len() + name.namespace.len() + 2);
    push_label(&mut key, name.name.as_bytes())?;
    push_label(&mut key, name.namespace.as_bytes())?;
    Some(key)
}

/// The names of the Service, or `None` if none of them exists.
pub fn service(name: &ObjectName, state: &ServiceState, view: &View) -> Option<GroupDraft> {
    let service = state.service.as_ref().filter(|service| view.selects(&service.labels))?;
    let slices = shown(state.own_slices(&name.name), view);
    let mut draft = GroupDraft { key: group_key(name)?, ..GroupDraft::default() };
    let label = |endpoint: &Endpoint, _: &EndpointSlice| {
        let text = endpoint_label(endpoint, view);
        let mut label = Vec::with_capacity(text.len() + 1);
        push_label(&mut label, text.as_bytes()).map(|()| label)
    };
    match &service.kind {
        ServiceKind::External(target) => {
            draft.alias = Some(alias(target)?);
            return Some(draft);
        }
        ServiceKind::Cluster(addresses) => {
            if view.ignore_empty && ready(&slices).next().is_none() {
                return None;
            }
            virtual_names(&mut draft, addresses, &service.ports);
        }
        ServiceKind::Headless => {
            draft.headless = true;
            headless_names(&mut draft, &slices, label);
            if view.zonal {
                zonal_names(&mut draft, &slices, label);
            }
        }
    }
    endpoint_names(&mut draft, &slices, label);
    finish(draft, view.zonal)
}

/// The names of the ServiceImport, or `None` if none of them exists.
pub fn import(name: &ObjectName, state: &ServiceState, view: &View) -> Option<GroupDraft> {
    // CoreDNS lists ServiceImports with the namespaces' selector, not with the Services'.
    let import = state.import.as_ref().filter(|import| {
        view.namespace_selector.as_ref().is_none_or(|selector| selector.matches(&import.labels))
    })?;
    let slices = shown(state.import_slices(&name.name), view);
    let mut draft = GroupDraft { key: group_key(name)?, ..GroupDraft::default() };
    let label = |endpoint: &Endpoint, slice: &EndpointSlice| {
        let mut label = Vec::new();
        push_label(&mut label, endpoint_label(endpoint, view).as_bytes())?;
        push_label(&mut label, slice.cluster_id.as_deref().unwrap_or_default().as_bytes())?;
        Some(label)
    };
    match &import.kind {
        ServiceKind::Cluster(addresses) => {
            if view.ignore_empty && ready(&slices).next().is_none() {
                return None;
            }
            virtual_names(&mut draft, addresses, &import.ports);
        }
        ServiceKind::Headless => headless_names(&mut draft, &slices, label),
        ServiceKind::External(_) => return None,
    }
    endpoint_names(&mut draft, &slices, label);
    finish(draft, false)
}

/// What the Service adds to the reverse tables: address, rank, relative wire name of the target.
///
/// Slices count even without their Service, and namespaces' labels do not filter here: both as
/// CoreDNS does.
pub fn addresses(
    name: &ObjectName,
    state: &ServiceState,
    view: &View,
) -> Vec<(IpAddr, u8, Vec<u8>)> {
    let mut out = Vec::new();
    let Some(key) = group_key(name).filter(|_| view.lists_namespace(&name.namespace)) else {
        return out;
    };
    let service = state.service.as_ref().filter(|service| view.selects(&service.labels));
    if let Some(ServiceKind::Cluster(addresses)) = service.map(|service| &service.kind) {
        out.extend(addresses.iter().map(|address| (*address, OF_SERVICE, key.clone())));
    }
    for (endpoint, _) in ready(&shown(state.own_slices(&name.name), view)) {
        let mut target = Vec::with_capacity(key.len() + 16);
        if push_label(&mut target, endpoint_label(endpoint, view).as_bytes()).is_some() {
            target.extend(&key);
            out.push((endpoint.address, OF_ENDPOINT, target));
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// The first label of an endpoint's name: its hostname; else its pod's name if asked for; else its
/// address with `-` for `.` and `:` (`5678-abcd--1`; a final `-` gets a `0`).
pub fn endpoint_label(endpoint: &Endpoint, view: &View) -> String {
    if let Some(hostname) = &endpoint.hostname {
        return hostname.to_string();
    }
    if let Some(pod) = endpoint.pod.as_ref().filter(|_| view.endpoint_pod_names) {
        return pod.to_string();
    }
    let mut label = match endpoint.address {
        // Nearly all are of this kind, and replacing the dots would take longer than the rest.
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            let mut label = String::with_capacity("255-255-255-255".len());
            let _infallible = write!(label, "{a}-{b}-{c}-{d}");
            return label;
        }
        IpAddr::V6(address) => address.to_string().replace(['.', ':'], "-"),
    };
    if label.ends_with('-') {
        label.push('0');
    }
    label
}

/// `floor(100/n)`, at least 1: each of `n` candidates gets an equal share. Through floating point as
/// CoreDNS computes it, so that odd counts round the same way.
pub fn srv_weight(candidates: usize) -> u16 {
    let share = 100.0 / (100.0 * candidates as f64) * 100.0;
    (share as u16).max(1)
}

/// One possible SRV record: target's relative name, its address, the port if one is known.
struct Candidate {
    target: Vec<u8>,
    address: IpAddr,
    port: Option<u16>,
}

/// The slices that a view shows: another block's needs may have brought them into the store.
pub(super) fn shown<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    view: &View,
) -> Vec<&'a EndpointSlice> {
    slices.filter(|slice| view.endpoints && view.selects(&slice.labels)).collect()
}

/// Endpoints whose condition `ready` is true or absent, with their slices.
fn ready<'a>(
    slices: &[&'a EndpointSlice],
) -> impl Iterator<Item = (&'a Endpoint, &'a EndpointSlice)> {
    slices
        .iter()
        .flat_map(|slice| slice.endpoints.iter().map(move |endpoint| (endpoint, *slice)))
        .filter(|(endpoint, _)| endpoint.ready)
}

/// Ports of a Service or slice; one unknown port where there is none, so that addresses still count.
fn ports_or_unknown(ports: &[Port]) -> impl Iterator<Item = Option<&Port>> + Clone {
    ports.iter().map(Some).chain(ports.is_empty().then_some(None))
}

pub(super) fn virtual_names(draft: &mut GroupDraft, addresses: &[IpAddr], ports: &[Port]) {
    let candidates = |port: Option<&Port>| {
        let port = port.and_then(|port| port.port);
        addresses.iter().map(move |address| Candidate {
            target: Vec::new(),
            address: *address,
            port,
        })
    };
    let own = draft.node(b"");
    addresses.iter().for_each(|address| own.add(*address));
    fill_srv(own, ports_or_unknown(ports).flat_map(candidates));
    for port in ports {
        if let Some(name) = port_name(port) {
            fill_srv(draft.node(&name), candidates(Some(port)));
        }
    }
}

pub(super) fn headless_names(
    draft: &mut GroupDraft,
    slices: &[&EndpointSlice],
    label: impl Fn(&Endpoint, &EndpointSlice) -> Option<Vec<u8>>,
) {
    if ready(slices).next().is_none() {
        return;
    }
    endpoint_set(draft, b"", ready(slices), &label);
    let mut by_port: Vec<(Vec<u8>, Vec<Candidate>)> = Vec::new();
    for (endpoint, slice) in ready(slices) {
        let Some(target) = label(endpoint, slice) else { continue };
        for port in slice.ports.iter() {
            let Some(name) = port_name(port) else { continue };
            let candidate =
                Candidate { target: target.clone(), address: endpoint.address, port: port.port };
            match by_port.iter_mut().find(|(known, _)| *known == name) {
                Some((_, candidates)) => candidates.push(candidate),
                None => by_port.push((name, vec![candidate])),
            }
        }
    }
    for (name, candidates) in by_port {
        fill_srv(draft.node(&name), candidates.into_iter());
    }
}

/// `TOPOLOGY-ZONE.pin._zone` and `.prefer._zone`: the endpoints of each topology zone.
fn zonal_names(
    draft: &mut GroupDraft,
    slices: &[&EndpointSlice],
    label: impl Fn(&Endpoint, &EndpointSlice) -> Option<Vec<u8>>,
) {
    let mut zones: Vec<&str> =
        ready(slices).filter_map(|(endpoint, _)| endpoint.zone.as_deref()).collect();
    zones.sort_unstable();
    zones.dedup();
    for zone in zones {
        for directive in ["pin", "prefer"] {
            let mut name = Vec::new();
            let labels = zone.split('.').chain([directive, "_zone"]);
            if labels.into_iter().all(|part| push_label(&mut name, part.as_bytes()).is_some()) {
                let members =
                    ready(slices).filter(|(endpoint, _)| endpoint.zone.as_deref() == Some(zone));
                endpoint_set(draft, &name, members, &label);
            }
        }
    }
}

pub(super) fn endpoint_names(
    draft: &mut GroupDraft,
    slices: &[&EndpointSlice],
    label: impl Fn(&Endpoint, &EndpointSlice) -> Option<Vec<u8>>,
) {
    let mut by_name: Vec<(Vec<u8>, (&Endpoint, &EndpointSlice))> = ready(slices)
        .filter_map(|(endpoint, slice)| Some((label(endpoint, slice)?, (endpoint, slice))))
        .collect();
    by_name.sort_by(|(a, _), (b, _)| a.cmp(b));
    for run in by_name.chunk_by(|(a, _), (b, _)| a == b) {
        let name = &run[0].0;
        let members = run.iter().map(|(_, member)| *member);
        endpoint_set(draft, name, members, &|_: &Endpoint, _: &EndpointSlice| Some(name.clone()));
    }
}

/// The records of a name that stands for `members`: their addresses, and SRV for all their ports.
fn endpoint_set<'a>(
    draft: &mut GroupDraft,
    name: &[u8],
    members: impl Iterator<Item = (&'a Endpoint, &'a EndpointSlice)>,
    label: &impl Fn(&Endpoint, &EndpointSlice) -> Option<Vec<u8>>,
) {
    let node = draft.node(name);
    let mut candidates = Vec::new();
    let mut addresses = Vec::new();
    for (endpoint, slice) in members {
        addresses.push(endpoint.address);
        let Some(target) = label(endpoint, slice) else { continue };
        candidates.extend(ports_or_unknown(&slice.ports).map(|port| Candidate {
            target: target.clone(),
            address: endpoint.address,
            port: port.and_then(|port| port.port),
        }));
    }
    add_each(node, addresses);
    fill_srv(node, candidates.into_iter());
}

/// Up to so many things, comparing each with each is cheaper than hashing them.
const FEW: usize = 16;

/// [`NodeDraft::add`] for many addresses, without comparing each with each.
fn add_each(node: &mut NodeDraft, addresses: Vec<IpAddr>) {
    if addresses.len() <= FEW {
        addresses.into_iter().for_each(|address| node.add(address));
        return;
    }
    let mut seen = hashbrown::HashSet::with_capacity(addresses.len());
    for address in addresses.into_iter().take(MAX_RECORDS) {
        if seen.insert(address) {
            match address {
                IpAddr::V4(a) => node.v4.push(a),
                IpAddr::V6(a) => node.v6.push(a),
            }
        }
    }
}

/// SRV records and glue. Every candidate counts for the weight, also one without a port and one
/// whose record is dropped as a duplicate.
fn fill_srv(node: &mut NodeDraft, candidates: impl Iterator<Item = Candidate>) {
    let candidates: Vec<Candidate> = candidates.collect();
    let weight = srv_weight(candidates.len());
    let few = candidates.len() <= FEW;
    let (first_srv, first_glue) = (node.srv.len(), node.glue.len());
    let (mut ports, mut glue) = (hashbrown::HashSet::new(), hashbrown::HashSet::new());
    for Candidate { target, address, port } in candidates.into_iter().take(MAX_RECORDS) {
        let Some(port) = port else { continue };
        let same = |srv: &SrvDraft| srv.port == port && srv.target == target;
        let new = match few {
            true => !node.srv[first_srv..].iter().any(same),
            false => ports.insert((target.clone(), port)),
        };
        if new {
            node.srv.push(SrvDraft { weight, port, target: target.clone() });
        }
        let same = |held: &(Vec<u8>, IpAddr)| held.1 == address && held.0 == target;
        let new = match few {
            true => !node.glue[first_glue..].iter().any(same),
            false => glue.insert((target.clone(), address)),
        };
        if new {
            node.glue.push((target, address));
        }
    }
}

/// `_name._protocol`, for a named port.
fn port_name(port: &Port) -> Option<Vec<u8>> {
    let name = port.name.as_ref()?;
    let mut wire = Vec::with_capacity(name.len() + 8);
    push_label(&mut wire, format!("_{name}").as_bytes())?;
    push_label(&mut wire, format!("_{}", port.protocol.label()).as_bytes())?;
    Some(wire)
}

/// ExternalName's target in wire form, case kept. An IP literal is no name: such a Service does not
/// exist (as CoreDNS has it).
pub(super) fn alias(target: &str) -> Option<Vec<u8>> {
    if target.trim_end_matches('.').parse::<IpAddr>().is_ok() {
        return None;
    }
    let mut wire = Vec::with_capacity(target.len() + 2);
    for label in target.trim_end_matches('.').split('.') {
        push_label(&mut wire, label.as_bytes())?;
        let from = wire.len() - label.len();
        wire[from..].copy_from_slice(label.as_bytes());
    }
    wire.push(0);
    (wire.len() <= crate::wire::name::MAX_NAME).then_some(wire)
}

/// Adds the names between (RFC 8020: what lies above an existing name exists); drops the group if
/// it has no name at all, but for headless Services, whose zone-scoped names exist without endpoints.
pub(super) fn finish(mut draft: GroupDraft, zonal: bool) -> Option<GroupDraft> {
    let names: Vec<Vec<u8>> = draft.nodes.keys().cloned().collect();
    for name in names {
        let mut rest = name.as_slice();
        while let Some(&len) = rest.first()
            && rest.len() > 1 + usize::from(len)
        {
            rest = &rest[1 + usize::from(len)..];
            draft.node(rest);
        }
    }
    (!draft.nodes.is_empty() || (draft.headless && zonal)).then_some(draft)
}
