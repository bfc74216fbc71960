//! The `cache` plugin on the long way.

use std::sync::{Arc, OnceLock};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::{Message, OpCode},
    rr::DNSClass,
};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    config::{Config, Refresh, Stale},
    counts::{CacheFamilies, Counts, Labels},
    entry::{Age, Entry},
    fetch::{Fetched, Flights, Purpose},
    key::{Bits, Key},
    moment::{self, Clock, Moment},
    store::{Found, Store},
};
use crate::{
    corefile::domain::Domain,
    metrics::Metrics,
    plugin::{Answer, Next, Outcome, Plugin, Query, Rest},
    plugins::kubernetes::wire::Asked,
    server::{
        long::{add_extended_error, fold},
        short::ShortPlan,
    },
    wire::{
        CLASS_IN, HEADER, MAX_MESSAGE, MIN_UDP,
        name::{FoldedName, count_labels},
        query::Plain,
    },
};

/// Entries renewed at once behind their clients' backs.
pub(super) const RENEWALS: usize = 1024;

/// The `cache` plugin of one block.
#[derive(Clone)]
pub struct Cache(pub(super) Arc<Core>);

/// What the ways through the cache share.
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) store: Arc<Store>,
    pub(super) counts: Arc<Counts>,
    pub(super) flights: Flights,
    pub(super) renewals: Arc<Semaphore>,
    pub(super) not_success: Zones,
    pub(super) not_denial: Zones,
    zones: Zones,
    /// What the block's other plugins know by themselves: it is neither looked up nor kept.
    own: OnceLock<ShortPlan>,
}

/// Zones, folded wire form with number of labels.
pub(super) struct Zones(Vec<(Vec<u8>, usize)>);

/// A question as the cache has it.
pub(super) struct Ask {
    pub(super) key: Key,
    /// Header and question as a client without EDNS would send them.
    request: Vec<u8>,
    plain: Plain,
    name: FoldedName,
}

impl Cache {
    /// An empty cache by its settings. It counts under `labels`.
    pub fn new(config: &Config, labels: &Labels, metrics: &Metrics) -> Self {
        let families = metrics.shared(CacheFamilies::new());
        let cache = Cache::with_clock(config, families.counts(labels), moment::system());
        families.watch(labels, &cache.0.store);
        cache
    }

    /// As [`Cache::new`], by another clock and without showing up in metrics.
    pub fn with_clock(config: &Config, counts: Arc<Counts>, clock: Clock) -> Self {
        Cache(Arc::new(Core {
            store: Arc::new(Store::new(config, &counts)),
            clock,
            counts,
            flights: Flights::default(),
            renewals: Arc::new(Semaphore::new(RENEWALS)),
            not_success: Zones::new(&config.success.disabled),
            not_denial: Zones::new(&config.denial.disabled),
            zones: Zones::new(&config.zones),
            own: OnceLock::new(),
            config: config.clone(),
        }))
    }

    /// Leaves the names that `own` may answer to it. Said once, before the first query.
    pub fn leave_to(&self, own: ShortPlan) {
        // Said twice, the first one stays: there is one block.
        let _ = self.0.own.set(own);
    }
}

impl Plugin for Cache {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        match self.0.asked(query) {
            Some(ask) => self.0.answer(ask, query, next.rest()).boxed(),
            None => next.serve(query).boxed(),
        }
    }
}

impl Core {
    /// The question, if it is one for the cache.
    fn asked(&self, query: &Query) -> Option<Ask> {
        let message = &query.message;
        let in_class = message.queries[0].query_class == DNSClass::IN;
        if message.metadata.op_code != OpCode::Query || !in_class {
            return None;
        }
        let mut name = FoldedName::default();
        fold(query.name(), &mut name)?;
        let qtype = u16::from(query.rtype());
        let own = self.own.get().is_some_and(|own| own.owns(&name, qtype));
        (self.takes(&name) && !own).then(|| Ask::new(query, name))
    }

    /// Whether names like this are cached.
    pub(super) fn takes(&self, name: &FoldedName) -> bool {
        self.zones.contain(name)
    }

    async fn answer(self: &Arc<Self>, ask: Ask, query: &Query, rest: Rest) -> Outcome {
        let now = (self.clock)();
        let found = self.store.find(ask.key.as_bytes(), now);
        let held = found.and_then(|found| {
            let mut answer = ask.answer(&found.entry, self.ttl(&found))?;
            if let Some(code) = found.entry.extended_error(found.age) {
                add_extended_error(&mut answer.message, code, "");
            }
            Some((found, answer))
        });
        let Some((found, answer)) = held else {
            let fetched = self.fetch(&ask.key, query, &rest, Purpose::Miss).await;
            if !fetched.outcome.as_ref().is_ok_and(|answer| answer.local) {
                self.counts.missed();
            }
            return fetched.outcome.map(|answer| for_client(query, answer));
        };
        if found.entry.take_wanted() {
            // The short way answered and counted this query; what is left is to renew.
            self.renew_behind(found.entry, &ask, query, rest);
            return Ok(answer);
        }
        if let (Age::Expired(_), Some(stale)) = (found.age, &self.config.stale)
            && let Refresh::Verify(_) = stale.refresh
            && let Some(fresh) = self.verify(&found.entry, stale, &ask, query, &rest, now).await
        {
            self.counts.hit(found.side, false);
            return fresh.outcome.map(|answer| for_client(query, answer));
        }
        self.counts.hit(found.side, matches!(found.age, Age::Expired(_)));
        if self.is_due(&found, now) && found.entry.begin_renewal(now) {
            self.renew_behind(found.entry, &ask, query, rest);
        }
        Ok(answer)
    }

