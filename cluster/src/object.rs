//! The nouns: Kubernetes objects, cut down to the fields that somebody here reads.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use ipnetwork::IpNetwork;

use crate::Name;

/// Namespace and name: what identifies a namespaced object of one kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectName {
    /// `metadata.namespace`.
    pub namespace: Name,
    /// `metadata.name`.
    pub name: Name,
}

impl ObjectName {
    /// An identity out of borrowed or owned names.
    pub fn new(namespace: impl Into<Name>, name: impl Into<Name>) -> Self {
        ObjectName { namespace: namespace.into(), name: name.into() }
    }
}

/// `metadata.labels`, sorted by key. Empty when no selector asked for them (see [`crate::Needs`]).
pub type Labels = Box<[(Name, Name)]>;

/// Transport protocol of a port (`ServicePort.protocol`); absent means TCP for a Service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Protocol {
    /// TCP, the API's default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The label of RFC 2782 without its underscore: `tcp`, `udp`, `sctp`.
    pub fn label(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

/// A port of a Service or of an EndpointSlice.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Port {
    /// `name`; `None` for the unnamed port (the API writes absent or empty).
    pub name: Option<Name>,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`; `None` where a slice says "all ports" (`EndpointPort.port` absent).
    pub port: Option<u16>,
}

/// Ports of one object. Most objects of a cluster have the same ones, and share them.
pub type Ports = Arc<[Port]>;

/// What a Service stands for (`ServiceSpec.type` and `ServiceSpec.clusterIPs`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServiceKind {
    /// Virtual addresses, one or two (`clusterIPs`); empty while none is allocated.
    Cluster(Box<[IpAddr]>),
    /// `clusterIP: None`: the endpoints' own addresses.
    Headless,
    /// `ExternalName`: an alias for this host name, without trailing dot as written.
    External(Name),
}

/// Where a Service is reached from outside the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum External {
    /// Of `spec.externalIPs` or `status.loadBalancer.ingress[].ip`.
    Address(IpAddr),
    /// `status.loadBalancer.ingress[].hostname`, without trailing dot.
    Host(Name),
}

/// A Service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Identity.
    pub name: ObjectName,
    /// Cluster addresses, headless, or an alias.
    pub kind: ServiceKind,
    /// `spec.ports`, in the API's order.
    pub ports: Ports,
    /// From outside: `spec.externalIPs`, then the load balancer's, if asked for. Empty for most.
    pub externals: Box<[External]>,
    /// `metadata.labels`, if asked for.
    pub labels: Labels,
}

/// One address of one endpoint of a slice (`Endpoint.addresses` is flattened).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// `conditions.ready`, absent counting as ready (API field's own rule).
    pub ready: bool,
    /// `hostname`.
    pub hostname: Option<Name>,
    /// `targetRef.name` when it fits a DNS label (< 64 octets), if asked for.
    pub pod: Option<Name>,
    /// `zone`, lower-cased, if asked for.
    pub zone: Option<Name>,
}

/// An EndpointSlice (`discovery.k8s.io/v1`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointSlice {
    /// Identity.
    pub name: ObjectName,
    /// Label `kubernetes.io/service-name`.
    pub service: Option<Name>,
    /// Label `multicluster.kubernetes.io/service-name`: the ServiceImport it belongs to.
    pub import: Option<Name>,
    /// Label `multicluster.kubernetes.io/source-cluster`.
    pub cluster_id: Option<Name>,
    /// `ports`; empty means no port is known.
    pub ports: Ports,
    /// `endpoints`, flattened to single addresses, in the API's order.
    pub endpoints: Box<[Endpoint]>,
    /// Annotation `endpoints.kubernetes.io/last-change-trigger-time`.
    pub triggered: Option<SystemTime>,
    /// `metadata.labels`, if asked for.
    pub labels: Labels,
}

/// A Namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// `metadata.name`.
    pub name: Name,
    /// `metadata.labels`, if asked for.
    pub labels: Labels,
}

/// A Pod that runs (neither finished nor unknown) and is not being deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pod {
    /// Identity.
    pub name: ObjectName,
    /// `status.podIPs`.
    pub addresses: Box<[IpAddr]>,
    /// `metadata.labels`, if asked for.
    pub labels: Labels,
}

/// A ServiceImport (`multicluster.x-k8s.io/v1alpha1`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceImport {
    /// Identity.
    pub name: ObjectName,
    /// `spec.ips` under [`ServiceKind::Cluster`] for `ClusterSetIP`, or headless.
    pub kind: ServiceKind,
    /// `spec.ports`.
    pub ports: Ports,
    /// `metadata.labels`, if asked for.
    pub labels: Labels,
}

/// A Node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// `metadata.name`.
    pub name: Name,
    /// `status.addresses` of type `InternalIP`.
    pub addresses: Box<[IpAddr]>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<Name>,
    /// `spec.podCIDRs`, or else `spec.podCIDR`, with the bits below the prefix cleared.
    pub pod_ranges: Box<[IpNetwork]>,
}
