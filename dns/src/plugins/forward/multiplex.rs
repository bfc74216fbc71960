//! The connections to one upstream over HTTPS or QUIC, which carry many queries each.
//!
//! A task owns each connection: it connects, hands out the session, and lasts as long as that. All
//! who want a connection at the same time wait for the same one.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use hickory_proto::op::Message;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    config::Connections, failure::AskError, https, message::Outgoing, pool::Asked, quic,
    stream::DIAL,
};
use crate::plugin::Transport;

/// Queries under way on one connection: as many streams as HTTP/2 asks every server to allow at
/// least (RFC 9113 §6.5.2).
const STREAMS: usize = 100;
/// Most connections. With [`STREAMS`], more queries than the server lets through; with HTTP/1.1,
/// where each takes one query, as many as may wait at once.
const MAX_CONNECTIONS: usize = 64;

/// How to reach the upstream.
#[derive(Clone)]
pub enum Dial {
    /// Over HTTPS.
    Https(https::Dial),
    /// Over QUIC.
    Quic(quic::Dial),
}

/// Connections, and how to make more.
pub struct Multiplex {
    dial: Dial,
    settings: Connections,
    connections: Mutex<Vec<Arc<Handle>>>,
    /// Queries that a connection may carry; 1 once the upstream turned out to speak HTTP/1.1 alone.
    streams: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Session {
    Https(https::Session),
    Quic(quic::Session),
}

/// A connection that is being made, or is there. It ends when nobody holds it any more.
struct Handle {
    /// `None` until it is known.
    session: watch::Receiver<Option<Result<Session, AskError>>>,
    load: AtomicUsize,
    born: Instant,
    /// Milliseconds after `born` at which the last reply came.
    heard: AtomicU64,
    /// Milliseconds after `born` at which it was used last.
    used: AtomicU64,
    _task: AbortOnDropHandle<()>,
}

impl Multiplex {
    /// No connections yet.
    pub fn new(dial: Dial, settings: Connections) -> Self {
        let streams = Arc::new(AtomicUsize::new(STREAMS));
        Multiplex { dial, settings, connections: Mutex::default(), streams }
    }

    /// Asks and waits for the reply: `patience` at most, and [`DIAL`] more on a new connection. If an
    /// open connection breaks meanwhile, another is tried once. `fresh` opens a new one for this
    /// query alone.
    pub async fn ask(&self, query: &Outgoing, patience: Duration, fresh: bool) -> Asked {
        if fresh {
            return self.ask_on(Load::on(&self.open()), query, patience + DIAL).await;
        }
        let asked = self.ask_any(query, patience).await;
        match asked {
            Asked { reply: Err(AskError::Closed), reused: true, .. } => {
                Asked { reused: true, ..self.ask_any(query, patience).await }
            }
            asked => asked,
        }
    }

    /// What it speaks.
    pub fn over(&self) -> Transport {
        match &self.dial {
            Dial::Https(_) => Transport::Https,
            Dial::Quic(_) => Transport::Quic,
        }
    }

    /// Closes what has been idle for too long.
    pub fn tidy(&self) {
        self.connections.lock().retain(|open| self.is_good(open));
    }

    /// Asks on an open connection or a new one.
    async fn ask_any(&self, query: &Outgoing, patience: Duration) -> Asked {
        let Some(load) = self.pick() else {
            return Asked { reply: Err(AskError::Busy), reused: false, from: None };
        };
        let reused = load.0.is_open();
        let patience = if reused { patience } else { patience + DIAL };
        let asked = self.ask_on(load, query, patience).await;
        if self.settings.max_idle != 0 {
            self.drop_surplus();
        }
        Asked { reused, ..asked }
    }

    async fn ask_on(&self, load: Load, query: &Outgoing, patience: Duration) -> Asked {
        let handle = &load.0;
        let before = handle.heard.load(Relaxed);
        let asked = async { handle.connected().await?.ask(query).await };
        let reply = timeout(patience, asked).await.unwrap_or(Err(AskError::Timeout));
        match &reply {
            Err(AskError::Closed | AskError::Connect(_) | AskError::ConnectTimeout) => {
                self.forget(handle);
            }
            // Others heard of it meanwhile: the query is slow, not the connection dead.
            Err(AskError::Timeout) if handle.heard.load(Relaxed) != before => {}
            Err(AskError::Timeout) => self.forget(handle),
            _ => handle.heard.store(handle.age(), Relaxed),
        }
        Asked { reply, reused: false, from: handle.local() }
    }

