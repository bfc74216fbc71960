//! How one `kubernetes` block looks at the cluster: its options, as far as they shape records.

use std::{collections::BTreeSet, net::IpAddr};

use daymark_cluster::{Kind, KindSet, Labels, Needs, Selector};

use crate::wire::name;

/// How `a-b-c-d.NS.pod.ZONE` is answered (option `pods`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PodMode {
    /// Never: NXDOMAIN.
    #[default]
    Disabled,
    /// For any address, if the namespace exists.
    Insecure,
    /// If a pod in that namespace has the address.
    Verified,
}

/// A zone that the block serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone {
    /// Folded wire form.
    pub wire: Vec<u8>,
    /// Labels, root not counted.
    pub labels: usize,
    /// What is served under it.
    pub kind: ZoneKind,
}

/// What a zone holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZoneKind {
    /// Services and pods of this cluster.
    Cluster,
    /// ServiceImports (option `multicluster`).
    ClusterSet,
    /// `in-addr.arpa`, `ip6.arpa` or a part of them.
    Reverse,
}

impl Zone {
    /// A zone from its name in presentation form. `None` if that is no domain name.
    pub fn new(text: &str, kind: ZoneKind) -> Option<Self> {
        Some(Zone::of(name::from_text(text)?, kind))
    }

    /// A zone from its name in folded wire form.
    pub fn of(wire: Vec<u8>, kind: ZoneKind) -> Self {
        Zone { labels: name::count_labels(&wire), wire, kind }
    }
}

/// Which Services have names outside the cluster's zones: those with external addresses, and more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExternalNames {
    /// Headless Services and endpoints, of Services without external addresses.
    pub headless: bool,
}

/// A view: the zones and options of one `kubernetes` block.
#[derive(Clone, Debug)]
pub struct View {
    /// Zones, most labels first, so that the first match is the longest.
    pub zones: Vec<Zone>,
    primary: Option<Vec<u8>>,
    /// TTL of records in seconds, 0..=3600.
    pub ttl: u32,
    /// How pod names are answered.
    pub pods: PodMode,
    /// Only these namespaces, if not empty (lower-cased).
    pub namespaces: BTreeSet<String>,
    /// Only namespaces with these labels.
    pub namespace_selector: Option<Selector>,
    /// Only Services, slices and pods with these labels.
    pub selector: Option<Selector>,
    /// Name endpoints after their pod where they have no hostname.
    pub endpoint_pod_names: bool,
    /// Whether endpoints are published (`noendpoints` says not).
    pub endpoints: bool,
    /// ClusterIP Services without a ready address do not exist.
    pub ignore_empty: bool,
    /// Zone-scoped names below headless Services.
    pub zonal: bool,
    /// What Services are called outside the cluster, for `k8s_external`.
    pub external: Option<ExternalNames>,
    /// The server's own non-loopback addresses, for NS records.
    pub own_addresses: Vec<IpAddr>,
}

impl View {
    /// A view of `zones` in the block's order, with CoreDNS's defaults.
    pub fn new(mut zones: Vec<Zone>) -> Self {
        let forward = zones.iter().find(|zone| zone.kind != ZoneKind::Reverse);
        let primary = forward.map(|zone| zone.wire.clone());
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.labels));
        View {
            zones,
            primary,
            ttl: 5,
            pods: PodMode::Disabled,
            namespaces: BTreeSet::new(),
            namespace_selector: None,
            selector: None,
            endpoint_pod_names: false,
            endpoints: true,
            ignore_empty: false,
            zonal: false,
            external: None,
            own_addresses: Vec::new(),
        }
    }

    /// Whether ServiceImports are served.
    pub fn multicluster(&self) -> bool {
        self.zones.iter().any(|zone| zone.kind == ZoneKind::ClusterSet)
    }

    /// What a source must watch and keep for this view.
    pub fn needs(&self) -> Needs {
        let mut kinds: KindSet = [Kind::Service, Kind::Namespace].into_iter().collect();
        if self.endpoints {
            kinds = kinds.with(Kind::EndpointSlice);
        }
        if self.pods == PodMode::Verified {
            kinds = kinds.with(Kind::Pod);
        }
        if self.multicluster() {
            kinds = kinds.with(Kind::ServiceImport).with(Kind::EndpointSlice);
        }
        let mut labels = KindSet::default();
        if self.namespace_selector.is_some() {
            labels = labels.with(Kind::Namespace).with(Kind::ServiceImport);
        }
        if self.selector.is_some() {
            labels = [Kind::Service, Kind::EndpointSlice, Kind::Pod]
                .into_iter()
                .fold(labels, KindSet::with);
        }
        Needs {
            kinds,
            labels,
            endpoint_pods: self.endpoint_pod_names,
            endpoint_zones: self.zonal,
            externals: self.external.is_some(),
        }
    }

    /// The first zone that is not a reverse one, folded wire form: PTR records point into it.
    pub fn primary_zone(&self) -> Option<&[u8]> {
        self.primary.as_deref()
    }

    /// Whether objects with these labels are shown.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }

    /// Whether the option `namespaces` allows this one.
    pub fn lists_namespace(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }

    /// Seconds a negative answer may be cached and TTL of the SOA record: min(ttl, 300) (RFC 2308
    /// §5 bounds it by the record's own TTL; the cap is CoreDNS's).
    pub fn soa_ttl(&self) -> u32 {
        self.ttl.min(300)
    }
}
