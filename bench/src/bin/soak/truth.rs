//! What is true of the Services that change, and what was answered.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Services that change.
pub(crate) const SERVICES: usize = 40;
/// A change shows within this time while all is well.
const FRESH: Duration = Duration::from_secs(4);
/// Wrong answers that are kept word by word.
const KEPT: usize = 20;

/// A version of a Service, as its endpoint's address tells it.
pub(crate) type Version = u32;

#[derive(Default)]
struct Service {
    /// The newest version that may be there.
    sent: Version,
    /// Versions that the API server took, with the time at which it had.
    acknowledged: Vec<(Version, Instant)>,
    /// The newest that the server answered since its start.
    seen: Version,
}

/// A question under way: what had been answered when it was sent.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    at: Instant,
    start: u64,
    seen: Version,
}

/// What is true, what was answered, and since when all is well.
pub(crate) struct Truth {
    services: Mutex<Vec<Service>>,
    well_since: Mutex<Option<Instant>>,
    /// Starts of the server so far.
    starts: AtomicU64,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    wrong: Mutex<Vec<String>>,
    wrong_count: AtomicU64,
}

impl Default for Truth {
    fn default() -> Self {
        Truth {
            services: Mutex::new((0..SERVICES).map(|_| Service::default()).collect()),
            well_since: Mutex::new(Some(Instant::now())),
            starts: AtomicU64::new(0),
            counts: Mutex::default(),
            wrong: Mutex::default(),
            wrong_count: AtomicU64::new(0),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Truth {
    /// The next version of a Service, which is about to be sent.
    pub(crate) fn send(&self, service: usize) -> Version {
        let mut services = locked(&self.services);
        services[service].sent += 1;
        services[service].sent
    }

    /// The API server took it.
    pub(crate) fn acknowledge(&self, service: usize, version: Version) {
        let mut services = locked(&self.services);
        let acknowledged = &mut services[service].acknowledged;
        acknowledged.push((version, Instant::now()));
        // Older ones can't be asked for any more.
        if acknowledged.len() > 1000 {
            acknowledged.drain(..500);
        }
    }

    /// Something is wrong from now on (`false`), or nothing is.
    pub(crate) fn set_well(&self, well: bool) {
        *locked(&self.well_since) = well.then(Instant::now);
    }

    /// The server was started anew: it may know less than before.
    pub(crate) fn forget_seen(&self) {
        self.starts.fetch_add(1, Relaxed);
        locked(&self.services).iter_mut().for_each(|service| service.seen = 0);
    }

    /// A question about a Service, about to be sent.
    pub(crate) fn ask(&self, service: usize) -> Asked {
        let seen = locked(&self.services)[service].seen;
        Asked { at: Instant::now(), start: self.starts.load(Relaxed), seen }
    }

    /// Judges the answer to a question about a Service.
    pub(crate) fn judge(&self, service: usize, version: Version, asked: Asked) {
        let well_since = *locked(&self.well_since);
        let mut services = locked(&self.services);
        let known = &mut services[service];
        let complaint = if version > known.sent {
            Some(format!("version {version} was never sent, {} was", known.sent))
        } else if version < asked.seen && asked.start == self.starts.load(Relaxed) {
            Some(format!("version {version} after {}", asked.seen))
        } else {
            let due = asked.at.checked_sub(FRESH);
            let due = due.filter(|due| well_since.is_some_and(|since| since < *due));
            let newest = due.and_then(|due| {
                let taken = known.acknowledged.iter().rev().find(|(_, at)| *at < due);
                taken.map(|(version, _)| *version)
            });
            newest.filter(|newest| version < *newest).map(|newest| {
                format!("version {version}, though {newest} was there {FRESH:?} before")
            })
        };
        known.seen = known.seen.max(version);
        drop(services);
        match complaint {
            Some(complaint) => self.note_wrong(&format!("Service {service}: {complaint}")),
            None => self.count("right"),
        }
    }

    /// Notes a wrong answer.
    pub(crate) fn note_wrong(&self, what: &str) {
        self.wrong_count.fetch_add(1, Relaxed);
        self.count("wrong");
        let mut wrong = locked(&self.wrong);
        if wrong.len() < KEPT {
            println!("WRONG: {what}");
            wrong.push(what.to_owned());
        }
    }

    /// Counts an answer, or that none came.
    pub(crate) fn count(&self, what: &'static str) {
        *locked(&self.counts).entry(what).or_default() += 1;
    }

    /// How many wrong answers there were.
    pub(crate) fn wrong(&self) -> u64 {
        self.wrong_count.load(Relaxed)
    }

    /// The counts, a line each.
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        for (what, count) in &*locked(&self.counts) {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{what}: {count}");
        }
        let changes: usize = locked(&self.services).iter().map(|s| s.sent as usize).sum();
        let _ = writeln!(text, "changes sent: {changes}");
        text
    }
}
