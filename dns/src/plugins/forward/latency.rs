//! How long an upstream usually takes, so that one can tell when it is late.
//!
//! The estimate is that of RFC 6298 §2 for TCP's retransmissions: a smoothed time, and how far from
//! it replies come. What is later than both say is later than nearly all replies were.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Nothing is late before this: it would be noise of the machine.
const LEAST: Duration = Duration::from_millis(5);
/// Early second tries: one for so many queries, so that an upstream that gets slower is not asked
/// twice as much as well.
const QUERIES_EACH: u32 = 10;
/// Early second tries in a row, after a quiet time.
const BURST: u32 = 10;

/// The estimate for one upstream.
#[derive(Debug, Default)]
pub struct Latency {
    /// Microseconds: the smoothed time in the upper half, the mean deviation in the lower one. 0 before
    /// the first reply.
    estimate: AtomicU64,
}

/// What is left for early second tries.
#[derive(Debug)]
pub struct Budget(AtomicU32);

impl Latency {
    /// A reply took so long.
    pub fn observe(&self, took: Duration) {
        // Two at once may count as one: nobody needs this to be exact.
        let took = micros(took).max(1);
        let next = match halves(self.estimate.load(Relaxed)) {
            (0, _) => (took, took / 2),
            (smoothed, deviation) => {
                let off = smoothed.abs_diff(took);
                ((7 * smoothed + took) / 8, (3 * deviation + off) / 4)
            }
        };
        self.estimate.store(next.0 << 32 | next.1, Relaxed);
    }

    /// No reply came for so long, and nobody waits any more. Counts if that was long: otherwise an
    /// upstream that others overtake would seem as quick as ever.
    pub fn observe_none(&self, waited: Duration) {
        let (smoothed, _) = halves(self.estimate.load(Relaxed));
        if micros(waited) > smoothed {
            self.observe(waited);
        }
    }

    /// After this a reply is late. `None` before the first one.
    pub fn late_after(&self) -> Option<Duration> {
        let (smoothed, deviation) = halves(self.estimate.load(Relaxed));
        let late = Duration::from_micros(smoothed + 4 * deviation);
        (smoothed > 0).then_some(late.max(LEAST))
    }
}

impl Default for Budget {
    /// A full one.
    fn default() -> Self {
        Budget(AtomicU32::new(BURST * QUERIES_EACH))
    }
}

impl Budget {
    /// A query came.
    pub fn earn(&self) {
        let more = |left: u32| (left < BURST * QUERIES_EACH).then_some(left + 1);
        // When it is full, nothing changes.
        let _ = self.0.fetch_update(Relaxed, Relaxed, more);
    }

    /// Takes what an early second try costs, if that is left.
    pub fn spend(&self) -> bool {
        let less = |left: u32| left.checked_sub(QUERIES_EACH);
        self.0.fetch_update(Relaxed, Relaxed, less).is_ok()
    }
}

/// Microseconds, of which there are less than 2^31: far more than any query waits.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(i32::MAX as u64)
}

fn halves(estimate: u64) -> (u64, u64) {
    (estimate >> 32, estimate & u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn late(latency: &Latency) -> u64 {
        latency.late_after().unwrap().as_millis() as u64
    }

    #[test]
    fn what_is_late_follows_how_long_replies_take_and_how_they_vary() {
        let latency = Latency::default();
        assert_eq!(latency.late_after(), None);
        latency.observe(millis(100));
        assert_eq!(late(&latency), 300);
        (0..50).for_each(|_| latency.observe(millis(100)));
        assert!((100..110).contains(&late(&latency)), "{latency:?}");
        (0..50).for_each(|n| latency.observe(millis(if n % 10 == 0 { 400 } else { 100 })));
        assert!(late(&latency) > 200, "{latency:?}");
        (0..50).for_each(|_| latency.observe(Duration::ZERO));
        assert_eq!(late(&latency), 5, "never before that");
        latency.observe(Duration::from_secs(1 << 40));
        assert!(late(&latency) > 1000);
    }

    #[test]
    fn an_upstream_that_is_overtaken_seems_slower_and_not_quicker() {
        let latency = Latency::default();
        (0..50).for_each(|_| latency.observe(millis(100)));
        latency.observe_none(millis(20));
        assert!((100..110).contains(&late(&latency)), "{latency:?}");
        (0..50).for_each(|_| latency.observe_none(millis(300)));
        assert!(late(&latency) >= 290, "{latency:?}");
    }

    #[test]
    fn early_second_tries_are_one_for_ten_queries_and_ten_in_a_row() {
        let budget = Budget::default();
        let burst = (0..100).filter(|_| budget.spend()).count();
        assert_eq!(burst, 10);
        let mut early = 0;
        for _ in 0..1000 {
            budget.earn();
            early += usize::from(budget.spend());
        }
        assert_eq!(early, 100);
        (0..1000).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 10);
    }
}
