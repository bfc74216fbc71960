//! Where foreign objects become ours: the one meaning of the fields, for the API and for manifests.
//!
//! The API was validated by its server, so what is odd there is skipped; in a manifest a person
//! wrote it, so it is rejected with its place. This module never reads bytes and never decides what
//! an object means to DNS, lb or policy.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use daymark_cluster::{
    Endpoint, EndpointSlice, External, Interner, Kind, Name, Namespace, Needs, Node, ObjectName,
    Pod, Service, ServiceImport, ServiceKind, event::Object,
};
use serde_saphyr::Location;

use self::{
    parts::Sharing,
    shape::{Metadata, Shape, Text},
};

mod parts;
pub(crate) mod shape;

/// Label that says which Service a slice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label that says which ServiceImport a slice belongs to (KEP-1645).
const IMPORT_NAME: &str = "multicluster.kubernetes.io/service-name";
/// Label that says which cluster a slice came from (KEP-1645).
const SOURCE_CLUSTER: &str = "multicluster.kubernetes.io/source-cluster";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const ZONE: &str = "topology.kubernetes.io/zone";

/// A value that a person has to correct.
pub(crate) struct Rejection {
    /// Where it stands.
    pub(crate) at: Location,
    /// What is wrong.
    pub(crate) what: String,
    /// What to write instead.
    pub(crate) help: String,
}

/// What only manifests need: strictness, and addresses for Services that have none.
pub(crate) struct Strict {
    /// What was rejected.
    pub(crate) rejected: Vec<Rejection>,
    /// Gives a Service of type ClusterIP without `clusterIP` its addresses.
    pub(crate) allocate: fn(&ObjectName, &[Family]) -> Box<[IpAddr]>,
}

/// `ServiceSpec.ipFamilies`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    /// `IPv4`.
    V4,
    /// `IPv6`.
    V6,
}

/// Turns shapes into objects.
pub(crate) struct Trimmer<'a> {
    /// Where names are shared.
    pub(crate) interner: &'a mut Interner,
    /// Which optional fields to keep.
    pub(crate) needs: &'a Needs,
    /// Set for manifests.
    pub(crate) strict: Option<&'a mut Strict>,
}

