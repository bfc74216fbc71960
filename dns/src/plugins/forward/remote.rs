//! One upstream: how it is asked, and whether it is well.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode},
    rr::{Name, RecordType},
};
use prometheus::IntCounter;
use tokio::time::{Instant, sleep};

use super::{
    config::{self, Connections},
    failure::AskError,
    health::Health,
    latency::Latency,
    message::Outgoing,
    multiplex::{self, Multiplex},
    pool::{Asked, StreamPool},
    stream,
    udp::UdpPool,
};
use crate::{
    metrics::{ForwardMetrics, rcode_label},
    plugin::{Carrier, Transport},
};

/// `proxy_name` in the metrics.
const PROXY: &str = "forward";
/// How long a check's reply is waited for.
const CHECK: Duration = Duration::from_secs(1);

/// How an upstream is asked. One that has an encrypted transport is asked over that, whatever this
/// says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Over this.
    Over(Carrier),
    /// Over UDP, and over TCP if the reply is cut.
    UdpThenTcp,
}

/// What all upstreams of a `forward` share.
#[derive(Clone)]
pub struct Settings {
    /// Connections.
    pub connections: Connections,
    /// Checks.
    pub health: config::Health,
    /// Checks go over this, unless the upstream has an encrypted transport.
    pub check_over: Carrier,
    /// The name that checks ask for.
    pub check_name: Name,
    /// Counters.
    pub metrics: Arc<ForwardMetrics>,
}

/// An upstream.
pub struct Remote {
    /// Address and port: its name in metrics, logs and errors.
    pub to: String,
    /// Where it is.
    pub address: SocketAddr,
    /// How it is doing.
    pub health: Health,
    /// How long it usually takes.
    pub latency: Latency,
    asking: Asking,
    settings: Settings,
}

/// How asking went.
pub struct Exchange {
    /// The reply.
    pub reply: Result<Message, AskError>,
    /// Our end of the connection, where that is known.
    pub from: Option<SocketAddr>,
    /// Over what.
    pub over: Transport,
}

/// How to reach an upstream.
pub enum Dial {
    /// Over UDP and TCP.
    Plain(stream::Dial),
    /// Over TLS.
    Tls(stream::Dial),
    /// Over HTTPS or QUIC.
    Multiplex(multiplex::Dial),
}

enum Asking {
    Plain { udp: UdpPool, over_udp: Counts, streams: StreamPool, over_tcp: Counts },
    Tls(StreamPool, Counts),
    Multiplex(Multiplex, Counts),
}

/// Queries that found an open connection or did not.
struct Counts {
    hits: IntCounter,
    misses: IntCounter,
}

impl Remote {
    /// An upstream at `address` without a connection yet.
    pub fn new(address: SocketAddr, dial: Dial, settings: Settings) -> Arc<Self> {
        let to = address.to_string();
        let counts = |proto| {
            let labels = [PROXY, &to, proto];
            let hits = settings.metrics.hits.with_label_values(&labels);
            Counts { hits, misses: settings.metrics.misses.with_label_values(&labels) }
        };
        let asking = match dial {
            Dial::Plain(dial) => Asking::Plain {
                udp: UdpPool::new(address, settings.connections),
                over_udp: counts("udp"),
                streams: StreamPool::new(dial),
                over_tcp: counts("tcp"),
            },
            Dial::Tls(dial) => Asking::Tls(StreamPool::new(dial), counts("tcp-tls")),
            Dial::Multiplex(dial) => {
                let counts = counts(dial.label());
                Asking::Multiplex(Multiplex::new(dial, settings.connections), counts)
            }
        };
        let health = Health::new(settings.health.max_fails);
        Arc::new(Remote { health, latency: Latency::default(), to, address, asking, settings })
    }

