//! Time as the cache has it: milliseconds since some start, so that an atomic can hold it.

use std::{sync::Arc, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the clock started. It never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Moment(pub u64);

impl Moment {
    /// Milliseconds from `earlier` to this; 0 if that is later.
    pub fn since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(millis(duration)))
    }
}

/// Tells the time. Tests pass their own.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// The machine's monotonic clock, as of its last tick: some milliseconds off, and at a fraction of the
/// cost of the exact one, which every hit would bear.
pub fn system() -> Clock {
    let now = || Duration::try_from(clock_gettime(ClockId::MonotonicCoarse)).unwrap_or_default();
    let start = now();
    Arc::new(move || Moment(millis(now().saturating_sub(start))))
}

/// Whole milliseconds of `duration`.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
