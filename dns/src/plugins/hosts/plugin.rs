//! The `hosts` plugin: answers, and which names the short way must leave to it.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::PTR},
};
use prometheus::{Gauge, IntGaugeVec};

use super::{
    config::Config,
    entries::Entries,
    file::{self, Stamp},
    short::Names,
};
use crate::{
    corefile::domain::Domain,
    metrics::{Metrics, gauges},
    plugin::{Answer, Next, Outcome, Plugin, Query},
    plugins::kubernetes::{
        records::address_data,
        wire::{Asked, Written},
    },
    server::short::ClaimNames,
    wire::name::{FoldedName, count_labels},
};

/// The `hosts` plugin of one block.
pub struct Hosts {
    config: Config,
    /// The settings' zones, folded wire form with number of labels.
    zones: Vec<(Vec<u8>, usize)>,
    fallthrough: Vec<(Vec<u8>, usize)>,
    data: ArcSwap<Data>,
    entries: IntGaugeVec,
    reloaded: Gauge,
}

/// One state of the entries, and the names that they are about.
#[derive(Default)]
struct Data {
    file: Entries,
    stamp: Option<Stamp>,
    names: Names,
}

impl Hosts {
    /// A plugin by its settings; the file is read now and looked at again as they say.
    pub fn start(config: &Config, metrics: &Metrics) -> Arc<Self> {
        let entries =
            gauges("coredns_hosts_entries", "Pairs of names and addresses.", &["hostsfile"]);
        let reloaded = Gauge::new(
            "coredns_hosts_reload_timestamp_seconds",
            "Modification time of the hosts file that is served, in seconds since 1970.",
        )
        .expect("a valid metric name");
        let hosts = Arc::new(Hosts {
            config: config.clone(),
            zones: config.zones.iter().map(Domain::to_wire).map(counted).collect(),
            fallthrough: config.fallthrough.iter().map(Domain::to_wire).map(counted).collect(),
            data: ArcSwap::default(),
            entries: metrics.shared(entries),
            reloaded: metrics.shared(reloaded),
        });
        if let Err(error) = file::stamp(&config.file) {
            tracing::warn!(target: "plugin/hosts", "{}: {error}", config.file.display());
        }
        hosts.build(Entries::default(), None);
        hosts.look();
        if !config.reload.is_zero() {
            tokio::spawn(follow(Arc::downgrade(&hosts), config.reload));
        }
        hosts
    }

    /// Reads the file if it changed. One that can't be read leaves the last good entries.
    fn look(&self) {
        let Ok(stamp) = file::stamp(&self.config.file) else { return };
        if self.data.load().stamp == Some(stamp) {
            return;
        }
        match file::read(&self.config.file, &self.config.zones) {
            Ok(entries) => self.build(entries, Some(stamp)),
            Err(error) => {
                tracing::error!(target: "plugin/hosts", "{}: {error}", self.config.file.display());
            }
        }
    }

    fn build(&self, mut file: Entries, stamp: Option<Stamp>) {
        if !self.config.reverse {
            file.forget_names();
        }
        let mut names = Names::of([&self.config.inline, &file]);
        let pairs = self.config.inline.iter().chain(file.iter()).filter(|_| self.config.reverse);
        pairs.filter_map(|(_, ip)| reverse_wire(ip)).for_each(|wire| names.add_reverse(wire));
        let path = self.config.file.display().to_string();
        let count = self.config.inline.len() + file.len();
        self.entries.with_label_values(&[&path]).set(count as i64);
        if let Some(since) = stamp.and_then(|stamp| stamp.modified.duration_since(UNIX_EPOCH).ok())
        {
            self.reloaded.set(since.as_secs_f64());
        }
        self.data.store(Arc::new(Data { file, stamp, names }));
    }

    fn falls_through(&self, name: &Domain) -> bool {
        self.config.fallthrough.iter().any(|zone| zone.contains(name))
    }

