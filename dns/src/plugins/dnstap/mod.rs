//! Every query and reply for others to see, as dnstap has it. See README.md.
//!
//! The server tells its [`Taps`] of what came and what was sent, `forward` of what it asked and got.
//! Telling never waits: a payload goes into a queue or is dropped.

pub mod config;
mod connect;
mod extra;
mod frames;
mod listen;
pub mod message;
mod queue;
mod sending;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use hickory_proto::op::Message;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec};
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use self::{
    config::{Config, Endpoint, Receiver},
    connect::Dial,
    listen::{Listening, Receivers},
    message::{Content, Family, Kind, Payload, Protocol, Seen},
    queue::Queue,
};
use crate::{
    metrics::{Metrics, counters},
    plugin::{Query, Transport},
    plugins::{log::format::Piece, tls::identity::Identity},
    server::outbox::Outbox,
};

/// Payloads that wait for a receiver, as in CoreDNS, times what the Corefile says.
const PAYLOADS: usize = 10_000;
/// Octets of them at most: some 1,600 for each.
const OCTETS: usize = 16 << 20;

/// All `dnstap` of a server block.
#[derive(Clone, Default)]
pub struct Taps(Arc<[Arc<Tap>]>);

/// One `dnstap`.
pub struct Tap {
    full: bool,
    identity: Vec<u8>,
    version: Vec<u8>,
    extra: Vec<Piece>,
    way: Way,
    /// Sends, once it is started.
    run: Mutex<Option<BoxFuture<'static, ()>>>,
    /// Whether all is sent after the end.
    done: CancellationToken,
}

/// Where payloads go.
enum Way {
    Connected(Arc<Queue>),
    Accepted { receivers: Arc<Receivers>, stop: CancellationToken },
}

/// A client's query, between its coming and its reply.
pub struct Visit {
    taps: Taps,
    query: Query,
    came: SystemTime,
}

/// What `forward` asked one upstream.
pub struct Forwarded<'a> {
    /// The query.
    pub query: &'a Query,
    /// The upstream.
    pub to: SocketAddr,
    /// Our end of the connection, if there was one.
    pub from: Option<SocketAddr>,
    /// Over what.
    pub over: Transport,
    /// When.
    pub sent: SystemTime,
    /// The query's message.
    pub message: &'a [u8],
    /// The reply's.
    pub reply: Option<&'a Message>,
}

impl Taps {
    /// Taps that do nothing yet but take what they are told.
    ///
    /// # Errors
    /// In words for people: certificates that can't be used.
    pub fn new(config: &Config, metrics: &Metrics) -> Result<Self, String> {
        let lost = metrics.shared(counters(
            "daymark_dnstap_lost_total",
            "Messages of `dnstap` that no receiver got, by socket.",
            &["socket"],
        ));
        let taps = config.taps.iter().map(|tap| Tap::new(tap, &lost, metrics).map(Arc::new));
        Ok(Taps(taps.collect::<Result<_, String>>()?))
    }

    /// Connects and listens, on the runtime that calls it: once no server before this one listens.
    pub fn start(&self) {
        for tap in self.0.iter() {
            tap.run.lock().take().map(tokio::spawn);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The taps.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Tap>> {
        self.0.iter()
    }

    /// Tells of a client's query, of which `bytes` came.
    pub fn query(&self, query: &Query, bytes: &[u8]) -> Option<Visit> {
        if self.is_empty() {
            return None;
        }
        let now = SystemTime::now();
        let came = now.checked_sub(query.origin.received.elapsed()).unwrap_or(now);
        let visit = Visit { taps: self.clone(), query: query.clone(), came };
        self.tell(query, |full| Seen {
            query_message: full.then(|| bytes.to_vec()),
            ..visit.seen(Kind::ClientQuery)
        });
        Some(visit)
    }

    /// Tells of a query to an upstream, and of its reply if there is one.
    pub fn forwarded(&self, exchange: &Forwarded<'_>) {
        let Forwarded { query, message, reply, .. } = exchange;
        self.tell(query, |full| Seen {
            query_message: full.then(|| message.to_vec()),
            ..exchange.seen(Kind::ForwarderQuery)
        });
        if let Some(reply) = reply {
            let (sec, nsec) = since_1970(SystemTime::now());
            self.tell(query, |full| Seen {
                response_time_sec: sec,
                response_time_nsec: nsec,
                response_message: full.then(|| encoded(reply, message)),
                ..exchange.seen(Kind::ForwarderResponse)
            });
        }
    }

    fn tell(&self, query: &Query, seen: impl Fn(bool) -> Seen) {
        for tap in self.0.iter().filter(|tap| tap.has_receiver()) {
            tap.tell(query, seen(tap.full));
        }
    }
}

impl Visit {
    /// Tells of the reply that is sent, or of one of several.
    pub fn answered(&self, bytes: &[u8]) {
        let (sec, nsec) = since_1970(SystemTime::now());
        self.taps.tell(&self.query, |full| Seen {
            response_time_sec: sec,
            response_time_nsec: nsec,
            response_message: full.then(|| bytes.to_vec()),
            ..self.seen(Kind::ClientResponse)
        });
    }

    fn seen(&self, kind: Kind) -> Seen {
        let origin = &self.query.origin;
        let (family, address) = octets(origin.client.ip());
        let (sec, nsec) = since_1970(self.came);
        Seen {
            kind: kind.into(),
            family: Some(family.into()),
            protocol: Some(protocol(origin.transport).into()),
            query_address: Some(address),
            query_port: Some(origin.client.port().into()),
            query_time_sec: sec,
            query_time_nsec: nsec,
            ..Seen::default()
        }
    }
}

impl Forwarded<'_> {
    fn seen(&self, kind: Kind) -> Seen {
        let (family, address) = octets(self.to.ip());
        let (sec, nsec) = since_1970(self.sent);
        Seen {
            kind: kind.into(),
            family: Some(family.into()),
            protocol: Some(protocol(self.over).into()),
            query_address: self.from.map(|from| octets(from.ip()).1),
            query_port: self.from.map(|from| from.port().into()),
            response_address: Some(address),
            response_port: Some(self.to.port().into()),
            query_time_sec: sec,
            query_time_nsec: nsec,
            ..Seen::default()
        }
    }
}

impl Tap {
    fn new(config: &config::Tap, lost: &IntCounterVec, metrics: &Metrics) -> Result<Self, String> {
        let done = CancellationToken::new();
        let lost = lost.with_label_values(&[&config.socket]);
        let (way, running) = Way::new(&config.receiver, lost, metrics)?;
        let over = done.clone().drop_guard();
        let run: BoxFuture<'static, ()> = Box::pin(async move {
            running.await;
            drop(over);
        });
        Ok(Tap {
            full: config.full,
            identity: config.identity.clone().into_bytes(),
            version: config.version.clone().into_bytes(),
            extra: config.extra.clone(),
            way,
            run: Mutex::new(Some(run)),
            done,
        })
    }

    /// Whether anybody gets what is told.
    fn has_receiver(&self) -> bool {
        match &self.way {
            Way::Connected(_) => true,
            Way::Accepted { receivers, .. } => !receivers.is_empty(),
        }
    }

    fn tell(&self, query: &Query, seen: Seen) {
        let payload = Payload {
            identity: Some(self.identity.clone()),
            version: Some(self.version.clone()),
            extra: (!self.extra.is_empty()).then(|| extra::fill(&self.extra, query)),
            message: Some(seen),
            content: Content::Message.into(),
        };
        let payload = Bytes::from(payload.encode_to_vec());
        match &self.way {
            Way::Connected(queue) => queue.push(payload),
            Way::Accepted { receivers, .. } => receivers.push(&payload),
        }
    }

    /// Takes no more; what waits is sent.
    fn close(&self) {
        match &self.way {
            Way::Connected(queue) => queue.close(),
            Way::Accepted { stop, .. } => stop.cancel(),
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.close();
    }
}

