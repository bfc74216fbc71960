//! Where foreign objects become ours: the one meaning of the fields, for the API and for manifests.
//!
//! The API was validated by its server, so what is odd there is skipped; in a manifest a person
//! wrote it, so it is rejected with its place. This module never reads bytes and never decides what
//! an object means to DNS, lb or policy.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use daymark_cluster::{
    Endpoint, EndpointSlice, Interner, Kind, Labels, Name, Namespace, Needs, Node, ObjectName, Pod,
    Port, Ports, Protocol, Service, ServiceImport, ServiceKind, event::Object,
};
use serde_saphyr::Location;

use self::shape::{Metadata, Shape, Text};

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
        Some(Service { name, kind, ports, labels: self.labels(Kind::Service, &o.metadata) })
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
        Some(Node { name, addresses, zone })
    }

    fn ports<S: Text>(&mut self, ports: &[shape::Port<S>]) -> Ports {
        let mut trimmed = Vec::with_capacity(ports.len());
        for port in ports {
            let protocol = match port.protocol.as_ref().map(Text::text) {
                None | Some("" | "TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                Some(other) => {
                    let what = format!("`{other}` is not a protocol of a port");
                    let at = port.protocol.as_ref().map_or(Location::UNKNOWN, Text::place);
                    self.reject(at, what, "write TCP, UDP or SCTP, in capitals".into());
                    continue;
                }
            };
            let name = port.name.as_ref().map(Text::text).filter(|name| !name.is_empty());
            let name = name.map(|name| self.interner.name(name));
            let number = port.port.as_ref().and_then(|port| port.value.port());
            if let Some(written) = port.port.as_ref().filter(|_| number.is_none()) {
                let what = format!("`{}` is not a port", written.value);
                self.reject(written.referenced, what, "write a number from 1 to 65535".into());
            }
            trimmed.push(Port { name, protocol, port: number });
        }
        self.interner.ports(&trimmed)
    }

    fn labels<S: Text>(&mut self, kind: Kind, metadata: &Metadata<S>) -> Labels {
        if !self.needs.labels.contains(kind) {
            return Labels::default();
        }
        let pairs = metadata.labels.as_ref().map(|pairs| pairs.0.as_slice()).unwrap_or_default();
        let mut labels: Vec<(Name, Name)> = pairs
            .iter()
            .map(|(k, v)| (self.interner.name(k.text()), self.interner.name(v.text())))
            .collect();
        labels.sort_unstable();
        labels.into()
    }

    fn label<S: Text>(&mut self, metadata: &Metadata<S>, key: &str) -> Option<Name> {
        let value = metadata.labels.as_ref()?.get(key)?;
        (!value.text().is_empty()).then(|| self.interner.name(value.text()))
    }

    fn cluster_scoped<S: Text>(&mut self, metadata: &Metadata<S>) -> Option<Name> {
        let name = metadata.name.as_ref().map(Text::text).filter(|name| !name.is_empty());
        name.map(|name| self.interner.name(name))
    }

    fn namespaced<S: Text>(
        &mut self,
        metadata: &Metadata<S>,
        sharing: Sharing,
    ) -> Option<ObjectName> {
        let name = metadata.name.as_ref().map(Text::text).filter(|name| !name.is_empty())?;
        let namespace = metadata.namespace.as_ref().map(Text::text);
        // kubectl's own rule for a manifest that names none.
        let namespace = namespace.filter(|name| !name.is_empty()).unwrap_or("default");
        let namespace = self.interner.name(namespace);
        let name = match sharing {
            Sharing::Shared => self.interner.name(name),
            Sharing::Unique => Name::new(name),
        };
        Some(ObjectName { namespace, name })
    }

    fn allocate(&self, name: &ObjectName, families: &[Family]) -> Box<[IpAddr]> {
        match &self.strict {
            Some(strict) => (strict.allocate)(name, families),
            None => Box::default(),
        }
    }

    fn address<S: Text>(&mut self, text: &S) -> Option<IpAddr> {
        let address = parse_address(text.text());
        if address.is_none() {
            let what = format!("`{}` is not an IP address", text.text());
            let help =
                "write an IPv4 address such as 10.96.0.20 or an IPv6 address such as fd00::20";
            self.reject(text.place(), what, help.into());
        }
        address
    }

    /// A Service's name is a label of DNS (RFC 1035 §2.3.1); the API refuses others.
    fn check_label<S: Text>(&mut self, kind: &str, metadata: &Metadata<S>) {
        let Some(name) = &metadata.name else { return };
        let text = name.text();
        let fits = text.len() < 64
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits {
            let what = format!("`{text}` cannot name a {kind}");
            let help = "use at most 63 lower-case letters, digits and dashes, \
                        beginning and ending with a letter or digit";
            self.reject(name.place(), what, help.into());
        }
    }

    fn reject(&mut self, at: Location, what: String, help: String) {
        if let Some(strict) = &mut self.strict {
            strict.rejected.push(Rejection { at, what, help });
        }
    }
}

enum Sharing {
    Shared,
    Unique,
}

/// An address as Kubernetes reads it: leading zeros are decimal (its `ParseIPSloppy`), and an IPv4
/// address mapped into IPv6 is the IPv4 address.
fn parse_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?;
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then_some(IpAddr::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_kubernetes_reads_them() {
        for (text, want) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("010.000.0.001", Some("10.0.0.1")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("fd00::1", Some("fd00::1")),
            ("10.0.0", None),
            ("10.0.0.0.1", None),
            ("10.0.0.256", None),
            ("10.0.0.+1", None),
            ("", None),
        ] {
            assert_eq!(parse_address(text), want.map(|ip| ip.parse().unwrap()), "{text}");
        }
    }
}