    /// The TTL that records of this entry carry now.
    pub(super) fn ttl(&self, found: &Found) -> u32 {
        let stale = self.config.stale.as_ref().map_or(0, |stale| stale.ttl);
        match found.age {
            Age::Expired(_) if stale > 0 => stale,
            _ if self.config.keep_ttl => found.entry.full_ttl(),
            Age::Fresh(left) => left,
            Age::Expired(_) => 0,
        }
    }

    /// Whether an entry that is served now wants to be renewed behind the client's back. Counts the
    /// hit for `prefetch`.
    pub(super) fn is_due(&self, found: &Found, now: Moment) -> bool {
        match (found.age, &self.config.stale) {
            (Age::Expired(_), Some(stale)) => stale.refresh == Refresh::Immediate,
            (Age::Expired(_), None) => false,
            (Age::Fresh(_), _) => {
                let prefetch = &self.config.prefetch;
                prefetch.amount != 0
                    && found.entry.hit(now, prefetch.within) >= prefetch.amount
                    && found.entry.nears_its_end(now, prefetch.percentage)
            }
        }
    }

    /// Asks about a stale entry first; gives what may be served in its place. `None` if that failed,
    /// takes too long, or failed just now.
    async fn verify(
        self: &Arc<Self>,
        entry: &Entry,
        stale: &Stale,
        ask: &Ask,
        query: &Query,
        rest: &Rest,
        now: Moment,
    ) -> Option<Fetched> {
        let Refresh::Verify(patience) = stale.refresh else { return None };
        let Some(patience) = patience else {
            if !entry.may_renew(now) {
                return None;
            }
            let fetched = self.fetch(&ask.key, query, rest, Purpose::Renewal).await;
            let renewed = self.renews(&fetched);
            self.end_renewal(entry, renewed);
            return renewed.then_some(fetched);
        };
        if !entry.begin_renewal(now) {
            return None;
        }
        let (core, entry, key) = (Arc::clone(self), entry.clone(), ask.key.clone());
        let (query, rest) = (query.clone(), rest.clone());
        // It goes on when the client has waited long enough, and then serves the next one.
        let fetching = tokio::spawn(async move {
            let fetched = core.fetch(&key, &query, &rest, Purpose::Renewal).await;
            let renewed = core.renews(&fetched);
            core.end_renewal(&entry, renewed);
            renewed.then_some(fetched)
        });
        timeout(patience, fetching).await.ok()?.ok()?
    }
}

impl Zones {
    fn new(zones: &[Domain]) -> Self {
        let counted = |zone: &Domain| {
            let wire = zone.to_wire();
            let labels = count_labels(&wire);
            (wire, labels)
        };
        Zones(zones.iter().map(counted).collect())
    }

    pub(super) fn contain(&self, name: &FoldedName) -> bool {
        self.0.iter().any(|(zone, labels)| name.labels_above(zone, *labels).is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Ask {
    fn new(query: &Query, name: FoldedName) -> Self {
        let metadata = &query.message.metadata;
        let bits = Bits {
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: metadata.checking_disabled,
            recursion_desired: metadata.recursion_desired,
        };
        let authentic = metadata.authentic_data || bits.dnssec_ok;
        let qtype = u16::from(query.rtype());
        let mut request = vec![0; HEADER];
        request[2] = u8::from(bits.recursion_desired);
        request[3] = u8::from(authentic) << 5 | u8::from(bits.checking_disabled) << 4;
        request[5] = 1;
        for label in query.name() {
            request.push(label.len() as u8);
            request.extend(label);
        }
        request.push(0);
        request.extend([qtype.to_be_bytes(), CLASS_IN.to_be_bytes()].as_flattened());
        let plain = Plain { qtype, question_end: request.len(), edns: None };
        Ask { key: Key::new(&name, qtype, bits), request, plain, name }
    }

    /// The reply that `entry` makes. `None` never happens for entries found by this question.
    fn answer(&self, entry: &Entry, ttl: u32) -> Option<Answer> {
        let asked = Asked {
            renamed: false,
            message: &self.request,
            plain: &self.plain,
            name: &self.name,
            limit: MAX_MESSAGE,
            rotation: 0,
        };
        let room = self.request.len() + entry.size();
        let mut out = vec![0; room.max(MIN_UDP)];
        let written = entry.write(&mut out, &asked, ttl, None)?;
        Message::from_vec(&out[..written.len]).ok().map(Answer::relayed)
    }
}

/// A reply made for many, as this client may see it.
fn for_client(query: &Query, mut answer: Answer) -> Answer {
    if !answer.local {
        let authentic = query.dnssec_ok() || query.message.metadata.authentic_data;
        answer.message.metadata.authentic_data &= authentic;
    }
    answer
}
