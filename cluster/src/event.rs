//! What a source says about the cluster, and what it is asked to say.

use std::sync::Arc;

use crate::object::{EndpointSlice, Namespace, Node, ObjectName, Pod, Service, ServiceImport};

/// The kinds of object that a store can hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `v1` Namespace.
    Namespace,
    /// `v1` Pod.
    Pod,
    /// `multicluster.x-k8s.io/v1alpha1` ServiceImport.
    ServiceImport,
    /// `v1` Node.
    Node,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] = [
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Namespace,
        Kind::Pod,
        Kind::ServiceImport,
        Kind::Node,
    ];

    /// The API's plural, for logs and metrics: `services`, `endpointslices`, …
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Service => "services",
            Kind::EndpointSlice => "endpointslices",
            Kind::Namespace => "namespaces",
            Kind::Pod => "pods",
            Kind::ServiceImport => "serviceimports",
            Kind::Node => "nodes",
        }
    }
}

/// A set of [`Kind`]s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct KindSet(u8);

impl KindSet {
    /// Whether `kind` is in the set.
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The set with `kind` in it.
    #[must_use]
    pub fn with(self, kind: Kind) -> Self {
        KindSet(self.0 | (1 << kind as u8))
    }

    /// What is in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        KindSet(self.0 | other.0)
    }

    /// Whether all of `other` is in `self`.
    pub fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The kinds in it, in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl FromIterator<Kind> for KindSet {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(KindSet::default(), KindSet::with)
    }
}

/// What the readers of one store need: the union over all of them decides what a source watches
/// and which optional fields it keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Needs {
    /// Kinds to watch.
    pub kinds: KindSet,
    /// Keep `metadata.labels` of these kinds.
    pub labels: KindSet,
    /// Keep [`crate::Endpoint::pod`].
    pub endpoint_pods: bool,
    /// Keep [`crate::Endpoint::zone`].
    pub endpoint_zones: bool,
    /// Keep [`crate::Service::externals`].
    pub externals: bool,
}

impl Needs {
    /// What either asks for.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Needs {
            kinds: self.kinds.union(other.kinds),
            labels: self.labels.union(other.labels),
            endpoint_pods: self.endpoint_pods || other.endpoint_pods,
            endpoint_zones: self.endpoint_zones || other.endpoint_zones,
            externals: self.externals || other.externals,
        }
    }
}

/// The identity of an object of any kind. Cluster-scoped ones have an empty namespace.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub name: ObjectName,
}

/// An object of any kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Object {
    /// A Service.
    Service(Arc<Service>),
    /// An EndpointSlice.
    EndpointSlice(Arc<EndpointSlice>),
    /// A Namespace.
    Namespace(Arc<Namespace>),
    /// A Pod.
    Pod(Arc<Pod>),
    /// A ServiceImport.
    ServiceImport(Arc<ServiceImport>),
    /// A Node.
    Node(Arc<Node>),
}

impl Object {
    /// Its identity.
    pub fn key(&self) -> ObjectKey {
        let cluster_scoped = |name| ObjectName { namespace: Default::default(), name };
        let (kind, name) = match self {
            Object::Service(o) => (Kind::Service, o.name.clone()),
            Object::EndpointSlice(o) => (Kind::EndpointSlice, o.name.clone()),
            Object::Namespace(o) => (Kind::Namespace, cluster_scoped(o.name.clone())),
            Object::Pod(o) => (Kind::Pod, o.name.clone()),
            Object::ServiceImport(o) => (Kind::ServiceImport, o.name.clone()),
            Object::Node(o) => (Kind::Node, cluster_scoped(o.name.clone())),
        };
        ObjectKey { kind, name }
    }
}

/// One thing that a source saw.
#[derive(Clone, Debug)]
pub enum Event {
    /// The object is there and looks like this.
    Apply {
        /// The object, trimmed.
        object: Object,
        /// `metadata.resourceVersion` as a number, 0 where the source has none. An object with a
        /// lower version than the one held is ignored (KEP-5504: versions are comparable).
        version: u64,
    },
    /// The object is gone.
    Delete {
        /// Which.
        key: ObjectKey,
        /// Version of the deletion, 0 where the source has none; an older one is ignored.
        version: u64,
    },
    /// A complete list of this kind begins: what is not applied before [`Event::ListDone`] goes.
    ListStart(Kind),
    /// The list is complete: objects not seen since its start are removed; the kind is synced.
    ListDone(Kind),
    /// The list of this kind that began broke off: nothing goes, and what came counts.
    ListFailed(Kind),
}
