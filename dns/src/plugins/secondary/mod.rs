//! Answers from zones that other servers have. See README.md.

pub mod config;
mod refresh;

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::{OpCode, ResponseCode},
    rr::{DNSClass, Name, RecordType},
};

use self::{config::Config, refresh::Refresh};
use crate::{
    authority::held::{self, Held, Notify, Zones},
    corefile::domain::Domain,
    plugin::{Answer, Next, Outcome, Plugin, Query},
    plugins::transfer::source::{self, Outgoing},
    server::long::fold,
    wire::{name::FoldedName, text},
};

/// The `secondary` plugin of one block.
pub struct Secondary {
    zones: Zones,
    primaries: HashMap<Name, Primaries>,
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
        // As in CoreDNS the last directive for a zone has it.
        let zones = Zones::new(config.zones.iter().map(|(domain, _)| Held::new(domain, None)));
        let primaries_of = |zone: &Arc<Held>| {
            let mut all = config.zones.iter().rev();
            let found = all.find(|(domain, _)| domain.as_str() == text::folded(&zone.name));
            let addresses = found.map(|(_, addresses)| addresses.clone()).unwrap_or_default();
            let told = Arc::new(tokio::sync::Notify::new());
            (zone.name.clone(), Primaries { addresses, told })
        };
        let primaries: HashMap<Name, Primaries> = zones.iter().map(primaries_of).collect();
        let fallthrough = config.fallthrough.clone();
        let plugin = Arc::new(Secondary { zones, primaries, fallthrough });
        for zone in plugin.zones.iter() {
            let Some(primaries) = plugin.primaries.get(&zone.name) else { continue };
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
        let zone = self.zones.find(&folded, RecordType::SOA)?;
        let primaries = self.primaries.get(&zone.name)?;
        let client = query.origin.client.ip().to_canonical();
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
