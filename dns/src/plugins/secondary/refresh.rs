//! Keeps one zone up to date, by the timers of its SOA record (RFC 1035 §3.3.13) and when told (RFC 1996).

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use hickory_proto::rr::Name;
use rand::Rng;
use tokio::time::{Instant, sleep, timeout};

use crate::authority::{
    ZoneData,
    held::{Held, Notify},
    incoming::{self, IncomingError},
};

/// Pauses between attempts to get a zone for the first time: from, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Most that a refresh is put off by chance, so that not all zones are asked for at once.
const SPREAD: Duration = Duration::from_secs(5);

/// What it takes.
pub(super) struct Refresh {
    /// Ended when the zone is no longer served.
    pub(super) zone: Weak<Held>,
    pub(super) name: Name,
    pub(super) primaries: Vec<SocketAddr>,
    pub(super) told: Arc<tokio::sync::Notify>,
    pub(super) notify: Option<Notify>,
}

impl Refresh {
    pub(super) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.transfer().await {
                Ok(Some(())) => break,
                Ok(None) => return,
                Err(error) => tracing::warn!(
                    target: "plugin/secondary",
                    "the zone {} did not come, trying again in {pause:?}: {error}", self.name
                ),
            }
            // A primary that tells of a change is there now.
            let _ = timeout(pause, self.told.notified()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            if self.zone.strong_count() == 0 {
                return;
            }
        }
        let (mut last, mut failed) = (Instant::now(), false);
        loop {
            let Some(data) = self.zone.upgrade().and_then(|zone| zone.last()) else { return };
            let soa = data.soa();
            let seconds =
                |timer: i32| Duration::from_secs(u64::try_from(timer).unwrap_or(0).max(1));
            let (refresh, retry) = (seconds(soa.refresh), seconds(soa.retry));
            let expire = seconds(soa.expire);
            drop(data);
            let due = if failed { retry } else { spread(refresh) };
            // Also looked at when the zone expires: it is to be known at once.
            let left = expire.saturating_sub(last.elapsed());
            let wait = if failed && !left.is_zero() { due.min(left) } else { due };
            let _ = timeout(wait, self.told.notified()).await;
            match self.refresh().await {
                Ok(Some(())) => (last, failed) = (Instant::now(), false),
                Ok(None) => return,
                Err(error) => {
                    failed = true;
                    let Some(zone) = self.zone.upgrade() else { return };
                    let expired = last.elapsed() >= expire;
                    zone.expire(expired);
                    let state = if expired { "has expired" } else { "is not up to date" };
                    tracing::warn!(target: "plugin/secondary", "the zone {} {state}: {error}", self.name);
                    // Whoever tells of changes all the time does not make us ask all the time.
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Asks for the serial, and gets the zone if there is a newer one. `None` if nobody wants it any more.
    async fn refresh(&self) -> Result<Option<()>, IncomingError> {
        let Some(zone) = self.zone.upgrade() else { return Ok(None) };
        let held = zone.last().map(|data| data.soa().serial);
        let mut outcome = Err(IncomingError::Silent);
        for primary in &self.primaries {
            outcome = incoming::serial(&self.name, *primary).await;
            if outcome.is_ok() {
                break;
            }
        }
        let serial = outcome?;
        if held.is_some_and(|held| !incoming::is_newer(serial, held)) {
            zone.expire(false);
            return Ok(Some(()));
        }
        drop(zone);
        self.transfer().await
    }

    /// Gets the zone from the first primary that gives it. `None` if nobody wants it any more.
    async fn transfer(&self) -> Result<Option<()>, IncomingError> {
        let mut outcome = Err(IncomingError::Silent);
        for primary in &self.primaries {
            match incoming::transfer(&self.name, *primary).await {
                Ok(data) => return Ok(self.take(data, *primary)),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    fn take(&self, data: ZoneData, primary: SocketAddr) -> Option<()> {
        let zone = self.zone.upgrade()?;
        let (serial, records) = (data.soa().serial, data.len());
        tracing::info!(
            target: "plugin/secondary",
            "got the zone {} with {records} records and the serial {serial} from {primary}", self.name
        );
        zone.replace(Arc::new(data));
        if let Some(notify) = &self.notify {
            notify(&self.name);
        }
        Some(())
    }
}

/// A little more than `period`.
fn spread(period: Duration) -> Duration {
    let most = SPREAD.min(period / 4);
    period + most.mul_f64(rand::rng().random_range(0.0..1.0))
}