    /// The busiest connection that has room, or a new one: the fewer connections, the more queries
    /// share a handshake.
    fn pick(&self) -> Option<Load> {
        let mut connections = self.connections.lock();
        connections.retain(|open| self.is_good(open));
        let streams = self.streams.load(Relaxed);
        let room = connections.iter().filter(|open| open.load.load(Relaxed) < streams);
        if let Some(best) = room.max_by_key(|open| open.load.load(Relaxed)) {
            return Some(Load::on(best));
        }
        if connections.len() >= MAX_CONNECTIONS {
            return None;
        }
        let new = self.open();
        let load = Load::on(&new);
        connections.push(new);
        Some(load)
    }

    /// Whether it may take another query. One with queries under way goes on until they are done.
    fn is_good(&self, handle: &Handle) -> bool {
        let max_age = self.settings.max_age;
        let young = max_age.is_zero() || handle.born.elapsed() < max_age;
        let idle =
            Duration::from_millis(handle.age() - handle.used.load(Relaxed).min(handle.age()));
        let busy = handle.load.load(Relaxed) > 0;
        young && (busy || idle < self.settings.expire) && !handle.is_closed()
    }

    /// Closes idle connections beyond `max_idle_conns`.
    fn drop_surplus(&self) {
        let mut idle = 0;
        self.connections.lock().retain(|open| {
            idle += u32::from(open.load.load(Relaxed) == 0);
            open.load.load(Relaxed) > 0 || idle <= self.settings.max_idle
        });
    }

    fn forget(&self, handle: &Arc<Handle>) {
        self.connections.lock().retain(|open| !Arc::ptr_eq(open, handle));
    }

    fn open(&self) -> Arc<Handle> {
        let (tell, session) = watch::channel(None);
        let (dial, streams) = (self.dial.clone(), Arc::clone(&self.streams));
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let connected = timeout(DIAL, dial.connect()).await;
            match connected.unwrap_or(Err(AskError::ConnectTimeout)) {
                Ok((session, driver)) => {
                    streams.store(if session.is_shared() { STREAMS } else { 1 }, Relaxed);
                    tell.send_replace(Some(Ok(session)));
                    driver.await;
                }
                Err(error) => drop(tell.send_replace(Some(Err(error)))),
            }
        }));
        Arc::new(Handle {
            session,
            load: AtomicUsize::new(0),
            born: Instant::now(),
            heard: AtomicU64::new(0),
            used: AtomicU64::new(0),
            _task: task,
        })
    }
}

impl Dial {
    /// The transport's name in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Dial::Https(_) => "https",
            Dial::Quic(_) => "quic",
        }
    }

    async fn connect(&self) -> Result<(Session, BoxFuture<'static, ()>), AskError> {
        Ok(match self {
            Dial::Https(dial) => {
                let (session, driver) = dial.connect().await?;
                (Session::Https(session), driver)
            }
            Dial::Quic(dial) => {
                let (session, driver) = dial.connect().await?;
                (Session::Quic(session), driver)
            }
        })
    }
}

impl Session {
    async fn ask(&self, query: &Outgoing) -> Result<Message, AskError> {
        match self {
            Session::Https(session) => session.ask(query).await,
            Session::Quic(session) => session.ask(query).await,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Session::Https(session) => session.is_closed(),
            Session::Quic(session) => session.is_closed(),
        }
    }

    fn is_shared(&self) -> bool {
        match self {
            Session::Https(session) => session.is_shared(),
            Session::Quic(_) => true,
        }
    }

    fn local(&self) -> Option<SocketAddr> {
        match self {
            Session::Https(session) => session.local(),
            Session::Quic(session) => session.local(),
        }
    }
}

impl Handle {
    /// Whether it has been made.
    fn is_open(&self) -> bool {
        matches!(&*self.session.borrow(), Some(Ok(_)))
    }

    /// Our end of it, once it has been made.
    fn local(&self) -> Option<SocketAddr> {
        self.session.borrow().as_ref()?.as_ref().ok()?.local()
    }

    async fn connected(&self) -> Result<Session, AskError> {
        let mut session = self.session.clone();
        let known = session.wait_for(Option::is_some).await.map_err(|_| AskError::Closed)?;
        known.clone().unwrap_or(Err(AskError::Closed))
    }

    fn is_closed(&self) -> bool {
        match &*self.session.borrow() {
            None => self.session.has_changed().is_err(),
            Some(session) => session.as_ref().map_or(true, Session::is_closed),
        }
    }

    /// Milliseconds since it was begun.
    fn age(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// One query on a connection, for as long as it waits.
struct Load(Arc<Handle>);

impl Load {
    fn on(handle: &Arc<Handle>) -> Self {
        handle.load.fetch_add(1, Relaxed);
        Load(Arc::clone(handle))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.used.store(self.0.age(), Relaxed);
        self.0.load.fetch_sub(1, Relaxed);
    }
}
