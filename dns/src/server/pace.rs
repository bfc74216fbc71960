//! When a worker lets datagrams gather: under load, waking for every one costs more than answering.
//!
//! A thread that waits in recvmmsg is woken by the first datagram and finds little more than that
//! one. At some tens of thousands of queries a second, being woken is then the greater part of what
//! a query costs. So a worker that expects enough datagrams soon sleeps for a moment first, as a
//! network card holds its interrupts back. Below that rate, and with a full queue, it never does.

use std::time::{Duration, Instant};

/// How long a worker sleeps, and so what is added at most to a reply's latency.
pub(super) const PAUSE: Duration = Duration::from_micros(100);
/// Datagrams expected within a pause that make it worth its own cost.
const WORTH_A_PAUSE: f64 = 8.0;
/// Share that a batch has in the smoothed rate.
const SHARE: f64 = 1.0 / 16.0;

/// What a worker knows of the rate that datagrams come at. Count and time are smoothed apart: the
/// mean of their quotients would be that of the shortest times.
#[derive(Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    /// Datagrams of a batch.
    count: f64,
    /// Seconds from batch to batch.
    gap: f64,
}

impl Pace {
    /// Notes a batch of `count` datagrams received at `now`; tells whether to pause before the next.
    /// A batch that was `full` left more behind, which must not wait.
    pub(super) fn pauses(&mut self, count: usize, now: Instant, full: bool) -> bool {
        let Some(last) = self.last.replace(now) else { return false };
        self.count += SHARE * (count as f64 - self.count);
        self.gap += SHARE * (now.duration_since(last).as_secs_f64() - self.gap);
        !full && self.count * PAUSE.as_secs_f64() >= WORTH_A_PAUSE * self.gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Share of batches after which a worker pauses, with `count` datagrams every `micros`.
    fn pauses(count: usize, micros: u64) -> f64 {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let paused = |n| pace.pauses(count, start + Duration::from_micros(n * micros), false);
        (0..1000).map(paused).filter(|paused| *paused).count() as f64 / 1000.0
    }

    #[test]
    fn a_worker_pauses_under_load_and_only_then() {
        assert_eq!(pauses(1, 500), 0.0, "2,000 queries a second");
        assert_eq!(pauses(1, 20), 0.0, "50,000 queries a second");
        assert!(pauses(1, 8) > 0.9, "125,000 queries a second");
        assert!(pauses(8, 64) > 0.9, "the same in batches");
    }

    #[test]
    fn a_full_batch_is_followed_at_once_and_a_silence_forgotten() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut batch = |pace: &mut Pace, micros, full| {
            now += Duration::from_micros(micros);
            pace.pauses(10, now, full)
        };
        let busy = (0..100).filter(|_| batch(&mut pace, 110, false)).count();
        assert!(busy > 80, "{busy}");
        assert!(!batch(&mut pace, 110, true));
        assert!(batch(&mut pace, 110, false));
        let after = (0..100).filter(|_| batch(&mut pace, 1_000, false)).count();
        assert!(after < 20, "{after} pauses at 10,000 queries a second");
    }
}
