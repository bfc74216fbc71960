//! Answers from zones that other servers have. See README.md.

pub mod config;
mod refresh;

use std::{net::SocketAddr, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::{OpCode, ResponseCode},
    rr::{DNSClass, Name, RecordType},
};

use self::{config::Config, refresh::Refresh};
use crate::{
    authority::held::{self, Held, Notify},
    corefile::domain::Domain,
    plugin::{Answer, Next, Outcome, Plugin, Query},
    plugins::transfer::source::{self, Outgoing},
    server::long::fold,
    wire::name::FoldedName,
};

/// The `secondary` plugin of one block.
pub struct Secondary {
    zones: Vec<Arc<Held>>,
    /// Of each zone.
    primaries: Vec<Primaries>,
    fallthrough: Vec<Domain>,
}

/// Where a zone comes from.
struct Primaries {
    addresses: Vec<SocketAddr>,
    /// Wakes whoever keeps the zone up to date.
    told: Arc<tokio::sync::Notify>,
}

impl Secondary {
    /// A plugin by its settings, which gets its zones and keeps them up to date.
    pub fn start(config: &Config, notify: Option<&Notify>) -> Arc<Self> {
        let (mut zones, mut primaries): (Vec<Arc<Held>>, Vec<Primaries>) = (Vec::new(), Vec::new());
        for (domain, addresses) in &config.zones {
            let zone = Held::new(domain, None);
            let told = Arc::new(tokio::sync::Notify::new());
            let of_zone = Primaries { addresses: addresses.clone(), told };
            // As in CoreDNS the last directive for a zone has it.
            match zones.iter().position(|held| held.name == zone.name) {
                Some(at) => (zones[at], primaries[at]) = (zone, of_zone),
                None => {
                    zones.push(zone);
                    primaries.push(of_zone);
                }
            }
        }
        let fallthrough = config.fallthrough.clone();
        let plugin = Arc::new(Secondary { zones, primaries, fallthrough });
        for (zone, primaries) in plugin.zones.iter().zip(&plugin.primaries) {
            let refresh = Refresh {
                zone: Arc::downgrade(zone),
                name: zone.name.clone(),
                primaries: primaries.addresses.clone(),
                told: Arc::clone(&primaries.told),
                notify: notify.cloned(),
            };
            tokio::spawn(refresh.run());
        }
        plugin
    }

    /// The answer to a NOTIFY (RFC 1996), if it is for one of the zones.
    fn notified(&self, query: &Query) -> Option<Answer> {
        let mut folded = FoldedName::default();
        fold(query.name(), &mut folded)?;
        let zone = held::find(&self.zones, &folded, RecordType::SOA)?;
        let at = self.zones.iter().position(|held| Arc::ptr_eq(held, zone))?;
        let client = query.origin.client.ip().to_canonical();
        let primaries = &self.primaries[at];
        let from_primary =
            primaries.addresses.iter().any(|primary| primary.ip().to_canonical() == client);
        if zone.name != *query.name() || !from_primary {
            tracing::info!(
                target: "plugin/secondary",
                "{client} tells of the zone {}, and is none of its primaries", query.name()
            );
            return Some(Answer::with_code(query, ResponseCode::Refused));
        }
        tracing::info!(target: "plugin/secondary", "{client} tells of a change of {}", zone.name);
        primaries.told.notify_one();
        let mut answer = Answer::to(query);
        answer.message.metadata.authoritative = true;
        Some(answer)
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
        held::serve("secondary", &self.zones, &self.fallthrough, query, next).boxed()
    }
}

impl source::Source for Secondary {
    fn zone(&self, name: &Name) -> Option<Option<Outgoing>> {
        source::held(&self.zones, name)
    }
}

#[cfg(test)]
mod tests;
