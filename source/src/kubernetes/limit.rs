//! Bounds on what the API server is asked: `apiserver_qps`, `apiserver_burst` and
//! `apiserver_max_inflight`.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

/// Bounds on requests; nothing set means no bound.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Limits {
    /// Requests a second, on average. Zero counts as not set.
    pub qps: Option<f32>,
    /// Requests at once that the average allows; 10 if only `qps` is set, as in client-go.
    pub burst: Option<u32>,
    /// Requests that wait for their response's head at the same time. Zero counts as not set.
    pub max_inflight: Option<u32>,
}

/// Lets requests through within [`Limits`].
pub(crate) struct Limiter {
    rate: Option<Bucket>,
    inflight: Option<Semaphore>,
}

struct Bucket {
    per_second: f64,
    size: f64,
    /// Tokens, and when they were counted. Below zero: owed to those who wait already.
    level: Mutex<(f64, Instant)>,
}

impl Limiter {
    /// client-go's own defaults, for what is left open when the other is set.
    const BURST: u32 = 10;
    const QPS: f32 = 5.0;

    pub(crate) fn new(limits: Limits) -> Self {
        let qps = limits.qps.filter(|qps| *qps > 0.0);
        let burst = limits.burst.filter(|burst| *burst > 0);
        let rate = (qps.is_some() || burst.is_some()).then(|| {
            let size = f64::from(burst.unwrap_or(Self::BURST));
            Bucket {
                per_second: f64::from(qps.unwrap_or(Self::QPS)),
                size,
                level: Mutex::new((size, Instant::now())),
            }
        });
        let inflight = limits.max_inflight.filter(|n| *n > 0);
        let inflight = inflight.map(|n| Semaphore::new((n as usize).min(Semaphore::MAX_PERMITS)));
        Limiter { rate, inflight }
    }

    /// Waits for its turn. Hold what is returned until the response's head is there.
    pub(crate) async fn admit(&self) -> Option<SemaphorePermit<'_>> {
        if let Some(rate) = &self.rate {
            let wait = rate.take();
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
        match &self.inflight {
            // Never closed, so an error cannot come.
            Some(inflight) => inflight.acquire().await.ok(),
            None => None,
        }
    }
}

impl Bucket {
    fn take(&self) -> Duration {
        let mut level = self.level.lock();
        let now = Instant::now();
        let refill = now.duration_since(level.1).as_secs_f64() * self.per_second;
        *level = ((level.0 + refill).min(self.size) - 1.0, now);
        Duration::try_from_secs_f64((-level.0).max(0.0) / self.per_second).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let limiter = Limiter::new(Limits { qps: Some(2.0), burst: Some(3), ..Limits::default() });
        let began = Instant::now();
        for want in [0, 0, 0, 500, 1000, 1500] {
            limiter.admit().await;
            assert_eq!(began.elapsed().as_millis() / 10 * 10, want);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_in_flight() {
        let limiter = Limiter::new(Limits { max_inflight: Some(1), ..Limits::default() });
        let first = limiter.admit().await;
        let second = tokio::time::timeout(Duration::from_secs(60), limiter.admit()).await;
        assert!(second.is_err(), "the first still holds its place");
        drop(first);
        assert!(limiter.admit().await.is_some());
    }
}
