//! The `loop` plugin: sends every upstream a question of its own, and watches for it to come back.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hickory_proto::{
    op::{Message, Query as Question},
    rr::{Name, RecordType},
};
use prometheus::IntGaugeVec;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use super::config::Config;
use crate::{
    plugin::{Carrier, Failure, FailureReason, Next, Outcome, Plugin, Query},
    plugins::forward::{
        Forward,
        failure::{LEADS_BACK, NO_REACHABLE_AUTHORITY},
        message::Outgoing,
        remote::{Remote, Way},
        resolve::message_name,
    },
};

/// An upstream that does not answer is asked for this long, as in CoreDNS.
const PERIOD: Duration = Duration::from_secs(30);
/// Time between tries.
const PAUSE: Duration = Duration::from_secs(1);
/// A question may come back for this long after it was answered, as in CoreDNS.
const ECHO: Duration = Duration::from_secs(2);

/// The `loop` of one server block.
pub struct Loop {
    zone: Name,
    probes: OnceLock<Probes>,
    detected: IntGaugeVec,
    /// What a loop is told to when it shall end the process.
    fatal: Option<Fatal>,
}

/// Takes the reason why the process has to end.
pub type Fatal = watch::Sender<Option<String>>;

struct Probes {
    all: Arc<[Probe]>,
    /// Whether they are out. A question that is seen later is somebody's replay.
    out: Arc<AtomicBool>,
    _sending: AbortOnDropHandle<()>,
}

/// An upstream and the name that only it was asked for.
struct Probe {
    name: Name,
    remote: Arc<Remote>,
    way: Way,
    returned: AtomicBool,
}

impl Loop {
    /// A `loop` that watches nothing yet. With `fatal` a loop ends the process, as in CoreDNS;
    /// without, the upstream that leads back is asked no more. `detected` counts those.
    pub fn new(config: &Config, detected: IntGaugeVec, fatal: Option<Fatal>) -> Arc<Self> {
        Arc::new(Loop {
            zone: message_name(&config.zone),
            probes: OnceLock::new(),
            detected,
            fatal,
        })
    }

    /// Probes the upstreams of `forwards`, those of the same block. To be called once the block is
    /// served, on the server's runtime.
    pub fn watch(&self, forwards: &[Arc<Forward>]) {
        self.probes.get_or_init(|| {
            let all: Arc<[Probe]> = forwards.iter().flat_map(|f| self.probes_of(f)).collect();
            let out = Arc::new(AtomicBool::new(true));
            let sending = tokio::spawn(send_all(Arc::clone(&all), Arc::clone(&out)));
            Probes { all, out, _sending: AbortOnDropHandle::new(sending) }
        });
    }

    /// A name of its own for every upstream, in the part of the block's zone that is forwarded.
    fn probes_of(&self, forward: &Forward) -> Vec<Probe> {
        let below = match (self.zone.zone_of(forward.from()), forward.from().zone_of(&self.zone)) {
            (true, _) => forward.from(),
            (false, true) => &self.zone,
            (false, false) => return Vec::new(),
        };
        let probe = |remote: &Arc<Remote>| {
            // A zone so long that nothing fits below it has no names that could loop.
            let name = random_name(below)?;
            Some(Probe {
                name,
                remote: Arc::clone(remote),
                way: forward.way(Carrier::Udp),
                returned: AtomicBool::new(false),
            })
        };
        forward.remotes().iter().filter_map(probe).collect()
    }

    fn returned(&self, probe: &Probe, query: &Query) -> Failure {
        if !probe.returned.swap(true, Relaxed) {
            match &self.fatal {
                Some(fatal) => self.end(probe, query, fatal),
                None => self.cut(probe, query.origin.client),
            }
        }
        let reason = FailureReason::Upstream {
            to: probe.remote.to.clone(),
            what: LEADS_BACK.to_owned(),
            ede: NO_REACHABLE_AUTHORITY,
        };
        Failure::new("loop", reason)
    }

    fn cut(&self, probe: &Probe, client: SocketAddr) {
        if !probe.remote.health.cut() {
            return;
        }
        self.gauge(probe).inc();
        tracing::error!(
            target: "plugin/loop",
            "the upstream {} leads back to this server: the query \"HINFO {}\" that only it was sent came \
             back from {client}. It is asked no more; all other names go on being answered. Name \
             another upstream in `forward`. If this one is from /etc/resolv.conf, that names a local \
             resolver which asks us: with systemd-resolved, forward to \
             /run/systemd/resolve/resolv.conf instead",
            probe.remote.to,
            probe.name,
        );
    }

    /// CoreDNS's message and end.
    fn end(&self, probe: &Probe, query: &Query, fatal: &Fatal) {
        let message = format!(
            "Loop ({} -> {}) detected for zone \"{}\", see https://coredns.io/plugins/loop#troubleshooting. \
             Query: \"HINFO {}\"",
            query.origin.client, query.origin.local, self.zone, probe.name,
        );
        tracing::error!(target: "plugin/loop", "{message}");
        fatal.send_replace(Some(message));
    }

    fn gauge(&self, probe: &Probe) -> prometheus::IntGauge {
        self.detected.with_label_values(&[self.zone.to_string().as_str(), &probe.remote.to])
    }
}

impl Plugin for Loop {
    fn name(&self) -> &'static str {
        "loop"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            if query.rtype() == RecordType::HINFO
                && let Some(probes) = self.probes.get()
                && probes.out.load(Relaxed)
                && let Some(probe) = probes.all.iter().find(|probe| probe.name == *query.name())
            {
                return Err(self.returned(probe, query));
            }
            next.serve(query).await
        })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        for probe in self.probes.get().iter().flat_map(|probes| probes.all.iter()) {
            if self.fatal.is_none() && probe.returned.load(Relaxed) {
                self.gauge(probe).dec();
            }
        }
    }
}

impl Probe {
    /// Asks until there is an answer or the question came back.
    async fn send(&self) {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Question::query(self.name.clone(), RecordType::HINFO));
        let Ok(query) = Outgoing::new(&message).map(Arc::new) else { return };
        let start = Instant::now();
        while start.elapsed() < PERIOD && !self.returned.load(Relaxed) {
            if self.remote.ask(&query, self.way).await.is_ok() {
                return;
            }
            sleep(PAUSE).await;
        }
    }
}

async fn send_all(probes: Arc<[Probe]>, out: Arc<AtomicBool>) {
    let sent: FuturesUnordered<_> = probes.iter().map(Probe::send).collect();
    sent.collect::<()>().await;
    sleep(ECHO).await;
    out.store(false, Relaxed);
}

/// Two random labels below `zone`, as CoreDNS has them. Nobody else asks for that.
fn random_name(zone: &Name) -> Option<Name> {
    let label = || (rand::random::<u64>() >> 2).to_string();
    Name::from_labels([label(), label()].iter().map(String::as_bytes))
        .ok()?
        .append_domain(zone)
        .ok()
}
