//! Whether an upstream is up: checked only after a query to it failed, until it answers again.
//!
//! ```text
//!        a query fails          more than max_fails checks fail
//!   Up ───────────────▶ Doubtful ───────────────────────────────▶ Down
//!    ▲                     │ a check succeeds                      │
//!    └─────────────────────┴───────────────────────────────────────┘
//! ```
//!
//! A failure is remembered for 1 to 5 seconds as well, the longer the more there were in a row: where
//! nothing is checked, that is all there is (RFC 9520 §3.2). A reply, or a check that succeeds, ends it.

use std::{
    sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How long a failure is remembered at least and at most.
const REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// What is known about an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing bad.
    Up,
    /// A query failed just now, or checks are under way.
    Doubtful,
    /// More checks failed in a row than are forgiven.
    Down,
    /// It leads back to us; only a new configuration changes that.
    Cut,
}

/// Follows one upstream's health.
#[derive(Debug)]
pub struct Health {
    max_fails: u32,
    fails: AtomicU32,
    checking: AtomicBool,
    cut: AtomicBool,
    born: Instant,
    /// Queries that failed in a row.
    failed: AtomicU32,
    /// Milliseconds after `born` until which the last failure is remembered.
    resting: AtomicU64,
}

impl Health {
    /// An upstream that is up. It is down once more than `max_fails` checks failed; 0 is never.
    pub fn new(max_fails: u32) -> Self {
        Health {
            max_fails,
            fails: AtomicU32::new(0),
            checking: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            born: Instant::now(),
            failed: AtomicU32::new(0),
            resting: AtomicU64::new(0),
        }
    }

    /// The state now.
    pub fn state(&self) -> State {
        if self.cut.load(Acquire) {
            return State::Cut;
        }
        if self.max_fails != 0 && self.fails.load(Acquire) > self.max_fails {
            return State::Down;
        }
        let rests = self.failed.load(Relaxed) > 0 && self.age() < self.resting.load(Relaxed);
        match rests || self.checking.load(Acquire) {
            true => State::Doubtful,
            false => State::Up,
        }
    }

    /// A query failed: others are asked before this one for a while.
    pub fn rest(&self) {
        let failed = self.failed.fetch_add(1, Relaxed).saturating_add(1);
        let rest = REST.saturating_mul(failed).min(LONGEST_REST);
        self.resting.store(self.age() + rest.as_millis() as u64, Relaxed);
    }

    /// A query was answered.
    pub fn query_answered(&self) {
        if self.failed.load(Relaxed) > 0 {
            self.failed.store(0, Relaxed);
        }
    }

    /// Milliseconds.
    fn age(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A query failed. Tells whether the caller has to start checking; never twice at a time.
    pub fn query_failed(&self) -> bool {
        self.max_fails != 0 && !self.checking.swap(true, AcqRel)
    }

    /// A check ended. Tells whether to check again.
    pub fn checked(&self, answered: bool) -> bool {
        if answered {
            self.fails.store(0, Release);
            self.query_answered();
            self.checking.store(false, Release);
            return false;
        }
        let more = |fails: u32| Some(fails.saturating_add(1));
        // The closure always gives a value.
        let _ = self.fails.fetch_update(AcqRel, Acquire, more);
        true
    }

    /// The upstream leads back to us. Tells whether this was not known before.
    pub fn cut(&self) -> bool {
        !self.cut.swap(true, AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_down_only_after_more_failed_checks_than_forgiven() {
        let health = Health::new(2);
        assert_eq!(health.state(), State::Up);
        assert!(health.query_failed());
        assert!(!health.query_failed(), "a check is under way already");
        for want in [State::Doubtful, State::Doubtful, State::Down, State::Down] {
            assert!(health.checked(false));
            assert_eq!(health.state(), want);
        }
        assert!(!health.checked(true));
        assert_eq!(health.state(), State::Up);
        assert!(health.query_failed(), "after recovery it is checked anew");
    }

    #[test]
    fn without_max_fails_nothing_is_checked_or_down() {
        let health = Health::new(0);
        assert!(!health.query_failed());
        assert_eq!(health.state(), State::Up);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_remembered_for_one_to_five_seconds_without_checks() {
        let health = Health::new(0);
        for (failures, seconds) in [(1, 1), (2, 2), (5, 5), (20, 5)] {
            health.query_answered();
            assert_eq!(health.state(), State::Up);
            (0..failures).for_each(|_| health.rest());
            tokio::time::advance(Duration::from_secs(seconds) - Duration::from_millis(2)).await;
            assert_eq!(health.state(), State::Doubtful, "{failures}");
            tokio::time::advance(Duration::from_millis(4)).await;
            assert_eq!(health.state(), State::Up, "{failures}");
        }
        health.rest();
        health.checked(true);
        assert_eq!(health.state(), State::Up);
    }

    #[test]
    fn what_is_cut_stays_cut() {
        let health = Health::new(2);
        assert!(health.cut());
        assert!(!health.cut());
        health.checked(true);
        assert_eq!(health.state(), State::Cut);
    }
}
