//! The TCP or TLS connections to one upstream.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hickory_proto::op::Message;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{
    failure::AskError,
    message::Outgoing,
    stream::{self, DIAL, Dial, Request},
};

/// Queries under way on one connection.
const PIPELINE: usize = 32;
/// Connections among which queries are spread before any of them takes a second one: servers that
/// answer one query after the other make the others wait.
const SPREAD: usize = 8;
/// Most connections. With [`PIPELINE`], more queries than the server lets through.
const MAX_CONNECTIONS: usize = 256;

/// Connections, and how to make more.
pub struct StreamPool {
    dial: Dial,
    connections: Mutex<Vec<Arc<Handle>>>,
    idle: Arc<AtomicUsize>,
}

struct Handle {
    requests: mpsc::Sender<Request>,
    load: AtomicUsize,
    born: Instant,
    /// Our end, once it is connected.
    local: Arc<OnceLock<SocketAddr>>,
}

/// A reply, and whether an open connection or socket was found for the query.
pub struct Asked {
    /// The reply.
    pub reply: Result<Message, AskError>,
    /// Whether one was used again.
    pub reused: bool,
    /// Our end of it, where that is known.
    pub from: Option<SocketAddr>,
}

impl StreamPool {
    /// No connections yet.
    pub fn new(dial: Dial) -> Self {
        StreamPool { dial, connections: Mutex::new(Vec::new()), idle: Arc::default() }
    }

    /// Asks and waits for the reply: `patience` at most, and [`DIAL`] more on a new connection. An
    /// open connection that the upstream closes meanwhile is replaced once. `fresh` opens a new one
    /// for this query alone.
    pub async fn ask(&self, query: &Arc<Outgoing>, patience: Duration, fresh: bool) -> Asked {
        let (handle, reused) = match fresh {
            true => (Some(self.open()), false),
            false => self.pick(),
        };
        let Some(handle) = handle else {
            return Asked { reply: Err(AskError::Busy), reused, from: None };
        };
        let reply = self.ask_on(&handle, query, patience, reused).await;
        if reply != Err(AskError::Closed) || !reused {
            return Asked { reply, reused, from: handle.local.get().copied() };
        }
        let handle = self.open();
        self.connections.lock().push(Arc::clone(&handle));
        let reply = self.ask_on(&handle, query, patience, false).await;
        Asked { reply, reused, from: handle.local.get().copied() }
    }

    async fn ask_on(
        &self,
        handle: &Arc<Handle>,
        query: &Arc<Outgoing>,
        patience: Duration,
        reused: bool,
    ) -> Result<Message, AskError> {
        let _load = Load::on(handle);
        let (reply, waiting) = oneshot::channel();
        if handle.requests.try_send(Request { query: Arc::clone(query), reply }).is_err() {
            return Err(AskError::Closed);
        }
        let patience = if reused { patience } else { patience + DIAL };
        match timeout(patience, waiting).await {
            Ok(reply) => reply.unwrap_or(Err(AskError::Closed)),
            Err(_) => {
                // It may be dead; others' queries on it are still waited for.
                self.connections.lock().retain(|open| !Arc::ptr_eq(open, handle));
                Err(AskError::Timeout)
            }
        }
    }

    /// The least busy connection, or a new one if all are busy. Tells whether it was there already.
    fn pick(&self) -> (Option<Arc<Handle>>, bool) {
        let max_age = self.dial.settings.max_age;
        let mut connections = self.connections.lock();
        connections.retain(|open| {
            let young = max_age.is_zero() || open.born.elapsed() < max_age;
            young && !open.requests.is_closed()
        });
        let best = connections.iter().min_by_key(|open| open.load.load(Relaxed));
        if let Some(best) = best {
            let load = best.load.load(Relaxed);
            if load == 0 || (load < PIPELINE && connections.len() >= SPREAD) {
                return (Some(Arc::clone(best)), true);
            }
        }
        if connections.len() >= MAX_CONNECTIONS {
            return (None, false);
        }
        let new = self.open();
        connections.push(Arc::clone(&new));
        (Some(new), false)
    }

    fn open(&self) -> Arc<Handle> {
        // Twice the pipeline: what was given up may still lie in the queue.
        let (requests, queue) = mpsc::channel(2 * PIPELINE);
        let local = Arc::default();
        let connection = stream::Shared { idle: Arc::clone(&self.idle), local: Arc::clone(&local) };
        tokio::spawn(stream::run(self.dial.clone(), queue, connection));
        Arc::new(Handle { requests, load: AtomicUsize::new(0), born: Instant::now(), local })
    }
}

/// One query on a connection, for as long as it waits.
struct Load<'a>(&'a Handle);

impl<'a> Load<'a> {
    fn on(handle: &'a Handle) -> Self {
        handle.load.fetch_add(1, Relaxed);
        Load(handle)
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Relaxed);
    }
}
