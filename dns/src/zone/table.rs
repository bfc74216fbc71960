//! Follows the cluster and publishes directories: the compiler between snapshots and answers.

use std::{
    collections::HashMap,
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
    group::GroupDraft,
    reverse::{self, Reverse, ReverseDraft},
    shard::{Change, Shards},
    view::{PodMode, View},
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
        let compiler = Compiler { table: table.clone(), wanted };
        (table, Box::new(compiler))
    }

    /// The current directory; hold it for one question or one batch.
    pub fn load(&self) -> Guard<Arc<Directory>> {
        self.current.load()
    }
}

/// Services compiled at a time. What is drafted of them lives only until their shards are built: at
/// the start, when all Services are new, this bounds what the process grows to, and little of that
/// would ever be given back.
const AT_ONCE: usize = 1024;

struct Compiler {
    table: Table,
    wanted: KindSet,
}

impl Follow for Compiler {
    fn follow(&mut self, previous: &Snapshot, next: &Snapshot, delta: &Delta) {
        let mut directory = Directory::clone(&self.table.load());
        let change = SnapshotChange { view: &self.table.view, previous, next };
        for touched in change.services(delta).chunks(AT_ONCE) {
            if directory.services.apply(change.groups(touched, compile::service)) {
                directory.serial = unix_time(next.changed_at);
            }
            if self.table.view.multicluster()
                && directory.imports.apply(change.groups(touched, compile::import))
            {
                directory.import_serial = unix_time(next.changed_at);
            }
            if directory.reverse.apply(change.reverse(touched, &directory.reverse)) {
                directory.serial = unix_time(next.changed_at);
            }
        }
        if self.table.view.pods == PodMode::Verified {
            let changes = change.pods(delta, &directory.pods);
            directory.pods.apply(changes);
        }
        if !delta.namespaces.is_empty() {
            directory.namespaces = Arc::new(change.namespaces());
        }
        directory.servers = change.servers(&directory.reverse);
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

    fn groups(&self, touched: &[ObjectName], rule: Rule) -> Vec<Change> {
        let encode = |name: &ObjectName| {
            let key = compile::group_key(name)?;
            let state = self.next.services.get(name).filter(|_| self.shows(&name.namespace));
            let encoded = state.and_then(|state| rule(name, state, self.view)).map(|draft| {
                let mut octets = Vec::new();
                draft.encode(&mut octets);
                octets
            });
            Some((key, encoded))
        };
        touched.iter().filter_map(encode).collect()
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

    fn reverse(&self, touched: &[ObjectName], table: &Shards) -> Vec<Change> {
        let mut drafts = Drafts::new(table);
        for name in touched {
            let of = |snapshot: &Snapshot| {
                let state = snapshot.services.get(name);
                state.map(|state| compile::addresses(name, state, self.view)).unwrap_or_default()
            };
            let (before, after) = (of(self.previous), of(self.next));
            for item in before.iter().filter(|item| after.binary_search(item).is_err()) {
                drafts.remove(item.0, item.1, &item.2);
            }
            for (address, rank, target) in
                after.into_iter().filter(|i| before.binary_search(i).is_err())
            {
                drafts.add(address, rank, target);
            }
        }
        drafts.finish()
    }

    fn pods(&self, delta: &Delta, table: &Shards) -> Vec<Change> {
        let mut drafts = Drafts::new(table);
        let shown = |snapshot: &Snapshot, name: &ObjectName| -> Option<Arc<Pod>> {
            let pod = snapshot.pods.get(name)?;
            self.view.selects(&pod.labels).then(|| Arc::clone(pod))
        };
        for name in &delta.pods {
            let namespace = name.namespace.to_ascii_lowercase().into_bytes();
            let (before, after) = (shown(self.previous, name), shown(self.next, name));
            for address in before.iter().flat_map(|pod| &pod.addresses) {
                drafts.remove(*address, 0, &namespace);
            }
            for address in after.iter().flat_map(|pod| &pod.addresses) {
                drafts.add(*address, 0, namespace.clone());
            }
        }
        drafts.finish()
    }

    /// NS records: the Services whose endpoints include one of the server's own addresses, by their
    /// cluster addresses (headless: their endpoints' names); without any, `ns.dns` with the own ones.
    fn servers(&self, reverse: &Shards) -> Arc<[(Vec<u8>, IpAddr)]> {
        let mut servers = Vec::new();
        let mut found = false;
        for own in &self.view.own_addresses {
            let Some(entry) = reverse.get(reverse::key(*own).as_slice()) else { continue };
            for (_, target) in
                Reverse::at(entry).items().filter(|(rank, _)| *rank == reverse::OF_ENDPOINT)
            {
                found = true;
                self.servers_behind(target, &mut servers);
            }
        }
        if !found {
            let own = self.view.own_addresses.iter();
            servers.extend(own.map(|address| (b"\x02ns\x03dns".to_vec(), *address)));
        }
        servers.sort_unstable();
        servers.dedup();
        servers.into()
    }

    fn servers_behind(&self, target: &[u8], servers: &mut Vec<(Vec<u8>, IpAddr)>) {
        let labels = crate::wire::name::labels(target);
        let [.., service, namespace] = labels.as_slice() else { return };
        let text = |label: &[u8]| Name::new(&String::from_utf8_lossy(label));
        let name = ObjectName { namespace: text(namespace), name: text(service) };
        let Some(state) = self.next.services.get(&name) else { return };
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

/// Entries being edited, by address.
struct Drafts<'a> {
    table: &'a Shards,
    drafts: HashMap<Vec<u8>, ReverseDraft>,
}

impl<'a> Drafts<'a> {
    fn new(table: &'a Shards) -> Self {
        Drafts { table, drafts: HashMap::new() }
    }

    fn draft(&mut self, address: IpAddr) -> &mut ReverseDraft {
        let key = reverse::key(address);
        let held = self.table.get(key.as_slice());
        self.drafts
            .entry(key.as_slice().to_vec())
            .or_insert_with(|| held.map(|entry| Reverse::at(entry).draft()).unwrap_or_default())
    }

    fn add(&mut self, address: IpAddr, rank: u8, name: Vec<u8>) {
        self.draft(address).items.push((rank, name));
    }

    fn remove(&mut self, address: IpAddr, rank: u8, name: &[u8]) {
        let items = &mut self.draft(address).items;
        if let Some(at) = items.iter().position(|(r, n)| *r == rank && n == name) {
            items.swap_remove(at);
        }
    }

    fn finish(self) -> Vec<Change> {
        self.drafts
            .into_iter()
            .map(|(key, mut draft)| {
                let encoded = draft.encode(&key);
                (key, encoded)
            })
            .collect()
    }
}

fn unix_time(at: SystemTime) -> u32 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}
