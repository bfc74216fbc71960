//! The zones of one plugin: which one a name is in, and what it holds at the moment.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwapOption;
use hashbrown::HashMap;
use hickory_proto::{
    op::{OpCode, ResponseCode},
    rr::{Name, RecordType},
};

use super::{answer, data::ZoneData};
use crate::{
    corefile::domain::Domain,
    plugin::{Answer, Failure, FailureReason, Next, Outcome, Query},
    plugins::kubernetes::records::name,
    server::long::fold,
    wire::name::FoldedName,
};

/// Told that a zone has changed.
pub type Notify = Arc<dyn Fn(&Name) + Send + Sync>;

/// A zone that is served, and its current state.
pub struct Held {
    /// Its name, in lower case.
    pub name: Name,
    wire: Vec<u8>,
    data: ArcSwapOption<ZoneData>,
    expired: AtomicBool,
}

impl Held {
    /// The zone `domain`, with what is known of it.
    pub fn new(domain: &Domain, data: Option<Arc<ZoneData>>) -> Arc<Self> {
        let wire = domain.to_wire();
        let name = name(&[&wire]).unwrap_or_default();
        Arc::new(Held { name, wire, data: data.into(), expired: AtomicBool::new(false) })
    }

    /// Its current state, if it has one that may be told.
    pub fn current(&self) -> Option<Arc<ZoneData>> {
        self.data.load_full().filter(|_| !self.expired.load(Ordering::Relaxed))
    }

    /// Its last state, however old.
    pub fn last(&self) -> Option<Arc<ZoneData>> {
        self.data.load_full()
    }

    /// Puts a new state in the place of the last.
    pub fn replace(&self, data: Arc<ZoneData>) {
        self.data.store(Some(data));
        self.expired.store(false, Ordering::Relaxed);
    }

    /// Goes on with what another object for the same zone has, however old.
    pub fn resume(&self, other: Option<&Held>) {
        if let Some(other) = other {
            self.data.store(other.data.load_full());
            self.expired.store(other.expired.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Says whether the state is too old to be told (SOA EXPIRE, RFC 1035 §3.3.13).
    pub fn expire(&self, expired: bool) {
        self.expired.store(expired, Ordering::Relaxed);
    }
}

/// The zones of a plugin, by name.
#[derive(Clone, Default)]
pub struct Zones {
    /// By folded wire name.
    by_name: HashMap<Box<[u8]>, Arc<Held>, foldhash::fast::RandomState>,
}

impl Zones {
    /// These zones; of several with one name the last.
    pub fn new(zones: impl IntoIterator<Item = Arc<Held>>) -> Self {
        let mut all = Zones::default();
        zones.into_iter().for_each(|zone| all.insert(zone));
        all
    }

    /// Adds a zone, in the place of one with the same name.
    pub fn insert(&mut self, zone: Arc<Held>) {
        self.by_name.insert(zone.wire.clone().into(), zone);
    }

    /// Takes out the zone of exactly this name.
    pub fn remove(&mut self, name: &Name) -> Option<Arc<Held>> {
        let mut folded = FoldedName::default();
        fold(name, &mut folded)?;
        self.by_name.remove(folded.wire())
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Held>> {
        self.by_name.values()
    }

    /// The zone of exactly this name.
    pub fn named(&self, name: &Name) -> Option<&Arc<Held>> {
        let mut folded = FoldedName::default();
        fold(name, &mut folded)?;
        self.by_name.get(folded.wire())
    }

    /// The zone with the longest name that `name` is in. For DS records that is the zone above, if it
    /// is here (RFC 4035 §3.1.4.1).
    pub fn find(&self, name: &FoldedName, rtype: RecordType) -> Option<&Arc<Held>> {
        let around = |least: usize| {
            let mut suffixes = (least..=name.labels()).map(|at| &name.wire()[name.start(at)..]);
            suffixes.find_map(|suffix| self.by_name.get(suffix))
        };
        let parent = if rtype == RecordType::DS { around(1) } else { None };
        parent.or_else(|| around(0))
    }
}

/// Answers from `zones`, or hands on: names in none of them, and missing ones in `fallthrough`.
///
/// # Errors
/// SERVFAIL for a zone without a usable state, REFUSED for a transfer: that is for `transfer` to do.
pub async fn serve(
    plugin: &'static str,
    zones: &Zones,
    fallthrough: &[Domain],
    query: &Query,
    next: Next<'_>,
) -> Outcome {
    let mut folded = FoldedName::default();
    let zone = fold(query.name(), &mut folded).and_then(|()| zones.find(&folded, query.rtype()));
    let Some(zone) = zone else { return next.serve(query).await };
    if matches!(query.rtype(), RecordType::AXFR | RecordType::IXFR) {
        let reason = FailureReason::Refused;
        return Err(Failure::with_code(plugin, ResponseCode::Refused, reason));
    }
    if query.message.metadata.op_code == OpCode::Notify {
        // Nobody has to tell us of a zone that we are the source of.
        return Ok(Answer::with_code(query, ResponseCode::NotAuth));
    }
    let Some(data) = zone.current() else {
        let what = format!("there is no usable state of the zone {}", zone.name);
        return Err(Failure::new(plugin, FailureReason::Unusable(what.into())));
    };
    let (answer, reply) = answer::answer(&data, query).await;
    if reply.missing && answer.message.answers.is_empty() {
        let asked = Domain::parse(&crate::wire::text::of(query.name()));
        if asked.is_ok_and(|asked| fallthrough.iter().any(|zone| zone.contains(&asked))) {
            return next.serve(query).await;
        }
    }
    Ok(answer)
}
