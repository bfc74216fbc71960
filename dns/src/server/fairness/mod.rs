//! Who is answered when there is more to do than processor time: max-min fairness between sources.
//!
//! A process that uses up its CPU quota is stopped until the next period, and then every client waits,
//! the quiet ones too. So each worker counts what every source sends, right after a batch is received
//! and before anything is read. While time is scarce and more than one source asks, the greediest are
//! held to what is left when the others have theirs. What they send beyond that is dropped unread, and
//! soon by the kernel already (`filter.rs`): receiving it would cost as much as there is.

mod filter;
mod quota;
mod scarcity;
mod sketch;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::SockFilter;

pub(super) use self::{quota::Quota, sketch::Source};
use self::{scarcity::Scarcity, sketch::Sketch};

/// What is judged together: a period of the kernel's quotas.
const INTERVAL: Duration = Duration::from_millis(100);
/// Who asks alone has nobody to be fair to. Others are remembered for so long.
const COMPANY: Duration = Duration::from_secs(2);

/// Part of a quota above which time is scarce, and part that is then aimed at.
const ENFORCED: (f64, f64) = (0.85, 0.70);
/// The same where nobody stops the process.
const BUSY: (f64, f64) = (0.97, 0.92);

/// One worker's accounts.
pub(super) struct Fairness {
    quota: Arc<Quota>,
    begun: Option<Instant>,
    /// Processor time of the process at the start of the interval.
    spent: Duration,
    sketch: Sketch,
    admitted: u32,
    batches: u32,
    full: u32,
    /// Whether more was waiting than was received at once, for most of the last interval.
    backlog: bool,
    company: Option<Instant>,
    scarcity: Option<Scarcity>,
}

/// What to change on the worker's socket.
pub(super) enum Change {
    /// Attach this program in place of the one before.
    Thin(Vec<SockFilter>),
    /// Let everything through again.
    Stop,
}

impl Default for Fairness {
    fn default() -> Self {
        Fairness::new(Arc::default())
    }
}

impl Fairness {
    /// Nothing is known yet.
    pub(super) fn new(quota: Arc<Quota>) -> Self {
        Fairness {
            quota,
            begun: None,
            spent: Duration::ZERO,
            sketch: Sketch::default(),
            admitted: 0,
            batches: 0,
            full: 0,
            backlog: false,
            company: None,
            scarcity: None,
        }
    }

    /// Counts a datagram; tells whether it is to be looked at.
    pub(super) fn admits(&mut self, source: Source) -> bool {
        let admits = match &mut self.scarcity {
            Some(scarcity) => scarcity.admits(source, &mut self.sketch),
            None => self.sketch.add(source) > 0,
        };
        self.admitted += u32::from(admits);
        admits
    }

    /// Notes that a batch was received at `now`, and whether it was `full`. `spent` reads the processor
    /// time of the process and is asked once in an interval. Gives what is to change on the socket.
    pub(super) fn note_batch(
        &mut self,
        now: Instant,
        full: bool,
        spent: impl FnOnce() -> Duration,
    ) -> Option<Change> {
        self.batches += 1;
        self.full += u32::from(full);
        let elapsed = self.begun.map(|begun| now.saturating_duration_since(begun));
        if elapsed.is_some_and(|elapsed| elapsed < INTERVAL) {
            return None;
        }
        let spent = spent();
        let used = spent.saturating_sub(self.spent);
        let change = elapsed.and_then(|elapsed| self.judge(now, elapsed, used));
        self.sketch.clear();
        (self.admitted, self.batches, self.full) = (0, 0, 0);
        (self.begun, self.spent) = (Some(now), spent);
        change
    }

    /// Judges an interval that took `elapsed`, in which the process `used` so much processor time.
    fn judge(&mut self, now: Instant, elapsed: Duration, used: Duration) -> Option<Change> {
        let seconds = elapsed.as_secs_f64();
        let cores = self.quota.cores();
        let load = used.as_secs_f64() / (seconds * cores);
        // One burst after a silence is no flood.
        let full = self.batches >= 4 && self.full * 4 >= self.batches * 3;
        let backlog = std::mem::replace(&mut self.backlog, full) && full;
        let (scarce_from, target) = if self.quota.is_enforced() { ENFORCED } else { BUSY };
        let thinned = self.scarcity.as_ref().map_or(0, Scarcity::thinned);
        if self.sketch.counts().take(2).count() + thinned > 1 {
            self.company = Some(now);
        }
        let company = self.company.is_some_and(|seen| now.duration_since(seen) < COMPANY);
        let mut lasts = company;
        if self.scarcity.is_none() && company && (load > scarce_from || backlog) {
            let done = f64::from(self.admitted) / seconds;
            self.scarcity = Some(Scarcity::new(done, cores));
            tracing::warn!(load, cores, "processor time is scarce: shared between those who ask");
        }
        let scarcity = self.scarcity.as_mut()?;
        // With more waiting than was received, time is short whatever the load says.
        let times = (target / load).min(if backlog { 0.9 } else { f64::INFINITY });
        lasts &= scarcity.adjust(now, times, seconds, &self.sketch);
        if !lasts {
            let thinned = !scarcity.told().is_empty();
            self.scarcity = None;
            tracing::info!("processor time is no longer scarce");
            return thinned.then_some(Change::Stop);
        }
        let rate = scarcity.rate();
        let told = scarcity.news()?;
        tracing::debug!(?told, rate, "sources that send more than their share");
        Some(Change::Thin(filter::program(told.iter().copied())))
    }
}

#[cfg(test)]
mod tests;
