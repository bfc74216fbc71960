//! One writer turns events into the next snapshot; any number of readers see it whole or not at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use hashbrown::{HashSet, hash_map::Entry};
use parking_lot::Mutex;

use crate::{
    event::{Event, Kind, KindSet, Object, ObjectKey},
    name::Name,
    object::{EndpointSlice, ObjectName},
    snapshot::{Delta, Map, ServiceState, Snapshot},
};

/// Something that compiles snapshots: told of each new one, on the writer's thread, in order.
pub trait Follow: Send {
    /// `next` differs from `previous` by `delta`. Must not block: the writer waits.
    fn follow(&mut self, previous: &Snapshot, next: &Snapshot, delta: &Delta);
}

struct Shared {
    current: ArcSwap<Snapshot>,
    followers: Mutex<Vec<(u64, Box<dyn Follow>)>>,
    next_follower: AtomicU64,
    /// Whether every wanted kind was listed, and the followers know.
    synced: AtomicBool,
    started: Instant,
    /// Milliseconds after `started` at which the source last proved that the data is current, plus
    /// one; 0 while it never did.
    confirmed: AtomicU64,
    /// When the state was saved that is read until everything was listed.
    saved_at: ArcSwapOption<SystemTime>,
}

/// The one place that changes the cluster's state. Not cloneable.
pub struct Writer {
    shared: Arc<Shared>,
    held: Map<Kind, Map<ObjectName, Held>>,
    listing: Map<Kind, HashSet<ObjectName, foldhash::fast::RandomState>>,
    wanted: KindSet,
    /// Kinds that are known from a saved state alone.
    saved: KindSet,
}

/// What the writer remembers of an object beside the snapshot.
struct Held {
    version: u64,
    /// Names that a slice is filed under; its labels may change.
    filed: Owners,
}

/// Names of the Service and the ServiceImport that a slice belongs to, in its own namespace: none,
/// one or both (a derived Service beside an import, as MCS implementations make them).
type Owners = [Option<Name>; 2];

/// Sees the current snapshot and may follow changes. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// Keeps a follower subscribed; dropping it ends the subscription.
pub struct Subscription {
    shared: Arc<Shared>,
    id: u64,
}

impl Writer {
    /// An empty store that counts as synced once all of `wanted` were listed.
    pub fn new(wanted: KindSet) -> Self {
        let shared = Arc::new(Shared {
            current: ArcSwap::from_pointee(Snapshot::empty()),
            followers: Mutex::new(Vec::new()),
            next_follower: AtomicU64::new(0),
            synced: AtomicBool::new(false),
            started: Instant::now(),
            confirmed: AtomicU64::new(0),
            saved_at: ArcSwapOption::empty(),
        });
        Writer {
            shared,
            held: Map::default(),
            listing: Map::default(),
            wanted,
            saved: KindSet::default(),
        }
    }

