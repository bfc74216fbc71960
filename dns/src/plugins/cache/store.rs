//! The two caches: answers, and denials with failures. Each is bounded in entries and in bytes.
//!
//! They are keyed by a hash, so that a key is held once, in its entry. Of two keys with the same hash
//! the newer one's entry stays.

use std::{hash::BuildHasher, sync::Arc};

use foldhash::fast::RandomState;
use moka::{notification::RemovalCause, sync::Cache as Moka};

use super::{
    config::Config,
    counts::{Counts, Side},
    entry::{Age, Entry, Kind},
    moment::{Moment, millis},
};

/// An entry weighs at least this many bytes, which bounds the number of entries.
const LEAST_WEIGHT: u32 = 512;

type Entries = Moka<u64, Entry, RandomState>;

/// Entries of one `cache`.
pub struct Store {
    success: Entries,
    denial: Entries,
    hasher: RandomState,
    /// Milliseconds that what expired is still good for; 0 without `serve_stale`.
    stale: u64,
    prefer_positive: bool,
}

/// An entry that may be served.
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// Where it was.
    pub side: Side,
    /// Whether it has expired.
    pub age: Age,
}

impl Store {
    /// An empty store.
    pub fn new(config: &Config, counts: &Arc<Counts>) -> Self {
        let stale = config.stale.as_ref();
        Store {
            success: entries(config.success.capacity, Arc::clone(counts), Side::Success),
            denial: entries(config.denial.capacity, Arc::clone(counts), Side::Denial),
            hasher: RandomState::default(),
            stale: stale.map_or(0, |stale| millis(stale.up_to)),
            prefer_positive: stale.is_some_and(|stale| stale.prefer_positive),
        }
    }

    /// The entry to serve: a fresh answer; else a denial; what has expired only as long as
    /// `serve_stale` says. A failure does not hide an answer that may be served stale, and with
    /// `prefer_positive` neither does a denial.
    pub fn find(&self, key: &[u8], now: Moment) -> Option<Found> {
        let hash = self.hasher.hash_one(key);
        let usable = |entries: &Entries, side| {
            let entry = entries.get(&hash).filter(|entry| entry.key() == key)?;
            self.usable(entry, side, now)
        };
        let success = usable(&self.success, Side::Success);
        if let Some(found) = &success
            && (matches!(found.age, Age::Fresh(_)) || self.prefer_positive)
            && (found.entry.kind() == Kind::Answer || !self.prefer_positive)
        {
            return success;
        }
        let denial = usable(&self.denial, Side::Denial);
        match (success, denial) {
            (Some(success), Some(denial)) if denial.entry.kind() == Kind::Failure => Some(success),
            (success, denial) => denial.or(success),
        }
    }

    fn usable(&self, entry: Entry, side: Side, now: Moment) -> Option<Found> {
        let age = entry.age(now);
        let usable = match age {
            Age::Fresh(_) => true,
            Age::Expired(since) => since < self.stale,
        };
        usable.then_some(Found { entry, side, age })
    }

    /// Keeps `entry`. It is the newest about its key: the other cache forgets what it had, except
    /// that a failure says nothing about the name.
    pub fn keep(&self, entry: Entry, now: Moment) {
        let hash = self.hasher.hash_one(entry.key());
        let (entries, others) = match entry.kind() {
            Kind::Answer | Kind::Other => (&self.success, Some(&self.denial)),
            Kind::Denial => (&self.denial, Some(&self.success).filter(|_| !self.prefer_positive)),
            Kind::Failure => (&self.denial, None),
        };
        if let Some(older) = entries.get(&hash).filter(|older| older.key() == entry.key()) {
            let worse = self.prefer_positive
                && older.kind() == Kind::Answer
                && entry.kind() == Kind::Other
                && self.usable(older.clone(), Side::Success, now).is_some();
            if worse {
                return;
            }
            entry.inherit(&older);
        }
        if let Some(others) =
            others.filter(|_| !self.prefer_positive || entry.kind() == Kind::Answer)
        {
            others.invalidate(&hash);
        }
        entries.insert(hash, entry);
    }

    /// Entries of one side; what was added or evicted just now may not be counted yet.
    pub fn len(&self, side: Side) -> u64 {
        match side {
            Side::Success => self.success.entry_count(),
            Side::Denial => self.denial.entry_count(),
        }
    }

    /// Brings the bounds and the counts up to date.
    pub fn settle(&self) {
        self.success.run_pending_tasks();
        self.denial.run_pending_tasks();
    }
}

/// A bounded map. `capacity` is in entries of at most [`LEAST_WEIGHT`] bytes.
fn entries(capacity: u32, counts: Arc<Counts>, side: Side) -> Entries {
    Moka::<u64, Entry>::builder()
        .max_capacity(u64::from(capacity) * u64::from(LEAST_WEIGHT))
        .weigher(|_, entry| weight(entry))
        .eviction_listener(move |_, _, cause| {
            if cause == RemovalCause::Size {
                counts.evicted(side);
            }
        })
        .build_with_hasher(RandomState::default())
}

fn weight(entry: &Entry) -> u32 {
    u32::try_from(entry.size()).unwrap_or(u32::MAX).max(LEAST_WEIGHT)
}
