//! Cluster names and addresses from Kubernetes. See README.md for what its directive may say.
//!
//! Questions are answered from [`crate::zone`]; [`wire`] writes what was found straight into a reply
//! (the short way), [`records`] turns it into message records (the long way).

pub mod config;
pub mod metadata;
mod outgoing;
pub mod plugin;
pub mod programming;
pub mod records;
pub mod selector;
pub mod wire;

pub use plugin::Kubernetes;

use daymark_cluster::{
    Name, Selector,
    selector::{Condition, Requirement},
};

use crate::{
    corefile::domain::Domain,
    zone::{
        View,
        view::{self, Zone, ZoneKind},
    },
};

/// The view that a block's settings describe.
pub fn view(config: &config::Config, own_addresses: Vec<std::net::IpAddr>) -> View {
    let zone = |domain: &Domain| {
        let kind = match domain {
            _ if config.multicluster.contains(domain) => ZoneKind::ClusterSet,
            _ if domain.is_reverse() => ZoneKind::Reverse,
            _ => ZoneKind::Cluster,
        };
        Zone::of(domain.to_wire(), kind)
    };
    let mut view = View::new(config.zones.iter().map(zone).collect());
    view.ttl = config.ttl;
    view.pods = match config.pods {
        config::PodMode::Disabled => view::PodMode::Disabled,
        config::PodMode::Insecure => view::PodMode::Insecure,
        config::PodMode::Verified => view::PodMode::Verified,
    };
    view.namespaces = config.namespaces.iter().map(ToString::to_string).collect();
    view.namespace_selector = config.namespace_labels.as_ref().map(compiled);
    view.selector = config.labels.as_ref().map(compiled);
    view.endpoint_pod_names = config.endpoint_pod_names;
    view.endpoints = config.endpoints;
    view.ignore_empty = config.ignore_empty_service;
    view.zonal = config.zonal;
    view.own_addresses = own_addresses;
    view
}

/// A selector in the form that objects are compared with.
fn compiled(selector: &selector::Selector) -> Selector {
    let names = |values: &[Box<str>]| values.iter().map(|value| Name::new(value)).collect();
    let requirement = |requirement: &selector::Requirement| Requirement {
        key: Name::new(&requirement.key),
        condition: match &requirement.operator {
            selector::Operator::Equals(value) => Condition::In(vec![Name::new(value)]),
            selector::Operator::In(values) => Condition::In(names(values)),
            selector::Operator::NotIn(values) => Condition::NotIn(names(values)),
            selector::Operator::Exists => Condition::Exists,
            selector::Operator::DoesNotExist => Condition::Absent,
        },
    };
    Selector { requirements: selector.requirements.iter().map(requirement).collect() }
}

/// Zones in the form that lookups compare with: folded wire form and number of labels.
pub fn fallthrough(config: &config::Config) -> Vec<(Vec<u8>, usize)> {
    let zones = config.fallthrough.iter().map(Domain::to_wire);
    zones.map(|wire| (wire.clone(), crate::wire::name::count_labels(&wire))).collect()
}

#[cfg(test)]
mod two_ways;
