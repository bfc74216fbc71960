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
    message::Outgoing,
    pool::StreamPool,
    stream::Dial,
    udp::UdpPool,
};
use crate::{
    metrics::{ForwardMetrics, rcode_label},
    plugin::Carrier,
};

/// `proxy_name` in the metrics.
const PROXY: &str = "forward";
/// How long a check's reply is waited for.
const CHECK: Duration = Duration::from_secs(1);

/// How an upstream is asked. One that speaks TLS is asked over TLS, whatever this says.
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
    /// Checks go over this, unless the upstream speaks TLS.
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
    tls: bool,
    udp: UdpPool,
    streams: StreamPool,
    settings: Settings,
    counts: [Counts; 2],
}

/// Queries that found an open connection or did not.
struct Counts {
    hits: IntCounter,
    misses: IntCounter,
}

impl Remote {
    /// An upstream without a connection yet.
    pub fn new(dial: Dial, settings: Settings) -> Arc<Self> {
        let address = dial.upstream;
        let to = address.to_string();
        let counts = |proto| {
            let labels = [PROXY, &to, proto];
            let hits = settings.metrics.hits.with_label_values(&labels);
            Counts { hits, misses: settings.metrics.misses.with_label_values(&labels) }
        };
        let tls = dial.tls.is_some();
        let counts = match tls {
            // The first is never used then.
            true => [counts("tcp-tls"), counts("tcp-tls")],
            false => [counts("udp"), counts("tcp")],
        };
        Arc::new(Remote {
            health: Health::new(settings.health.max_fails),
            udp: UdpPool::new(address, settings.connections),
            streams: StreamPool::new(dial),
            to,
            address,
            tls,
            settings,
            counts,
        })
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
        let start = Instant::now();
        let reply = match way {
            _ if self.tls => self.over_stream(query).await,
            Way::Over(Carrier::Tcp) => self.over_stream(query).await,
            Way::Over(Carrier::Udp) => self.over_udp(query).await,
            Way::UdpThenTcp => match self.over_udp(query).await {
                Ok(reply) if reply.metadata.truncation => self.over_stream(query).await,
                reply => reply,
            },
        };
        match &reply {
            Ok(reply) => {
                let code = rcode_label(u16::from(reply.metadata.response_code).into());
                let duration = &self.settings.metrics.duration;
                let labels = [PROXY, &self.to, code];
                duration.with_label_values(&labels).observe(start.elapsed().as_secs_f64());
            }
            Err(AskError::Busy | AskError::Local(_)) => {}
            Err(_) => self.start_checking(),
        }
        reply
    }

    /// Closes what has been idle for too long.
    pub fn tidy(&self) {
        self.udp.tidy();
    }

    async fn over_udp(&self, query: &Outgoing) -> Result<Message, AskError> {
        let asked = self.udp.ask(query, self.settings.connections.read_timeout, false).await;
        self.counts[Carrier::Udp as usize].note(asked.reused);
        asked.reply
    }

    async fn over_stream(&self, query: &Arc<Outgoing>) -> Result<Message, AskError> {
        let asked = self.streams.ask(query, self.settings.connections.read_timeout, false).await;
        self.counts[Carrier::Tcp as usize].note(asked.reused);
        asked.reply
    }

    fn start_checking(self: &Arc<Self>) {
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
        let reply = match self.settings.check_over {
            Carrier::Udp if !self.tls => self.udp.ask(&query, CHECK, true).await.reply,
            _ => self.streams.ask(&query, CHECK, true).await.reply,
        };
        // Without a socket nothing is known; the upstream gets the benefit of the doubt.
        let answered = matches!(reply, Ok(_) | Err(AskError::Malformed | AskError::Local(_)));
        if !answered {
            let failures = &self.settings.metrics.check_failures;
            failures.with_label_values(&[PROXY, &self.to]).inc();
        }
        answered
    }
}

impl Counts {
    fn note(&self, reused: bool) {
        if reused { self.hits.inc() } else { self.misses.inc() }
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
