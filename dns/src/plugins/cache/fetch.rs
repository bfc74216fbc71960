//! Asking the rest of the chain: once for all queries that want the same at the same time.

use std::sync::Arc;

use dashmap::{DashMap, Entry as Slot};
use hickory_proto::{op::ResponseCode, rr::Record};
use tokio::sync::watch;

use super::{
    entry::{Entry, Kind},
    key::Key,
    lifetime::{Verdict, judge},
    plugin::{Ask, Core},
};
use crate::{
    plugin::{Answer, FailureReason, Outcome, Query, Rest},
    wire::name::FoldedName,
};

/// What came of asking.
#[derive(Clone)]
pub struct Fetched {
    /// The reply, or why there is none.
    pub outcome: Outcome,
    /// What kind of reply; `None` if it says nothing about the name.
    pub kind: Option<Kind>,
}

/// Why the chain is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A client waits, and there is no entry.
    Miss,
    /// There is an entry, which a failure must not displace.
    Renewal,
}

/// Questions under way. As many as there are queries on the long way, which the server bounds.
#[derive(Default)]
pub struct Flights(DashMap<Box<[u8]>, watch::Receiver<Option<Arc<Fetched>>>>);

/// A question under way, of whoever asks it. When dropped, all who wait know that it is over.
struct Flight<'a> {
    flights: &'a Flights,
    key: &'a Key,
    result: watch::Sender<Option<Arc<Fetched>>>,
}

enum Joined<'a> {
    Leads(Flight<'a>),
    Follows(watch::Receiver<Option<Arc<Fetched>>>),
}

impl Flights {
    fn join<'a>(&'a self, key: &'a Key) -> Joined<'a> {
        match self.0.entry(key.as_bytes().into()) {
            Slot::Occupied(slot) => Joined::Follows(slot.get().clone()),
            Slot::Vacant(slot) => {
                let (result, wait) = watch::channel(None);
                slot.insert(wait);
                Joined::Leads(Flight { flights: self, key, result })
            }
        }
    }
}

impl Flight<'_> {
    /// Tells all who wait. What is local or cut is good for the one who asked alone: it may depend
    /// on the client.
    fn land(self, fetched: &Fetched) {
        let shared = match &fetched.outcome {
            Ok(answer) => !answer.local && !answer.message.metadata.truncation,
            Err(_) => true,
        };
        if shared {
            self.result.send_replace(Some(Arc::new(fetched.clone())));
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.flights.0.remove(self.key.as_bytes());
    }
}

impl Core {
    /// Asks, or waits for somebody who asks the same already.
    pub(super) async fn fetch(
        &self,
        key: &Key,
        query: &Query,
        rest: &Rest,
        purpose: Purpose,
    ) -> Fetched {
        let mut wait = match self.flights.join(key) {
            Joined::Leads(flight) => {
                let fetched = self.ask(key, query, rest, purpose).await;
                flight.land(&fetched);
                return fetched;
            }
            Joined::Follows(wait) => wait,
        };
        let landed = wait.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone());
        match landed {
            Some(fetched) => Fetched::clone(&fetched),
            None => self.ask(key, query, rest, purpose).await,
        }
    }

    async fn ask(&self, key: &Key, query: &Query, rest: &Rest, purpose: Purpose) -> Fetched {
        let outcome = rest.serve(&authentic(query)).await;
        match outcome {
            Ok(mut answer) if !answer.local => {
                let kind = self.keep(key, query, &mut answer, purpose);
                Fetched { outcome: Ok(answer), kind }
            }
            Err(failure) => {
                let upstream = matches!(failure.reason, FailureReason::Upstream { .. });
                if upstream && failure.code == ResponseCode::ServFail {
                    let mut answer = Answer::with_code(query, ResponseCode::ServFail);
                    self.keep(key, query, &mut answer, purpose);
                }
                Fetched { outcome: Err(failure), kind: Some(Kind::Failure) }
            }
            Ok(answer) => Fetched { outcome: Ok(answer), kind: None },
        }
    }

    /// Keeps `answer` as far as it may be kept, and lets its TTLs say for how long.
    fn keep(
        &self,
        key: &Key,
        query: &Query,
        answer: &mut Answer,
        purpose: Purpose,
    ) -> Option<Kind> {
        let (kind, lifetime) = match judge(query, &answer.message, &self.config) {
            Verdict::Keep(kind, lifetime) => (kind, lifetime),
            Verdict::Pass(kind) => return Some(kind),
            Verdict::Unfit => return None,
            Verdict::Mismatch => {
                self.counts.dropped();
                return None;
            }
        };
        let now = (self.clock)();
        // EDNS is between neighbours (RFC 6891 §6.1.1).
        let edns = answer.message.edns.take();
        let entry = Entry::new(key, kind, &answer.message, lifetime, now);
        answer.message.edns = edns;
        let Some(entry) = entry else { return Some(kind) };
        let ttl = entry.full_ttl();
        answer.records_mut().for_each(|record: &mut Record| record.ttl = ttl);
        let unwanted = purpose == Purpose::Renewal && kind == Kind::Failure;
        if !unwanted && !self.is_disabled(kind, query) {
            self.store.keep(entry, now);
        }
        Some(kind)
    }

    fn is_disabled(&self, kind: Kind, query: &Query) -> bool {
        let zones = match kind {
            Kind::Answer | Kind::Other => &self.not_success,
            Kind::Denial | Kind::Failure => &self.not_denial,
        };
        if zones.is_empty() {
            return false;
        }
        let mut name = FoldedName::default();
        crate::server::long::fold(query.name(), &mut name).is_some() && zones.contain(&name)
    }

    /// Renews `entry`, whose renewal has begun, behind the client's back. Not if too many are under
    /// way: then a later query does it.
    pub(super) fn renew_behind(
        self: &Arc<Self>,
        entry: Entry,
        ask: &Ask,
        query: &Query,
        rest: Rest,
    ) {
        let Ok(place) = Arc::clone(&self.renewals).try_acquire_owned() else {
            return self.end_renewal(&entry, false);
        };
        self.counts.prefetched();
        let (core, key, query) = (Arc::clone(self), ask.key.clone(), query.clone());
        tokio::spawn(async move {
            let fetched = core.fetch(&key, &query, &rest, Purpose::Renewal).await;
            core.end_renewal(&entry, core.renews(&fetched));
            drop(place);
        });
    }

    pub(super) fn end_renewal(&self, entry: &Entry, renewed: bool) {
        let pause = self.config.stale.as_ref().map(|stale| stale.recheck).unwrap_or_default();
        entry.end_renewal((self.clock)(), renewed, pause);
    }

    /// Whether a reply takes the place of a stale one (RFC 8767 §4: NOERROR or NXDOMAIN).
    pub(super) fn renews(&self, fetched: &Fetched) -> bool {
        let prefer_positive = self.config.stale.as_ref().is_some_and(|stale| stale.prefer_positive);
        match (&fetched.outcome, fetched.kind) {
            (Ok(answer), _) if answer.local => true,
            (Ok(_), Some(Kind::Answer)) => true,
            (Ok(_), Some(Kind::Other | Kind::Denial)) => !prefer_positive,
            _ => false,
        }
    }
}

/// The query with AD set: upstream says what it knows to be authentic, so that it is known of the
/// entry; clients that did not ask do not hear of it.
fn authentic(query: &Query) -> Query {
    if query.message.metadata.authentic_data {
        return query.clone();
    }
    let mut query = query.clone();
    Arc::make_mut(&mut query.message).metadata.authentic_data = true;
    query
}
