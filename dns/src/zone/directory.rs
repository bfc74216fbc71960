//! The directory: one immutable state of everything that a `kubernetes` block answers from.

use std::{net::IpAddr, sync::Arc};

use hashbrown::HashSet;

use super::{
    external::Externals,
    group::Group,
    reverse::{self, Reverse},
    shard::Shards,
};

/// A set of folded labels.
pub type LabelSet = HashSet<Box<[u8]>, foldhash::fast::RandomState>;

/// One state of the tables. Readers hold it for one batch of questions at most.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// Services, by group key.
    pub services: Shards,
    /// ServiceImports, by group key.
    pub imports: Shards,
    /// PTR records, by address octets.
    pub reverse: Shards,
    /// Namespaces of running pods, by address octets (mode `verified` only).
    pub pods: Shards,
    /// Namespaces that exist and are shown, folded.
    pub namespaces: Arc<LabelSet>,
    /// NS records: relative wire name of the server (without root) and its address.
    pub servers: Arc<[(Vec<u8>, IpAddr)]>,
    /// SOA serial of the cluster's zones: Unix time of the last change of a record.
    pub serial: u32,
    /// SOA serial of the cluster set's zones.
    pub import_serial: u32,
    /// What `k8s_external` answers from; empty without one.
    pub external: Externals,
    /// Whether the cluster was listed completely: before that nothing is known not to exist.
    pub synced: bool,
}

impl Directory {
    /// The group of a Service (`\x03web\x04shop`).
    pub fn service(&self, key: &[u8]) -> Option<Group<'_>> {
        self.services.get(key).map(Group::at)
    }

    /// The group of a ServiceImport.
    pub fn import(&self, key: &[u8]) -> Option<Group<'_>> {
        self.imports.get(key).map(Group::at)
    }

    /// What belongs to an address, given as its octets.
    pub fn address(&self, octets: &[u8]) -> Option<Reverse<'_>> {
        self.reverse.get(octets).map(Reverse::at)
    }

    /// Whether a pod in `namespace` (a folded label) has the address.
    pub fn has_pod(&self, octets: &[u8], namespace: &[u8]) -> bool {
        self.pods
            .get(octets)
            .is_some_and(|entry| Reverse::at(entry).items().any(|(_, name)| name == namespace))
    }

    /// The namespace (a folded label) of the pods that have the address. `None` if there are none, or
    /// they are in several, or not all pods are known yet.
    pub fn namespace_of(&self, address: IpAddr) -> Option<&[u8]> {
        let key = reverse::key(address.to_canonical());
        let entry = self.pods.get(key.as_slice()).filter(|_| self.synced)?;
        let mut namespaces = Reverse::at(entry).items().map(|(_, namespace)| namespace);
        let first = namespaces.next()?;
        namespaces.all(|other| other == first).then_some(first)
    }

    /// Names that the directory answers for, without reverse names. O(size).
    pub fn names(&self) -> usize {
        self.services.entries().chain(self.imports.entries()).map(|e| Group::at(e).len()).sum()
    }

    /// Octets of heap taken by all tables. O(shards).
    pub fn heap(&self) -> usize {
        let external = self.external.services.heap() + self.external.reverse.heap();
        let of_addresses = self.reverse.heap() + self.pods.heap();
        self.services.heap() + self.imports.heap() + of_addresses + external
    }
}
