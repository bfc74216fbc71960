//! Follows the cluster and publishes directories: the compiler between snapshots and answers.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::{ArcSwap, Guard};
use daymark_cluster::{
    Delta, KindSet, Name, ObjectName, Pod, ServiceKind, ServiceState, Snapshot, store::Follow,
};

use super::{
    compile,
    directory::Directory,
    edits::Edits,
    external,
    group::GroupDraft,
    reverse::{self, Reverse},
    shard::{KeyHash, Shards},
    view::{ExternalNames, PodMode, View},
};

/// The published directory of one view. Cheap to clone; reading takes no lock.
#[derive(Clone)]
pub struct Table {
    /// The view it is compiled for.
    pub view: Arc<View>,
    current: Arc<ArcSwap<Directory>>,
}

impl Table {
    /// An empty table and the follower that fills it.
    pub fn new(view: View) -> (Table, Box<dyn Follow>) {
        let wanted = view.needs().kinds;
        let table = Table {
            view: Arc::new(view),
            current: Arc::new(ArcSwap::from_pointee(Directory::default())),
        };
        let compiler = Compiler { table: table.clone(), wanted, put_off: None, impatient: false };
        (table, Box::new(compiler))
    }

    /// The current directory; hold it for one question or one batch.
    pub fn load(&self) -> Guard<Arc<Directory>> {
        self.current.load()
    }
}

struct Compiler {
    table: Table,
    wanted: KindSet,
    /// What was put off, and the snapshot that it changes.
    put_off: Option<(Snapshot, Vec<Delta>)>,
    /// A first list broke off or took too long.
    impatient: bool,
}

impl Follow for Compiler {
    /// While the first lists come in, in thousands of objects at a time, each Service would be
    /// compiled for itself and for its slices and each shard rebuilt for every batch, for a table
    /// that is not complete before the last of them. So it waits until no more is coming, or a list
    /// fails.
    fn follow(&mut self, previous: &Snapshot, next: &Snapshot, delta: &Delta) {
        let complete = next.synced.covers(self.wanted);
        let coming = self.wanted.iter().any(|kind| next.listing.contains(kind));
        self.impatient |= delta.list_failed;
        if !complete && coming && !self.impatient {
            let (_, deltas) = self.put_off.get_or_insert_with(|| (previous.clone(), Vec::new()));
            deltas.push(delta.clone());
            return;
        }
        match self.put_off.take() {
            Some((previous, mut deltas)) => {
                deltas.push(delta.clone());
                self.compile(&previous, next, &Delta::sum(deltas));
            }
            None => self.compile(previous, next, delta),
        }
    }
}

impl Compiler {
    fn compile(&self, previous: &Snapshot, next: &Snapshot, delta: &Delta) {
        let mut directory = Directory::clone(&self.table.load());
        let change = SnapshotChange { view: &self.table.view, previous, next };
        let touched = change.services(delta);
        if change.groups(&touched, compile::service, &mut directory.services) {
            directory.serial = unix_time(next.changed_at);
        }
        if self.table.view.multicluster()
            && change.groups(&touched, compile::import, &mut directory.imports)
        {
            directory.import_serial = unix_time(next.changed_at);
        }
        if change.reverse(&touched, compile::addresses).apply(&mut directory.reverse) {
            directory.serial = unix_time(next.changed_at);
        }
        if self.table.view.pods == PodMode::Verified {
            change.pods(delta).apply(&mut directory.pods);
        }
        if !delta.namespaces.is_empty() {
            directory.namespaces = Arc::new(change.namespaces());
        }
        directory.servers = change.servers(&directory.reverse);
        if let Some(names) = self.table.view.external {
            let addresses = change.external_servers(&directory.reverse, names);
            let external = &mut directory.external;
            external.servers = addresses;
            let services = change.groups(&touched, external::service, &mut external.services);
            let edits = change.reverse(&touched, external::addresses);
            if edits.apply(&mut external.reverse) | services || external.serial == 0 {
                external.serial = unix_time(next.changed_at);
            }
        }
        directory.synced = next.synced.covers(self.wanted);
        if directory.serial == 0 {
            directory.serial = unix_time(next.changed_at);
            directory.import_serial = directory.serial;
        }
        self.table.current.store(Arc::new(directory));
    }
}

