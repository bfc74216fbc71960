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

/// No reply: the last upstream that failed, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// Its number.
    pub upstream: usize,
    /// What happened.
    pub error: AskError,
}

/// Asks upstreams in `order` (not empty), again from the first if all failed, until one gives a
/// reply, the attempts are used up, or [`DEADLINE`] passes. A reply that `pass_over` names is kept
/// only in case no other upstream has a better one.
///
/// # Errors
/// The last failure.
pub async fn run<T, F>(
    order: &[usize],
    bounds: Bounds,
    ask: impl Fn(usize) -> F,
    pass_over: impl Fn(&T) -> bool,
) -> Result<T, GivenUp>
where
    F: Future<Output = Result<T, AskError>>,
{
    let deadline = Instant::now() + DEADLINE;
    let attempt = |upstream| {
        let reply = ask(upstream);
        async move { (upstream, reply.await) }
    };
    let mut running = FuturesUnordered::new();
    let mut turns = order.iter().copied().cycle();
    let mut failed = GivenUp { upstream: order[0], error: AskError::Timeout };
    let (mut started, mut failures, mut passed) = (0, 0, 0);
    let mut spare = None;
    let mut company = None;
    loop {
        let due = company.is_some_and(|at| at <= Instant::now());
        if running.is_empty() || (due && started < order.len()) {
            if failures + running.len() >= bounds.attempts {
                if running.is_empty() {
                    break;
                }
            } else if let Some(upstream) = turns.next() {
                running.push(attempt(upstream));
                started += 1;
            }
            company = bounds.hedge.map(|after| Instant::now() + after);
        }
        let wake = company.filter(|_| started < order.len()).unwrap_or(deadline).min(deadline);
        tokio::select! {
            biased;
            Some((upstream, result)) = running.next() => match result {
                Ok(reply) if pass_over(&reply) => {
                    passed += 1;
                    if passed >= order.len() {
                        return Ok(reply);
                    }
                    spare = Some(reply);
                    company = Some(Instant::now());
                }
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    failed = GivenUp { upstream, error };
                    failures += 1;
                    company = Some(Instant::now());
                }
            },
            () = sleep_until(wake) => {
                if Instant::now() >= deadline {
                    break;
                }
            }
        }
    }
    spare.ok_or(failed)
}

#[cfg(test)]
mod tests;
