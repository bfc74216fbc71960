//! One query, several upstreams, little time: who is asked when, and whose reply counts.
//!
//! Knows no sockets: whoever calls says what asking an upstream means.

use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

use super::failure::AskError;

/// A query is given up after this, so that the failure still reaches a client that waits 5 seconds.
/// (CoreDNS tries until the 5 seconds are over; nobody gets its answer then.)
pub const DEADLINE: Duration = Duration::from_millis(4500);
/// Attempts for one query where the configuration sets no limit.
pub const MANY: usize = 64;

/// The bounds of a query's attempts.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most failed attempts; at least 1.
    pub attempts: usize,
    /// An upstream that is silent for this long gets company: the next one is asked as well, and the
    /// first reply counts. `None` waits until the attempt fails.
    pub hedge: Option<Duration>,
}

/// What is asked.
pub trait Upstreams {
    /// What comes back.
    type Reply;

    /// Asks an upstream.
    fn ask(&self, upstream: usize) -> impl Future<Output = Result<Self::Reply, AskError>> + Send;

    /// Whether this reply is kept only in case no other upstream has a better one.
    fn pass_over(&self, reply: &Self::Reply) -> bool;

    /// After how long without a reply an upstream is later than it usually is; `None` if that is not
    /// known.
    fn late_after(&self, upstream: usize) -> Option<Duration>;

    /// Whether one that is late may have company at once, before [`Bounds::hedge`]. Asked each time:
    /// there may be a budget.
    fn may_hurry(&self) -> bool;
}

/// No reply: the last upstream that failed, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// Its number.
    pub upstream: usize,
    /// What happened.
    pub error: AskError,
}

/// When the upstream that was asked last gets company.
#[derive(Default)]
struct Company {
    /// If it may hurry.
    early: Option<Instant>,
    firm: Option<Instant>,
}

/// Asks upstreams in `order` (not empty), again from the first if all failed, until one gives a
/// reply, the attempts are used up, or [`DEADLINE`] passes.
///
/// # Errors
/// The last failure.
pub async fn run<U: Upstreams>(
    order: &[usize],
    bounds: Bounds,
    upstreams: &U,
) -> Result<U::Reply, GivenUp> {
    let deadline = Instant::now() + DEADLINE;
    let attempt = |upstream| async move { (upstream, upstreams.ask(upstream).await) };
    let mut running = FuturesUnordered::new();
    let mut turns = order.iter().copied().cycle();
    let mut failed = GivenUp { upstream: order[0], error: AskError::Timeout };
    let (mut started, mut failures, mut passed) = (0, 0, 0);
    let mut spare = None;
    let mut company = Company::default();
    loop {
        let due = started < order.len() && company.is_due(|| upstreams.may_hurry());
        if running.is_empty() || due {
            if failures + running.len() >= bounds.attempts {
                if running.is_empty() {
                    break;
                }
                company = Company::default();
            } else if let Some(upstream) = turns.next() {
                running.push(attempt(upstream));
                started += 1;
                let late = upstreams.late_after(upstream);
                company =
                    bounds.hedge.map_or_else(Company::default, |firm| Company::new(late, firm));
            }
        }
        let wake = company.next().filter(|_| started < order.len()).unwrap_or(deadline);
        tokio::select! {
            biased;
            Some((upstream, result)) = running.next() => match result {
                Ok(reply) if upstreams.pass_over(&reply) => {
                    passed += 1;
                    if passed >= order.len() {
                        return Ok(reply);
                    }
                    spare = Some(reply);
                    company = Company::now();
                }
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    failed = GivenUp { upstream, error };
                    failures += 1;
                    company = Company::now();
                }
            },
            () = sleep_until(wake.min(deadline)) => {
                if Instant::now() >= deadline {
                    break;
                }
            }
        }
    }
    spare.ok_or(failed)
}

impl Company {
    fn new(late: Option<Duration>, firm: Duration) -> Self {
        let now = Instant::now();
        Company {
            early: late.filter(|late| *late < firm).map(|late| now + late),
            firm: Some(now + firm),
        }
    }

    fn now() -> Self {
        Company { early: None, firm: Some(Instant::now()) }
    }

    /// When to look again.
    fn next(&self) -> Option<Instant> {
        self.early.or(self.firm)
    }

    /// Whether it is time. The early time is tried once.
    fn is_due(&mut self, may_hurry: impl Fn() -> bool) -> bool {
        let now = Instant::now();
        let early = self.early.is_some_and(|at| at <= now) && self.early.take().is_some();
        (early && may_hurry()) || self.firm.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests;