impl Trimmer<'_> {
    /// The object of this shape; `None` if it has no name, or is a Pod that does not run.
    pub(crate) fn object<S: Text>(&mut self, shape: &Shape<S>) -> Option<Object> {
        Some(match shape {
            Shape::Service(o) => Object::Service(Arc::new(self.service(o)?)),
            Shape::EndpointSlice(o) => Object::EndpointSlice(Arc::new(self.slice(o)?)),
            Shape::Namespace(o) => {
                let name = self.cluster_scoped(&o.metadata)?;
                let labels = self.labels(Kind::Namespace, &o.metadata);
                Object::Namespace(Arc::new(Namespace { name, labels }))
            }
            Shape::Pod(o) => Object::Pod(Arc::new(self.pod(o)?)),
            Shape::ServiceImport(o) => Object::ServiceImport(Arc::new(self.import(o)?)),
            Shape::Node(o) => Object::Node(Arc::new(self.node(o)?)),
        })
    }

    /// Namespace and name of an object of `kind`, also where its other fields are of no use.
    pub(crate) fn identity<S: Text>(
        &mut self,
        kind: Kind,
        metadata: &Metadata<S>,
    ) -> Option<ObjectName> {
        match kind {
            Kind::Namespace | Kind::Node => {
                self.cluster_scoped(metadata).map(|name| ObjectName::new(Name::default(), name))
            }
            // Names of Services recur in slices; those of slices and pods never do.
            Kind::Service | Kind::ServiceImport => self.namespaced(metadata, Sharing::Shared),
            Kind::EndpointSlice | Kind::Pod => self.namespaced(metadata, Sharing::Unique),
        }
    }

    fn service<S: Text>(&mut self, o: &shape::Service<S>) -> Option<Service> {
        let name = self.identity(Kind::Service, &o.metadata)?;
        self.check_label("Service", &o.metadata);
        let kind = match &o.spec {
            Some(spec) => self.service_kind(&name, spec)?,
            None => ServiceKind::Cluster(self.allocate(&name, &[Family::V4])),
        };
        let ports = o.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        let ports = self.ports(ports);
        let externals = self.externals(o);
        let labels = self.labels(Kind::Service, &o.metadata);
        Some(Service { name, kind, ports, externals, labels })
    }

    /// An ingress with an address is that address, whatever host name stands beside it.
    fn externals<S: Text>(&mut self, o: &shape::Service<S>) -> Box<[External]> {
        if !self.needs.externals {
            return Box::default();
        }
        let mut externals = Vec::new();
        let ips = o.spec.as_ref().and_then(|spec| spec.external_ips.as_deref());
        for ip in ips.unwrap_or_default() {
            externals.extend(self.address(ip).map(External::Address));
        }
        let balancer = o.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref());
        for ingress in ingress.unwrap_or_default() {
            if let Some(ip) = ingress.ip.as_ref().filter(|ip| !ip.text().is_empty()) {
                externals.extend(self.address(ip).map(External::Address));
            } else if let Some(host) = ingress.hostname.as_ref().map(Text::text) {
                let host = host.strip_suffix('.').unwrap_or(host);
                let host = (!host.is_empty()).then(|| self.interner.name(host));
                externals.extend(host.map(External::Host));
            }
        }
        externals.into()
    }

    fn service_kind<S: Text>(
        &mut self,
        name: &ObjectName,
        spec: &shape::ServiceSpec<S>,
    ) -> Option<ServiceKind> {
        match spec.r#type.as_ref().map(Text::text) {
            Some("ExternalName") => {
                let Some(target) = spec.external_name.as_ref().filter(|n| !n.text().is_empty())
                else {
                    let at = spec.r#type.as_ref().map_or(Location::UNKNOWN, Text::place);
                    self.reject(
                        at,
                        "a Service of type ExternalName needs `externalName`".into(),
                        "add `externalName: HOST` under `spec`".into(),
                    );
                    return None;
                };
                let host = target.text();
                return Some(ServiceKind::External(
                    self.interner.name(host.strip_suffix('.').unwrap_or(host)),
                ));
            }
            None | Some("ClusterIP" | "NodePort" | "LoadBalancer") => {}
            Some(unknown) => {
                let at = spec.r#type.as_ref().map_or(Location::UNKNOWN, Text::place);
                let what = format!("`{unknown}` is not a type of Service");
                let help = "write ClusterIP, NodePort, LoadBalancer or ExternalName".into();
                self.reject(at, what, help);
            }
        }
        let single = spec.cluster_ip.as_ref().filter(|ip| !ip.text().is_empty());
        let all = spec.cluster_ips.as_deref().unwrap_or_default();
        if all.first().or(single).is_some_and(|ip| ip.text() == "None") {
            return Some(ServiceKind::Headless);
        }
        let given: Box<[IpAddr]> = if all.is_empty() {
            single.into_iter().filter_map(|ip| self.address(ip)).collect()
        } else {
            all.iter().filter_map(|ip| self.address(ip)).collect()
        };
        if single.is_some() || !all.is_empty() {
            return Some(ServiceKind::Cluster(given));
        }
        let families = self.families(spec);
        Some(ServiceKind::Cluster(self.allocate(name, &families)))
    }

    fn families<S: Text>(&mut self, spec: &shape::ServiceSpec<S>) -> Vec<Family> {
        let mut families = Vec::new();
        for family in spec.ip_families.as_deref().unwrap_or_default() {
            match family.text() {
                "IPv4" => families.push(Family::V4),
                "IPv6" => families.push(Family::V6),
                other => {
                    let what = format!("`{other}` is not an address family");
                    self.reject(family.place(), what, "write IPv4 or IPv6".into());
                }
            }
        }
        if families.is_empty() {
            families.push(Family::V4);
        }
        let dual = spec.ip_family_policy.as_ref().map(Text::text);
        if families.len() == 1 && matches!(dual, Some("PreferDualStack" | "RequireDualStack")) {
            let other = if families == [Family::V4] { Family::V6 } else { Family::V4 };
            families.push(other);
        }
        families
    }

    fn slice<S: Text>(&mut self, o: &shape::EndpointSlice<S>) -> Option<EndpointSlice> {
        let name = self.identity(Kind::EndpointSlice, &o.metadata)?;
        let ports = self.ports(o.ports.as_deref().unwrap_or_default());
        // An FQDN slice holds host names, which no reader of addresses can use.
        let by_name = o.address_type.as_ref().is_some_and(|kind| kind.text() == "FQDN");
        let mut endpoints = Vec::new();
        if !by_name {
            for endpoint in o.endpoints.as_deref().unwrap_or_default() {
                self.endpoint(endpoint, &mut endpoints);
            }
        }
        let triggered = o
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(TRIGGER_TIME))
            .and_then(|time| time.text().parse::<k8s_openapi::jiff::Timestamp>().ok())
            .map(SystemTime::from);
        Some(EndpointSlice {
            name,
            service: self.label(&o.metadata, SERVICE_NAME),
            import: self.label(&o.metadata, IMPORT_NAME),
            cluster_id: self.label(&o.metadata, SOURCE_CLUSTER),
            ports,
            endpoints: endpoints.into(),
            triggered,
            labels: self.labels(Kind::EndpointSlice, &o.metadata),
        })
    }

    fn endpoint<S: Text>(&mut self, o: &shape::Endpoint<S>, endpoints: &mut Vec<Endpoint>) {
        let ready = o.conditions.as_ref().and_then(|all| all.ready).unwrap_or(true);
        let hostname = o.hostname.as_ref().filter(|name| !name.text().is_empty());
        let hostname = hostname.map(|name| self.interner.name(name.text()));
        let pod = o.target_ref.as_ref().and_then(|target| target.name.as_ref()).map(Text::text);
        let pod = pod.filter(|name| (1..64).contains(&name.len()));
        let pod = pod.filter(|_| self.needs.endpoint_pods).map(Name::new);
        let zone = o.zone.as_ref().map(Text::text).filter(|zone| !zone.is_empty());
        let zone = zone.filter(|_| self.needs.endpoint_zones);
        let zone = zone.map(|zone| self.interner.name(&zone.to_lowercase()));
        for address in o.addresses.as_deref().unwrap_or_default() {
            if let Some(address) = self.address(address) {
                endpoints.push(Endpoint {
                    address,
                    ready,
                    hostname: hostname.clone(),
                    pod: pod.clone(),
                    zone: zone.clone(),
                });
            }
        }
    }

    fn pod<S: Text>(&mut self, o: &shape::Pod<S>) -> Option<Pod> {
        let phase = o.status.as_ref().and_then(|status| status.phase.as_ref()).map(Text::text);
        let over = matches!(phase, Some("Succeeded" | "Failed" | "Unknown"));
        if over || o.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let name = self.identity(Kind::Pod, &o.metadata)?;
        let mut addresses = Vec::new();
        if let Some(status) = &o.status {
            let all = status.pod_ips.as_deref().unwrap_or_default();
            for ip in all.iter().filter_map(|ip| ip.ip.as_ref()) {
                addresses.extend(self.address(ip));
            }
            if all.is_empty()
                && let Some(ip) = status.pod_ip.as_ref().filter(|ip| !ip.text().is_empty())
            {
                addresses.extend(self.address(ip));
            }
        }
        let labels = self.labels(Kind::Pod, &o.metadata);
        Some(Pod { name, addresses: addresses.into(), labels })
    }

    fn import<S: Text>(&mut self, o: &shape::ServiceImport<S>) -> Option<ServiceImport> {
        let name = self.identity(Kind::ServiceImport, &o.metadata)?;
        self.check_label("ServiceImport", &o.metadata);
        let spec = o.spec.as_ref();
        let headless = spec
            .and_then(|spec| spec.r#type.as_ref())
            .is_some_and(|kind| kind.text() == "Headless");
        let kind = if headless {
            ServiceKind::Headless
        } else {
            let ips = spec.and_then(|spec| spec.ips.as_deref()).unwrap_or_default();
            ServiceKind::Cluster(ips.iter().filter_map(|ip| self.address(ip)).collect())
        };
        let ports = self.ports(spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default());
        let labels = self.labels(Kind::ServiceImport, &o.metadata);
        Some(ServiceImport { name, kind, ports, labels })
    }

    fn node<S: Text>(&mut self, o: &shape::Node<S>) -> Option<Node> {
        let name = self.cluster_scoped(&o.metadata)?;
        let all = o.status.as_ref().and_then(|status| status.addresses.as_deref());
        let internal = all.unwrap_or_default().iter().filter(|address| {
            address.r#type.as_ref().is_some_and(|kind| kind.text() == "InternalIP")
        });
        let addresses = internal
            .filter_map(|address| address.address.as_ref())
            .filter_map(|address| self.address(address))
            .collect();
        let zone = self.label(&o.metadata, ZONE);
        let all = o.spec.as_ref().and_then(|spec| spec.pod_cidrs.as_deref()).unwrap_or_default();
        let one = o.spec.as_ref().and_then(|spec| spec.pod_cidr.as_ref());
        // Where both are there, the API has the single one first in the list.
        let ranges = if all.is_empty() { one.map(std::slice::from_ref) } else { Some(all) };
        let pod_ranges = ranges
            .unwrap_or_default()
            .iter()
            .filter(|range| !range.text().is_empty())
            .filter_map(|range| self.range(range))
            .collect();
        Some(Node { name, addresses, zone, pod_ranges })
    }
}
