//! Answers from zones that other servers have. See README.md.

pub mod config;
mod members;
mod refresh;

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::{OpCode, ResponseCode},
    rr::{DNSClass, Name, RecordType},
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use self::{
    config::Config,
    members::{Change, Members},
    refresh::{Listing, Refresh},
};
use crate::{
    authority::{
        catalog::Catalog,
        held::{self, Held, Notify, Zones},
    },
    corefile::domain::Domain,
    plugin::{Answer, Next, Outcome, Plugin, Query},
    plugins::transfer::source::{self, Outgoing},
    server::long::fold,
    wire::name::FoldedName,
};

/// Most member zones of a catalog that are asked for at the same time.
const TURNS: usize = 16;

/// The `secondary` plugin of one block.
pub struct Secondary {
    state: ArcSwap<State>,
    /// What catalogs brought; held while the state is changed.
    members: Mutex<Members>,
    fallthrough: Vec<Domain>,
    /// What is told of changes of zones.
    notify: Option<Notify>,
}

/// The zones that are there now. Catalogs change which.
#[derive(Clone, Default)]
struct State {
    zones: Zones,
    keepers: HashMap<Name, Arc<Keeper>>,
}

/// What keeps one zone up to date, for as long as it is there.
struct Keeper {
    primaries: Arc<[SocketAddr]>,
    /// Wakes the task.
    told: Arc<tokio::sync::Notify>,
    task: tokio::task::AbortHandle,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Secondary {
    /// A plugin by its settings, which gets its zones and keeps them up to date.
    pub fn start(config: &Config, notify: Option<&Notify>) -> Arc<Self> {
        let plugin = Arc::new(Secondary {
            state: ArcSwap::default(),
            members: Mutex::new(Members::beside(config.zones.iter().map(|it| it.name.clone()))),
            fallthrough: config.fallthrough.clone(),
            notify: notify.cloned(),
        });
        // No catalog changes the state before it is there.
        let building = plugin.members.lock();
        let mut state = State::default();
        // As in CoreDNS the last directive for a zone has it.
        let last: HashMap<&Domain, &config::Zone> =
            config.zones.iter().map(|zone| (&zone.name, zone)).collect();
        for zone in last.into_values() {
            let primaries: Arc<[SocketAddr]> = zone.primaries.as_slice().into();
            let listing = zone.catalog.as_ref().map(|allowed| Listing {
                plugin: Arc::downgrade(&plugin),
                origin: zone.name.clone(),
                allowed: allowed.clone(),
                primaries: Arc::clone(&primaries),
                turns: Arc::new(Semaphore::new(TURNS)),
            });
            let held = Held::new(&zone.name, None);
            state.take(&held, plugin.keeper(&held, primaries, listing, None));
        }
        plugin.state.store(Arc::new(state));
        drop(building);
        plugin
    }

    fn keeper(
        &self,
        zone: &Arc<Held>,
        primaries: Arc<[SocketAddr]>,
        listing: Option<Listing>,
        turns: Option<Arc<Semaphore>>,
    ) -> Keeper {
        let told = Arc::new(tokio::sync::Notify::new());
        let refresh = Refresh {
            zone: Arc::downgrade(zone),
            name: zone.name.clone(),
            primaries: Arc::clone(&primaries),
            told: Arc::clone(&told),
            notify: self.notify.clone(),
            listing,
            turns,
        };
        Keeper { primaries, told, task: tokio::spawn(refresh.run()).abort_handle() }
    }

    /// Does what a catalog says: fetches its members, and lets those go that it no longer has.
    fn follow(&self, listing: &Listing, catalog: Catalog) {
        let mut members = self.members.lock();
        let changes = members.apply(&listing.origin, &listing.allowed, catalog);
        if changes.is_empty() {
            return;
        }
        let mut state = State::clone(&self.state.load());
        for change in changes {
            let (Change::Comes(domain) | Change::Moves(domain) | Change::Goes(domain)) = &change;
            let zone = Held::new(domain, None);
            let before = state.let_go(&zone.name);
            match change {
                Change::Goes(_) => continue,
                Change::Moves(_) => zone.resume(before.as_deref()),
                Change::Comes(_) => {}
            }
            let turns = Some(Arc::clone(&listing.turns));
            let keeper = self.keeper(&zone, Arc::clone(&listing.primaries), None, turns);
            state.take(&zone, keeper);
        }
        self.state.store(Arc::new(state));
    }

    /// The answer to a NOTIFY (RFC 1996), if it is for one of the zones.
    fn notified(&self, query: &Query) -> Option<Answer> {
        let mut folded = FoldedName::default();
        fold(query.name(), &mut folded)?;
        let state = self.state.load();
        let zone = state.zones.find(&folded, RecordType::SOA)?;
        let keeper = state.keepers.get(&zone.name)?;
        let client = query.origin.client.ip().to_canonical();
        let from_primary =
            keeper.primaries.iter().any(|primary| primary.ip().to_canonical() == client);
        if zone.name != *query.name() || !from_primary {
            tracing::info!(
                target: "plugin/secondary",
                "{client} tells of the zone {}, and is none of its primaries", query.name()
            );
            return Some(Answer::with_code(query, ResponseCode::Refused));
        }
        tracing::info!(target: "plugin/secondary", "{client} tells of a change of {}", zone.name);
        keeper.told.notify_one();
        let mut answer = Answer::to(query);
        answer.message.metadata.authoritative = true;
        Some(answer)
    }
}

impl State {
    fn take(&mut self, zone: &Arc<Held>, keeper: Keeper) {
        self.zones.insert(Arc::clone(zone));
        self.keepers.insert(zone.name.clone(), Arc::new(keeper));
    }

    /// Takes the zone out, and gives it back if it was there.
    fn let_go(&mut self, name: &Name) -> Option<Arc<Held>> {
        self.keepers.remove(name);
        self.zones.remove(name)
    }
}

impl Plugin for Secondary {
    fn name(&self) -> &'static str {
        "secondary"
    }

    fn knows(&self, class: DNSClass) -> bool {
        class == DNSClass::IN
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        if query.message.metadata.op_code == OpCode::Notify
            && let Some(answer) = self.notified(query)
        {
            return std::future::ready(Ok(answer)).boxed();
        }
        let state = self.state.load_full();
        async move { held::serve("secondary", &state.zones, &self.fallthrough, query, next).await }
            .boxed()
    }
}

impl source::Source for Secondary {
    fn zone(&self, name: &Name) -> Option<Option<Outgoing>> {
        source::held(&self.state.load().zones, name)
    }
}

#[cfg(test)]
mod tests;