    /// The reply, or `None` to hand on.
    fn answer(&self, query: &Query) -> Option<Answer> {
        let name = Domain::parse(&query.name().to_ascii()).ok()?;
        let in_zones = self.config.zones.iter().any(|zone| zone.contains(&name));
        let data = self.data.load();
        let lookup = Lookup { inline: &self.config.inline, data: &data, name: &name };
        let rdata: Vec<RData> = match query.rtype() {
            RecordType::PTR => {
                let names = lookup.names(query.name());
                if names.is_empty() {
                    return None;
                }
                names.into_iter().map(|name| RData::PTR(PTR(name))).collect()
            }
            _ if !in_zones => return None,
            RecordType::A => lookup.addresses(IpAddr::is_ipv4),
            RecordType::AAAA => lookup.addresses(IpAddr::is_ipv6),
            _ if self.config.fallthrough_unsupported && self.falls_through(&name) => return None,
            _ => Vec::new(),
        };
        let mut answer = Answer::to(query);
        answer.message.metadata.authoritative = true;
        if rdata.is_empty() && lookup.addresses(|_| true).is_empty() {
            if self.falls_through(&name) {
                return None;
            }
            answer.message.metadata.response_code = ResponseCode::NXDomain;
        }
        let record = |data| Record::from_rdata(query.name().clone(), self.config.ttl, data);
        answer.message.answers = rdata.into_iter().map(record).collect();
        Some(answer)
    }
}

impl Plugin for Hosts {
    fn name(&self) -> &'static str {
        "hosts"
    }

    fn knows(&self, class: DNSClass) -> bool {
        class == DNSClass::IN
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        match self.answer(query) {
            Some(answer) => std::future::ready(Ok(answer)).boxed(),
            None => next.serve(query).boxed(),
        }
    }
}

impl ClaimNames for Hosts {
    fn may_answer(&self, name: &FoldedName) -> bool {
        if self.data.load().names.have(name) {
            return true;
        }
        // Without fallthrough, a miss in the zones is answered here as well.
        let in_one = |zones: &[(Vec<u8>, usize)]| {
            zones.iter().any(|(zone, labels)| name.labels_above(zone, *labels).is_some())
        };
        !in_one(&self.fallthrough) && in_one(&self.zones)
    }

    fn answer(&self, out: &mut [u8], asked: &Asked<'_>) -> Option<Written> {
        let Config { ttl, fallthrough_unsupported, .. } = self.config;
        self.data.load().names.answer(out, asked, ttl, !fallthrough_unsupported)
    }
}

/// A name looked up in both sources: the Corefile's lines first.
struct Lookup<'a> {
    inline: &'a Entries,
    data: &'a Data,
    name: &'a Domain,
}

impl Lookup<'_> {
    fn addresses(&self, wanted: fn(&IpAddr) -> bool) -> Vec<RData> {
        let both = |name: &Domain| -> Vec<IpAddr> {
            [self.inline, &self.data.file]
                .into_iter()
                .flat_map(|entries| {
                    let v4 = entries.v4(name).iter().map(|a| IpAddr::V4(*a));
                    v4.chain(entries.v6(name).iter().map(|a| IpAddr::V6(*a)))
                })
                .filter(wanted)
                .collect()
        };
        let mut found = both(self.name);
        if found.is_empty()
            && let Some((_, parent)) = self.name.as_str().split_once('.')
            && let Ok(wildcard) = Domain::parse(&format!("*.{parent}"))
        {
            found = both(&wildcard);
        }
        found.into_iter().map(address_data).collect()
    }

    fn names(&self, reverse: &Name) -> Vec<Name> {
        let Ok(net) = reverse.parse_arpa_name() else { return Vec::new() };
        let whole = net.max_prefix_len() == net.prefix_len();
        let names = [self.inline, &self.data.file].into_iter().flat_map(|e| e.names(net.addr()));
        names.filter(|_| whole).filter_map(|name| Name::from_ascii(name.as_str()).ok()).collect()
    }
}

fn counted(zone: Vec<u8>) -> (Vec<u8>, usize) {
    let labels = count_labels(&zone);
    (zone, labels)
}

fn reverse_wire(address: IpAddr) -> Option<Vec<u8>> {
    Domain::parse(&Name::from(address).to_ascii()).ok().map(|name| name.to_wire())
}

async fn follow(hosts: std::sync::Weak<Hosts>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        let Some(hosts) = hosts.upgrade() else { return };
        hosts.look();
    }
}