impl Outbox for Tap {
    fn finish(&self) -> BoxFuture<'_, ()> {
        self.close();
        Box::pin(self.done.cancelled())
    }
}

impl Way {
    /// The way, and what has to run for it.
    fn new(
        receiver: &Receiver,
        lost: IntCounter,
        metrics: &Metrics,
    ) -> Result<(Self, BoxFuture<'static, ()>), String> {
        match receiver {
            Receiver::Connect { to, trust, write_buffer, queue } => {
                let tls = match trust {
                    Some(trust) => Some((trust.connector()?, trust.name.clone())),
                    None => None,
                };
                let times = *queue as usize;
                let queue = Arc::new(Queue::new(times * PAYLOADS, times * OCTETS, lost));
                let write_buffer = *write_buffer as usize * (1 << 20);
                let dial = Dial { to: to.clone(), tls, write_buffer };
                let run = connect::run(dial, Arc::clone(&queue));
                Ok((Way::Connected(queue), Box::pin(run)))
            }
            Receiver::Listen { on, certificate } => {
                let tls = match (on, certificate) {
                    (Endpoint::Tls(_), Some(certificate)) => {
                        let identity = Identity::of_files(certificate, metrics)?;
                        let config = identity.server_config(&[]);
                        let config = config.map_err(|error| error.to_string())?;
                        Some((identity, Arc::new(config).into()))
                    }
                    _ => None,
                };
                let (identity, tls) = tls.unzip();
                let receivers = Arc::new(Receivers::new(lost));
                let stop = CancellationToken::new();
                let way = Way::Accepted { receivers: Arc::clone(&receivers), stop: stop.clone() };
                let listening = Listening { on: on.clone(), tls, receivers, stop };
                Ok((
                    way,
                    Box::pin(async move {
                        // The certificate's files are looked at as long as somebody holds it.
                        let _identity = identity;
                        listening.run().await;
                    }),
                ))
            }
        }
    }
}

/// A reply under the id of its query.
fn encoded(reply: &Message, query: &[u8]) -> Vec<u8> {
    let mut bytes = reply.to_vec().unwrap_or_default();
    if let (Some(own), Some(asked)) = (bytes.first_chunk_mut(), query.first_chunk::<2>()) {
        *own = *asked;
    }
    bytes
}

fn octets(address: IpAddr) -> (Family, Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(address) => (Family::Inet, address.octets().into()),
        IpAddr::V6(address) => (Family::Inet6, address.octets().into()),
    }
}

fn protocol(transport: Transport) -> Protocol {
    match transport {
        Transport::Udp => Protocol::Udp,
        Transport::Tcp => Protocol::Tcp,
        Transport::Tls => Protocol::Dot,
        Transport::Https | Transport::Https3 => Protocol::Doh,
        Transport::Quic => Protocol::Doq,
    }
}

/// Seconds and nanoseconds.
fn since_1970(at: SystemTime) -> (Option<u64>, Option<u32>) {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    (Some(since.as_secs()), Some(since.subsec_nanos()))
}

#[cfg(test)]
mod tests;