    /// A reader of this store.
    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(&self.shared) }
    }

    /// Notes that the source just proved its data current (an event, a bookmark, a finished list).
    pub fn confirm(&self) {
        let millis = self.shared.started.elapsed().as_millis() as u64;
        self.shared.confirmed.store(millis + 1, Ordering::Relaxed);
    }

    /// The highest version held of an object of this kind and name.
    pub fn version(&self, key: &ObjectKey) -> Option<u64> {
        self.held(key).map(|held| held.version)
    }

    fn held(&self, key: &ObjectKey) -> Option<&Held> {
        self.held.get(&key.kind)?.get(&key.name)
    }

    /// Applies a batch and publishes the result, if it changed anything that a reader sees.
    ///
    /// Cost follows the batch, not the cluster, except for [`Event::ListDone`], which visits every
    /// object of its kind.
    pub fn apply(&mut self, batch: impl IntoIterator<Item = Event>) {
        // Held for the whole batch, so that who subscribes meanwhile misses or repeats nothing.
        let shared = Arc::clone(&self.shared);
        let mut followers = shared.followers.lock();
        let previous = shared.current.load_full();
        let mut next = Snapshot::clone(&previous);
        let mut delta = Delta::default();
        for event in batch {
            match event {
                Event::Apply { object, version } => {
                    self.upsert(&mut next, &mut delta, object, version);
                }
                Event::Delete { key, version } => {
                    self.remove(&mut next, &mut delta, &key, version);
                }
                Event::ListStart(kind) => {
                    self.listing.insert(kind, HashSet::default());
                }
                Event::ListDone(kind) => self.finish_list(&mut next, &mut delta, kind),
                Event::ListFailed(kind) => {
                    let began = self.listing.remove(&kind).is_some();
                    delta.list_failed |= began && !next.synced.contains(kind);
                }
            }
        }
        if delta.is_empty() {
            return;
        }
        delta.tidy();
        next.listing = self.listing.keys().copied().collect();
        next.revision += 1;
        next.changed_at = SystemTime::now();
        let next = Arc::new(next);
        shared.current.store(Arc::clone(&next));
        for (_, follower) in followers.iter_mut() {
            follower.follow(&previous, &next, &delta);
        }
        if next.synced.covers(self.wanted) {
            shared.synced.store(true, Ordering::Release);
        }
    }

    fn finish_list(&mut self, next: &mut Snapshot, delta: &mut Delta, kind: Kind) {
        if let Some(seen) = self.listing.remove(&kind) {
            let held = self.held.get(&kind).into_iter().flat_map(|held| held.keys());
            let gone: Vec<_> = held.filter(|name| !seen.contains(*name)).cloned().collect();
            for name in gone {
                self.remove(next, delta, &ObjectKey { kind, name }, 0);
            }
        }
        if !next.synced.contains(kind) {
            next.synced = next.synced.with(kind);
            delta.synced = true;
        }
        if self.saved.contains(kind) {
            self.saved = self.saved.iter().filter(|saved| *saved != kind).collect();
            if self.saved == KindSet::default() {
                self.shared.saved_at.store(None);
            }
        }
    }

    fn upsert(&mut self, next: &mut Snapshot, delta: &mut Delta, object: Object, version: u64) {
        let key = object.key();
        if let Some(seen) = self.listing.get_mut(&key.kind) {
            seen.insert(key.name.clone());
        }
        if self.held(&key).is_some_and(|held| version != 0 && version < held.version) {
            return;
        }
        let filed = match &object {
            Object::EndpointSlice(slice) => owners(slice),
            _ => Owners::default(),
        };
        let held = Held { version, filed: filed.clone() };
        let before = self.held.entry(key.kind).or_default().insert(key.name.clone(), held);
        let changed = match object {
            Object::Service(service) => edit(next, &key.name, |state| {
                let changed = state.service.as_ref() != Some(&service);
                state.service = Some(service);
                changed
            }),
            Object::ServiceImport(import) => edit(next, &key.name, |state| {
                let changed = state.import.as_ref() != Some(&import);
                state.import = Some(import);
                changed
            }),
            Object::EndpointSlice(slice) => {
                let before = before.map(|held| held.filed).unwrap_or_default();
                return refile(next, delta, &slice, before, filed);
            }
            Object::Namespace(namespace) => {
                put(&mut next.namespaces, namespace.name.clone(), namespace)
            }
            Object::Node(node) => put(&mut next.nodes, node.name.clone(), node),
            Object::Pod(pod) => {
                let changed = next.pods.get(&key.name) != Some(&pod);
                if changed {
                    next.pods.shard_mut(&key.name).insert(key.name.clone(), pod);
                }
                changed
            }
        };
        if changed {
            delta.touch(&key);
        }
    }

    fn remove(&mut self, next: &mut Snapshot, delta: &mut Delta, key: &ObjectKey, version: u64) {
        let Some(held) = self.held.get_mut(&key.kind) else { return };
        let Entry::Occupied(held) = held.entry(key.name.clone()) else { return };
        if version != 0 && version < held.get().version {
            return;
        }
        let filed = held.remove().filed;
        match key.kind {
            Kind::Service => {
                edit(next, &key.name, |state| state.service.take().is_some());
            }
            Kind::ServiceImport => {
                edit(next, &key.name, |state| state.import.take().is_some());
            }
            Kind::EndpointSlice => {
                for owner in filed.into_iter().flatten() {
                    let owner = ObjectName { namespace: key.name.namespace.clone(), name: owner };
                    edit(next, &owner, |state| drop_slice(state, &key.name));
                    delta.services.push(owner);
                }
                return;
            }
            Kind::Namespace => {
                Arc::make_mut(&mut next.namespaces).remove(&key.name.name);
            }
            Kind::Node => {
                Arc::make_mut(&mut next.nodes).remove(&key.name.name);
            }
            Kind::Pod => {
                next.pods.shard_mut(&key.name).remove(&key.name);
            }
        }
        delta.touch(key);
    }
}

