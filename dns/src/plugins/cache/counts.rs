//! What the cache counts: without locks, by threads apart; added up when somebody scrapes.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use prometheus::{
    core::{Collector, Desc},
    proto::{MetricFamily, MetricType},
};

use super::store::Store;
use crate::metrics::families::{family, labels, with_gauge, with_value};

/// Threads that count in places of their own; more share them.
const SHARDS: usize = 16;

/// One of the two caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Replies with an answer.
    Success = 0,
    /// Denials and failures.
    Denial = 1,
}

const SIDES: [(Side, &str); 2] = [(Side::Success, "success"), (Side::Denial, "denial")];

/// Events of one `cache`.
#[derive(Default)]
pub struct Counts {
    hits: [Shard; SHARDS],
    misses: AtomicU64,
    prefetches: AtomicU64,
    drops: AtomicU64,
    evictions: [AtomicU64; 2],
}

/// Counters that a thread has for itself, on cache lines of their own.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    hits: [AtomicU64; 2],
    stale: AtomicU64,
}

impl Counts {
    /// A query was answered from an entry.
    pub fn hit(&self, side: Side, stale: bool) {
        let shard = &self.hits[slot()];
        shard.hits[side as usize].fetch_add(1, Relaxed);
        if stale {
            shard.stale.fetch_add(1, Relaxed);
        }
    }

    /// A query found no entry.
    pub fn missed(&self) {
        self.misses.fetch_add(1, Relaxed);
    }

    /// An entry is asked for again before anybody waits for it.
    pub fn prefetched(&self) {
        self.prefetches.fetch_add(1, Relaxed);
    }

    /// A reply did not match its question.
    pub fn dropped(&self) {
        self.drops.fetch_add(1, Relaxed);
    }

    /// An entry went to make room.
    pub fn evicted(&self, side: Side) {
        self.evictions[side as usize].fetch_add(1, Relaxed);
    }

    /// Queries answered from one side.
    pub fn hits(&self, side: Side) -> u64 {
        self.hits.iter().map(|shard| shard.hits[side as usize].load(Relaxed)).sum()
    }

    /// Entries of one side that went to make room.
    pub fn evictions(&self, side: Side) -> u64 {
        self.evictions[side as usize].load(Relaxed)
    }

    /// Queries that were looked up, in the order of CoreDNS's metrics: requests, misses, prefetches,
    /// drops, stale replies.
    pub fn totals(&self) -> [u64; 5] {
        let misses = self.misses.load(Relaxed);
        let requests = misses + self.hits(Side::Success) + self.hits(Side::Denial);
        let stale = self.hits.iter().map(|shard| shard.stale.load(Relaxed)).sum();
        [requests, misses, self.prefetches.load(Relaxed), self.drops.load(Relaxed), stale]
    }
}

/// This thread's place among the shards.
fn slot() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SLOT: Cell<usize> = const { Cell::new(usize::MAX) });
    SLOT.with(|slot| {
        if slot.get() == usize::MAX {
            slot.set(NEXT.fetch_add(1, Relaxed) % SHARDS);
        }
        slot.get()
    })
}

/// The labels of one `cache`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Labels {
    /// `server`: the first address that the block listens on, `dns://:53`.
    pub server: String,
    /// `zones`: the directive's, with commas.
    pub zones: String,
    /// The block's view; empty without one.
    pub view: String,
}

/// Names and help texts in the order in which [`Collector::collect`] fills them.
const NAMES: [(&str, &str); 8] = [
    ("coredns_cache_entries", "Entries by cache."),
    ("coredns_cache_hits_total", "Queries answered from the cache."),
    ("coredns_cache_evictions_total", "Entries that went to make room for others."),
    ("coredns_cache_requests_total", "Queries looked up in the cache."),
    ("coredns_cache_misses_total", "Queries without an entry."),
    ("coredns_cache_prefetch_total", "Entries asked for again before anybody waited for them."),
    ("coredns_cache_drops_total", "Replies not kept because they answer another question."),
    ("coredns_cache_served_stale_total", "Queries answered from entries that had expired."),
];

/// Collects the counts of every `cache` there is or was: a reload goes on counting.
#[derive(Clone)]
pub struct CacheFamilies {
    caches: Arc<Mutex<BTreeMap<Labels, Counted>>>,
    descriptions: Vec<Desc>,
}

#[derive(Default)]
struct Counted {
    counts: Arc<Counts>,
    /// Those that are there: during a reload two.
    stores: Vec<Weak<Store>>,
}

impl CacheFamilies {
    /// Families without a cache.
    pub fn new() -> Self {
        let describe = |(name, help): (&str, &str)| {
            Desc::new(name.to_owned(), help.to_owned(), Vec::new(), Default::default()).ok()
        };
        CacheFamilies {
            caches: Arc::default(),
            descriptions: NAMES.into_iter().filter_map(describe).collect(),
        }
    }

    /// The counts under `labels`, those of an earlier configuration going on.
    pub fn counts(&self, labels: &Labels) -> Arc<Counts> {
        Arc::clone(&self.caches.lock().entry(labels.clone()).or_default().counts)
    }

    /// Counts the entries of `store` as well.
    pub fn watch(&self, labels: &Labels, store: &Arc<Store>) {
        let mut caches = self.caches.lock();
        let stores = &mut caches.entry(labels.clone()).or_default().stores;
        stores.retain(|store| store.strong_count() > 0);
        stores.push(Arc::downgrade(store));
    }
}

impl Default for CacheFamilies {
    fn default() -> Self {
        CacheFamilies::new()
    }
}

impl Collector for CacheFamilies {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut metrics: [Vec<_>; NAMES.len()] = Default::default();
        for (of, counted) in self.caches.lock().iter() {
            let base = [("server", &*of.server), ("zones", &*of.zones), ("view", &*of.view)];
            let stores: Vec<Arc<Store>> = counted.stores.iter().filter_map(Weak::upgrade).collect();
            stores.iter().for_each(|store| store.settle());
            for (side, name) in SIDES {
                let with_type = || labels(&base, &[("type", name)]);
                let entries: u64 = stores.iter().map(|store| store.len(side)).sum();
                if !stores.is_empty() {
                    metrics[0].push(with_gauge(entries as f64, with_type()));
                }
                metrics[1].push(with_value(counted.counts.hits(side), with_type()));
                metrics[2].push(with_value(counted.counts.evictions(side), with_type()));
            }
            for (out, total) in metrics[3..].iter_mut().zip(counted.counts.totals()) {
                out.push(with_value(total, labels(&base, &[])));
            }
        }
        let kind = |index| if index == 0 { MetricType::GAUGE } else { MetricType::COUNTER };
        NAMES
            .into_iter()
            .zip(metrics)
            .enumerate()
            .filter(|(_, (_, metrics))| !metrics.is_empty())
            .map(|(index, ((name, help), metrics))| family(name, help, kind(index), metrics))
            .collect()
    }
}
