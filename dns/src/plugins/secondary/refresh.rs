//! Keeps one zone up to date, by the timers of its SOA record (RFC 1035 §3.3.13) and when told (RFC 1996).

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use hickory_proto::rr::Name;
use rand::Rng;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::Secondary;
use crate::{
    authority::{
        ZoneData,
        catalog::Catalog,
        held::{Held, Notify},
        incoming::{self, IncomingError},
    },
    corefile::domain::Domain,
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
    pub(super) primaries: Arc<[SocketAddr]>,
    pub(super) told: Arc<tokio::sync::Notify>,
    pub(super) notify: Option<Notify>,
    /// If it is a catalog.
    pub(super) listing: Option<Listing>,
    /// Of a member of a catalog: it waits for its turn.
    pub(super) turns: Option<Arc<Semaphore>>,
}

/// A catalog of a block.
pub(super) struct Listing {
    /// Who has its members.
    pub(super) plugin: Weak<Secondary>,
    pub(super) origin: Domain,
    /// Zones that members are to be in; none for all.
    pub(super) allowed: Vec<Domain>,
    /// Where its members come from.
    pub(super) primaries: Arc<[SocketAddr]>,
    /// Of its members.
    pub(super) turns: Arc<Semaphore>,
}

impl Refresh {
    pub(super) async fn run(self) {
        // A member that another catalog had goes on with what it has, until its new primaries give it.
        let mut resumed = self.zone.upgrade().is_some_and(|zone| zone.last().is_some());
        if !resumed && self.first().await.is_none() {
            return;
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
            if !resumed || failed {
                let _ = timeout(wait, self.told.notified()).await;
            }
            let outcome = match resumed {
                // Serials of the old primaries say nothing about these.
                true => self.in_turn(self.transfer()).await,
                false => self.in_turn(self.refresh()).await,
            };
            match outcome {
                Ok(Some(())) => (last, failed, resumed) = (Instant::now(), false, false),
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

    /// Gets the zone for the first time, however long that takes. `None` if nobody wants it any more.
    async fn first(&self) -> Option<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.in_turn(self.transfer()).await {
                Ok(taken) => return taken,
                Err(error) => tracing::warn!(
                    target: "plugin/secondary",
                    "the zone {} did not come, trying again in {pause:?}: {error}", self.name
                ),
            }
            // A primary that tells of a change is there now.
            let _ = timeout(pause, self.told.notified()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            if self.zone.strong_count() == 0 {
                return None;
            }
        }
    }

    /// Waits until it is the zone's turn, if it is one of many.
    async fn in_turn<T>(&self, work: impl Future<Output = T>) -> T {
        let _turn = match &self.turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        work.await
    }

    /// Asks for the serial, and gets the zone if there is a newer one. `None` if nobody wants it any more.
    async fn refresh(&self) -> Result<Option<()>, IncomingError> {
        let Some(zone) = self.zone.upgrade() else { return Ok(None) };
        let held = zone.last().map(|data| data.soa().serial);
        let mut outcome = Err(IncomingError::Silent);
        for primary in self.primaries.iter() {
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
        for primary in self.primaries.iter() {
            match self.transfer_from(*primary).await {
                Ok(taken) => return Ok(taken),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Gets the zone from this primary. A catalog has to be one.
    async fn transfer_from(&self, primary: SocketAddr) -> Result<Option<()>, IncomingError> {
        let data = incoming::transfer(&self.name, primary).await?;
        let Some(listing) = &self.listing else { return Ok(self.take(data, primary)) };
        let catalog = Catalog::read(&data)?;
        let taken = self.take(data, primary);
        if let Some(plugin) = listing.plugin.upgrade() {
            plugin.follow(listing, catalog);
        }
        Ok(taken)
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
