//! What a reader sees: one consistent state of the cluster, and what changed since the last one.

use std::{
    hash::BuildHasher,
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    event::{KindSet, ObjectKey},
    name::Name,
    object::{EndpointSlice, Namespace, Node, ObjectName, Pod, Service, ServiceImport},
};

/// Seeded anew for each map: tenants choose the keys.
pub(crate) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Spreads keys over shards. Seeded once per process, and apart from the maps inside, else a shard's
/// keys would crowd into few buckets.
static SPREAD: LazyLock<FixedState> = LazyLock::new(|| {
    FixedState::with_seed(foldhash::fast::RandomState::default().hash_one("shards"))
});

/// Everything that is known under one Service name: the Service, the ServiceImport of the same
/// name, and the slices that point at either.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ServiceState {
    /// The Service; `None` while only slices or an import are known.
    pub service: Option<Arc<Service>>,
    /// The ServiceImport of this name.
    pub import: Option<Arc<ServiceImport>>,
    /// Slices whose label `kubernetes.io/service-name` or `multicluster.kubernetes.io/service-name`
    /// names this Service, by slice name.
    pub slices: Vec<Arc<EndpointSlice>>,
}

impl ServiceState {
    /// Slices of the Service `name` itself, by slice name.
    pub fn own_slices<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a EndpointSlice> {
        self.slices.iter().map(Arc::as_ref).filter(|slice| slice.service.as_ref() == Some(name))
    }

    /// Slices of the ServiceImport `name`, by slice name.
    pub fn import_slices<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a EndpointSlice> {
        self.slices.iter().map(Arc::as_ref).filter(|slice| slice.import.as_ref() == Some(name))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.service.is_none() && self.import.is_none() && self.slices.is_empty()
    }
}

/// A map split into shards that snapshots share: a change copies the shards it touches only.
#[derive(Clone, Debug)]
pub struct Shards<K, V>(Arc<[Arc<Map<K, V>>]>);

impl<K: std::hash::Hash + Eq + Clone, V: Clone> Shards<K, V> {
    const COUNT: usize = 256;

    pub(crate) fn new() -> Self {
        let empty = Arc::new(Map::default());
        Shards(std::iter::repeat_n(empty, Self::COUNT).collect())
    }

    fn at<Q: std::hash::Hash + ?Sized>(key: &Q) -> usize {
        let hash = SPREAD.hash_one(key);
        (hash >> 32) as usize % Self::COUNT
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0[Self::at(key)].get(key)
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().flat_map(|shard| shard.iter())
    }

    /// Entries held. O(shards).
    pub fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.len()).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|shard| shard.is_empty())
    }

    pub(crate) fn shard_mut(&mut self, key: &K) -> &mut Map<K, V> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.0)[Self::at(key)])
    }
}

/// One state of the cluster. Immutable; cheap to hold, but hold it briefly: the store copies the
/// shards that a held snapshot still shares.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counts batches that changed something, from 0 (nothing known).
    pub revision: u64,
    /// When `revision` was made.
    pub changed_at: SystemTime,
    /// Kinds listed completely at least once.
    pub synced: KindSet,
    /// Kinds of which a complete list is coming in. While one is, and before all are synced, a
    /// follower may put off what it would do again and again: it is told when no more comes, or
    /// when nobody waits any longer ([`Delta::list_failed`]).
    pub listing: KindSet,
    /// Services, imports and slices by Service name.
    pub services: Shards<ObjectName, Arc<ServiceState>>,
    /// Namespaces by name.
    pub namespaces: Arc<Map<Name, Arc<Namespace>>>,
    /// Pods by identity.
    pub pods: Shards<ObjectName, Arc<Pod>>,
    /// Nodes by name.
    pub nodes: Arc<Map<Name, Arc<Node>>>,
}

impl Snapshot {
    pub(crate) fn empty() -> Self {
        Snapshot {
            revision: 0,
            changed_at: SystemTime::now(),
            synced: KindSet::default(),
            listing: KindSet::default(),
            services: Shards::new(),
            namespaces: Arc::default(),
            pods: Shards::new(),
            nodes: Arc::default(),
        }
    }
}

/// What differs between two consecutive snapshots: names to look up in both.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// Service names whose [`ServiceState`] changed, came or went; each once.
    pub services: Vec<ObjectName>,
    /// Namespaces that came, went or changed labels.
    pub namespaces: Vec<Name>,
    /// Pods that came, went or changed.
    pub pods: Vec<ObjectName>,
    /// Nodes that came, went or changed.
    pub nodes: Vec<Name>,
    /// Whether [`Snapshot::synced`] grew.
    pub synced: bool,
    /// Whether a first list broke off or took too long: nothing is to be put off any more.
    pub list_failed: bool,
}

impl Delta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.namespaces.is_empty()
            && self.pods.is_empty()
            && self.nodes.is_empty()
            && !self.synced
            && !self.list_failed
    }

    /// Successive deltas as one.
    pub fn sum(deltas: impl IntoIterator<Item = Delta>) -> Delta {
        let mut sum = Delta::default();
        for delta in deltas {
            sum.services.extend(delta.services);
            sum.namespaces.extend(delta.namespaces);
            sum.pods.extend(delta.pods);
            sum.nodes.extend(delta.nodes);
            sum.synced |= delta.synced;
            sum.list_failed |= delta.list_failed;
        }
        sum.tidy();
        sum
    }

    /// The delta from the empty snapshot to `snapshot`: what a new follower is told first.
    pub fn of_everything(snapshot: &Snapshot) -> Self {
        Delta {
            services: snapshot.services.iter().map(|(key, _)| key.clone()).collect(),
            namespaces: snapshot.namespaces.keys().cloned().collect(),
            pods: snapshot.pods.iter().map(|(key, _)| key.clone()).collect(),
            nodes: snapshot.nodes.keys().cloned().collect(),
            synced: true,
            list_failed: false,
        }
    }

    pub(crate) fn tidy(&mut self) {
        self.services.sort_unstable();
        self.services.dedup();
        self.namespaces.sort_unstable();
        self.namespaces.dedup();
        self.pods.sort_unstable();
        self.pods.dedup();
        self.nodes.sort_unstable();
        self.nodes.dedup();
    }

    pub(crate) fn touch(&mut self, key: &ObjectKey) {
        match key.kind {
            crate::Kind::Namespace => self.namespaces.push(key.name.name.clone()),
            crate::Kind::Node => self.nodes.push(key.name.name.clone()),
            crate::Kind::Pod => self.pods.push(key.name.clone()),
            // Slices are touched through the Service they belong to, which the store knows.
            crate::Kind::Service | crate::Kind::ServiceImport | crate::Kind::EndpointSlice => {
                self.services.push(key.name.clone());
            }
        }
    }
}