impl Reader {
    /// The current snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.current.load_full()
    }

    /// Whether every wanted kind was listed at least once, and every follower was told of it.
    pub fn synced(&self) -> bool {
        self.shared.synced.load(Ordering::Acquire)
    }

    /// How long ago the source last proved the data current; `None` if it never did.
    pub fn age(&self) -> Option<Duration> {
        match self.shared.confirmed.load(Ordering::Relaxed) {
            0 => None,
            millis => {
                let confirmed = Duration::from_millis(millis - 1);
                Some(self.shared.started.elapsed().saturating_sub(confirmed))
            }
        }
    }

    /// When the state was saved that readers see, as long as the source has not listed everything
    /// since. [`Reader::synced`] is true then.
    pub fn saved_at(&self) -> Option<SystemTime> {
        self.shared.saved_at.load().as_deref().copied()
    }

    /// Tells the followers to put nothing off any more ([`Delta::list_failed`]): whoever waited for
    /// the first lists goes on with what there is.
    pub fn stop_waiting(&self) {
        let mut followers = self.shared.followers.lock();
        let current = self.shared.current.load_full();
        let delta = Delta { list_failed: true, ..Delta::default() };
        for (_, follower) in followers.iter_mut() {
            follower.follow(&current, &current, &delta);
        }
    }

    /// Subscribes `follower`: first told everything that is there, then each change, until the
    /// subscription is dropped.
    pub fn follow(&self, mut follower: Box<dyn Follow>) -> Subscription {
        let mut followers = self.shared.followers.lock();
        let current = self.shared.current.load_full();
        follower.follow(&Snapshot::empty(), &current, &Delta::of_everything(&current));
        let id = self.shared.next_follower.fetch_add(1, Ordering::Relaxed);
        followers.push((id, follower));
        Subscription { shared: Arc::clone(&self.shared), id }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.followers.lock().retain(|(id, _)| *id != self.id);
    }
}

fn owners(slice: &EndpointSlice) -> Owners {
    let import = slice.import.as_ref().filter(|import| slice.service.as_ref() != Some(import));
    [slice.service.clone(), import.cloned()]
}

fn refile(
    next: &mut Snapshot,
    delta: &mut Delta,
    slice: &Arc<EndpointSlice>,
    before: Owners,
    after: Owners,
) {
    let named = |name: Name| ObjectName { namespace: slice.name.namespace.clone(), name };
    for owner in before.into_iter().flatten() {
        if !after.contains(&Some(owner.clone())) {
            let owner = named(owner);
            edit(next, &owner, |state| drop_slice(state, &slice.name));
            delta.services.push(owner);
        }
    }
    for owner in after.into_iter().flatten().map(named) {
        if edit(next, &owner, |state| put_slice(state, slice)) {
            delta.services.push(owner);
        }
    }
}

fn put_slice(state: &mut ServiceState, slice: &Arc<EndpointSlice>) -> bool {
    match state.slices.binary_search_by(|held| held.name.cmp(&slice.name)) {
        Ok(at) if state.slices[at] == *slice => false,
        Ok(at) => {
            state.slices[at] = Arc::clone(slice);
            true
        }
        Err(at) => {
            state.slices.insert(at, Arc::clone(slice));
            true
        }
    }
}

fn drop_slice(state: &mut ServiceState, name: &ObjectName) -> bool {
    match state.slices.binary_search_by(|held| held.name.cmp(name)) {
        Ok(at) => {
            state.slices.remove(at);
            true
        }
        Err(_) => false,
    }
}

/// Edits the state filed under `name`; an empty one is dropped. Tells what `change` told.
fn edit(
    next: &mut Snapshot,
    name: &ObjectName,
    change: impl FnOnce(&mut ServiceState) -> bool,
) -> bool {
    let shard = next.services.shard_mut(name);
    let mut state = shard.get(name).map(|state| ServiceState::clone(state)).unwrap_or_default();
    if !change(&mut state) {
        return false;
    }
    if state.is_empty() {
        shard.remove(name);
    } else {
        shard.insert(name.clone(), Arc::new(state));
    }
    true
}

fn put<T: PartialEq>(map: &mut Arc<Map<Name, Arc<T>>>, name: Name, value: Arc<T>) -> bool {
    if map.get(&name) == Some(&value) {
        return false;
    }
    Arc::make_mut(map).insert(name, value);
    true
}

mod saved;
#[cfg(test)]
mod tests;