    /// Asks this upstream. A failure starts checks of its health.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(
        self: &Arc<Self>,
        query: &Arc<Outgoing>,
        way: Way,
    ) -> Result<Message, AskError> {
        self.exchange(query, way).await.reply
    }

    /// Asks this upstream, and tells how that went.
    pub async fn exchange(self: &Arc<Self>, query: &Arc<Outgoing>, way: Way) -> Exchange {
        let waiting = Waiting { latency: &self.latency, start: Instant::now() };
        let patience = self.settings.connections.read_timeout;
        let exchange = self.asking.ask(query, way, patience, false).await;
        match &exchange.reply {
            Ok(reply) => {
                let code = rcode_label(u16::from(reply.metadata.response_code).into());
                let duration = &self.settings.metrics.duration;
                let labels = [PROXY, &self.to, code];
                let took = waiting.end();
                duration.with_label_values(&labels).observe(took.as_secs_f64());
                self.latency.observe(took);
                self.health.query_answered();
            }
            Err(AskError::Busy | AskError::Local(_)) => drop(waiting.end()),
            Err(AskError::Timeout) => self.start_checking(),
            Err(_) => {
                waiting.end();
                self.start_checking();
            }
        }
        exchange
    }

    /// Over what it is asked first.
    pub fn over(&self, way: Way) -> Transport {
        match &self.asking {
            Asking::Plain { .. } if way == Way::Over(Carrier::Tcp) => Transport::Tcp,
            Asking::Plain { .. } => Transport::Udp,
            Asking::Tls(..) => Transport::Tls,
            Asking::Multiplex(sessions, _) => sessions.over(),
        }
    }

    /// Closes what has been idle for too long.
    pub fn tidy(&self) {
        match &self.asking {
            Asking::Plain { udp, .. } => udp.tidy(),
            // Each connection sees to itself.
            Asking::Tls(..) => {}
            Asking::Multiplex(sessions, _) => sessions.tidy(),
        }
    }

    fn start_checking(self: &Arc<Self>) {
        self.health.rest();
        if !self.settings.health.interval.is_zero() && self.health.query_failed() {
            tokio::spawn(check_until_well(Arc::downgrade(self)));
        }
    }

    /// Whether the upstream answers at all: any DNS message will do.
    async fn check(&self) -> bool {
        let mut message = Message::new(0, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.settings.health.recursion;
        let name = self.settings.check_name.clone();
        message.add_query(hickory_proto::op::Query::query(name, RecordType::NS));
        let Ok(query) = Outgoing::new(&message).map(Arc::new) else { return false };
        let way = Way::Over(self.settings.check_over);
        let reply = self.asking.ask(&query, way, CHECK, true).await.reply;
        // Without a socket nothing is known; the upstream gets the benefit of the doubt.
        let answered = matches!(reply, Ok(_) | Err(AskError::Malformed | AskError::Local(_)));
        if !answered {
            let failures = &self.settings.metrics.check_failures;
            failures.with_label_values(&[PROXY, &self.to]).inc();
        }
        answered
    }
}

impl Asking {
    /// Asks. `fresh` is for checks: over a new socket or connection, and not counted.
    async fn ask(
        &self,
        query: &Arc<Outgoing>,
        way: Way,
        patience: Duration,
        fresh: bool,
    ) -> Exchange {
        let note = |asked: Asked, counts: &Counts, over| {
            if !fresh {
                if asked.reused { counts.hits.inc() } else { counts.misses.inc() }
            }
            Exchange { reply: asked.reply, from: asked.from, over }
        };
        let (udp, over_udp, streams, over_tcp) = match self {
            Asking::Tls(streams, counts) => {
                return note(streams.ask(query, patience, fresh).await, counts, Transport::Tls);
            }
            Asking::Multiplex(sessions, counts) => {
                return note(sessions.ask(query, patience, fresh).await, counts, sessions.over());
            }
            Asking::Plain { udp, over_udp, streams, over_tcp } => {
                (udp, over_udp, streams, over_tcp)
            }
        };
        if way != Way::Over(Carrier::Tcp) {
            let asked = note(udp.ask(query, patience, fresh).await, over_udp, Transport::Udp);
            let cut = asked.reply.as_ref().is_ok_and(|reply| reply.metadata.truncation);
            if way == Way::Over(Carrier::Udp) || !cut {
                return asked;
            }
        }
        note(streams.ask(query, patience, fresh).await, over_tcp, Transport::Tcp)
    }
}

/// A query that waits. When it is dropped before its end, the upstream was silent, and nobody waits
/// any more.
struct Waiting<'a> {
    latency: &'a Latency,
    start: Instant,
}

impl Waiting<'_> {
    /// Gives how long it was.
    fn end(self) -> Duration {
        let took = self.start.elapsed();
        std::mem::forget(self);
        took
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.latency.observe_none(self.start.elapsed());
    }
}

/// Checks until the upstream answers, or a reload has done away with it.
async fn check_until_well(remote: Weak<Remote>) {
    while let Some(checked) = remote.upgrade() {
        let answered = checked.check().await;
        if !checked.health.checked(answered) {
            return;
        }
        let interval = checked.settings.health.interval;
        drop(checked);
        sleep(interval).await;
    }
}