/// Two successive snapshots, seen through a view.
struct SnapshotChange<'a> {
    view: &'a View,
    previous: &'a Snapshot,
    next: &'a Snapshot,
}

type Rule = fn(&ObjectName, &ServiceState, &View) -> Option<GroupDraft>;
type AddressRule = fn(&ObjectName, &ServiceState, &View) -> Vec<(IpAddr, u8, Vec<u8>)>;

impl SnapshotChange<'_> {
    /// Service names to compile anew. Where namespaces are chosen by label, a namespace that changed
    /// takes all of its Services with it.
    fn services(&self, delta: &Delta) -> Vec<ObjectName> {
        let mut touched = delta.services.clone();
        if self.view.namespace_selector.is_some() && !delta.namespaces.is_empty() {
            let of_changed =
                |name: &&ObjectName| delta.namespaces.binary_search(&name.namespace).is_ok();
            for snapshot in [self.previous, self.next] {
                touched.extend(
                    snapshot.services.iter().map(|(name, _)| name).filter(of_changed).cloned(),
                );
            }
            touched.sort_unstable();
            touched.dedup();
        }
        touched
    }

    fn groups(&self, touched: &[ObjectName], rule: Rule, table: &mut Shards) -> bool {
        let key = |name: &ObjectName| compile::group_key(name);
        let encoded = |name: &ObjectName| {
            let state = self.next.services.get(name).filter(|_| self.shows(&name.namespace))?;
            let mut octets = Vec::new();
            rule(name, state, self.view)?.encode(&mut octets);
            Some(octets)
        };
        table.apply(
            touched,
            |name| key(name).map(|key| KeyHash::of(&key)),
            |name, _| Some((key(name)?, encoded(name))),
        )
    }

    /// Whether a namespace's Services are shown. Unless labels decide, a Service vouches for its
    /// namespace: the two arrive over different watches.
    fn shows(&self, namespace: &Name) -> bool {
        if !self.view.lists_namespace(namespace) {
            return false;
        }
        let Some(selector) = &self.view.namespace_selector else { return true };
        self.next.namespaces.get(namespace).is_some_and(|found| selector.matches(&found.labels))
    }

    fn namespaces(&self) -> super::directory::LabelSet {
        self.next
            .namespaces
            .keys()
            .filter(|name| self.shows(name))
            .map(|name| name.to_ascii_lowercase().into_bytes().into_boxed_slice())
            .collect()
    }

    fn reverse(&self, touched: &[ObjectName], rule: AddressRule) -> Edits {
        let mut edits = Edits::default();
        for name in touched {
            let of = |snapshot: &Snapshot| {
                let state = snapshot.services.get(name);
                state.map(|state| rule(name, state, self.view)).unwrap_or_default()
            };
            let (before, after) = (of(self.previous), of(self.next));
            for (address, rank, target) in before.iter().filter(|i| after.binary_search(i).is_err())
            {
                edits.remove(*address, *rank, target);
            }
            for (address, rank, target) in after.iter().filter(|i| before.binary_search(i).is_err())
            {
                edits.add(*address, *rank, target);
            }
        }
        edits
    }

    fn pods(&self, delta: &Delta) -> Edits {
        let mut edits = Edits::default();
        let shown = |snapshot: &Snapshot, name: &ObjectName| -> Option<Arc<Pod>> {
            let pod = snapshot.pods.get(name)?;
            self.view.selects(&pod.labels).then(|| Arc::clone(pod))
        };
        for name in &delta.pods {
            let namespace = name.namespace.to_ascii_lowercase().into_bytes();
            let (before, after) = (shown(self.previous, name), shown(self.next, name));
            for address in before.iter().flat_map(|pod| &pod.addresses) {
                edits.remove(*address, 0, &namespace);
            }
            for address in after.iter().flat_map(|pod| &pod.addresses) {
                edits.add(*address, 0, &namespace);
            }
        }
        edits
    }

    /// NS records: the Services whose endpoints include one of the server's own addresses, by their
    /// cluster addresses (headless: their endpoints' names); without any, `ns.dns` with the own ones.
    fn servers(&self, reverse: &Shards) -> Arc<[(Vec<u8>, IpAddr)]> {
        let mut servers = Vec::new();
        let own = self.own_endpoints(reverse);
        for target in &own {
            self.servers_behind(target, &mut servers);
        }
        if own.is_empty() {
            let own = self.view.own_addresses.iter();
            servers.extend(own.map(|address| (b"\x02ns\x03dns".to_vec(), *address)));
        }
        servers.sort_unstable();
        servers.dedup();
        servers.into()
    }

    /// Addresses of the name server outside the cluster: those of the Services whose endpoints include
    /// one of the server's own addresses, seen from outside; without any, the own ones.
    fn external_servers(&self, reverse: &Shards, names: ExternalNames) -> Arc<[IpAddr]> {
        let own = self.own_endpoints(reverse);
        let mut servers = Vec::new();
        for (name, state) in own.iter().filter_map(|target| self.behind(target)) {
            let Some(service) = &state.service else { continue };
            if names.headless && service.kind == ServiceKind::Headless {
                let all = compile::addresses(&name, state, self.view);
                servers.extend(all.into_iter().map(|(address, ..)| address));
            } else {
                servers.extend(external::addresses_of(&service.externals));
            }
        }
        if own.is_empty() {
            servers.clone_from(&self.view.own_addresses);
        }
        servers.sort_unstable();
        servers.dedup();
        servers.into()
    }

    /// Relative names of the endpoints that have one of the server's own addresses.
    fn own_endpoints<'r>(&self, reverse: &'r Shards) -> Vec<&'r [u8]> {
        let entry = |own: &IpAddr| reverse.get(reverse::key(*own).as_slice());
        let entries = self.view.own_addresses.iter().filter_map(entry);
        let items = entries.flat_map(|entry| Reverse::at(entry).items());
        items.filter(|(rank, _)| *rank == reverse::OF_ENDPOINT).map(|(_, target)| target).collect()
    }

    /// The Service that an endpoint's name belongs to.
    fn behind(&self, target: &[u8]) -> Option<(ObjectName, &ServiceState)> {
        let labels = crate::wire::name::labels(target);
        let [.., service, namespace] = labels.as_slice() else { return None };
        let text = |label: &[u8]| Name::new(&String::from_utf8_lossy(label));
        let name = ObjectName { namespace: text(namespace), name: text(service) };
        let state = self.next.services.get(&name)?;
        Some((name, state))
    }

    fn servers_behind(&self, target: &[u8], servers: &mut Vec<(Vec<u8>, IpAddr)>) {
        let Some((name, state)) = self.behind(target) else { return };
        let with_svc = |relative: &[u8]| [relative, b"\x03svc"].concat();
        match state.service.as_ref().map(|service| &service.kind) {
            Some(ServiceKind::Cluster(addresses)) => {
                let Some(key) = compile::group_key(&name) else { return };
                servers.extend(addresses.iter().map(|address| (with_svc(&key), *address)));
            }
            Some(ServiceKind::Headless) => {
                let all = compile::addresses(&name, state, self.view);
                servers.extend(
                    all.into_iter().map(|(address, _, target)| (with_svc(&target), address)),
                );
            }
            Some(ServiceKind::External(_)) | None => {}
        }
    }
}

fn unix_time(at: SystemTime) -> u32 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}

#[cfg(test)]
mod tests;
