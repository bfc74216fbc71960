//! Receivers that connect to us: each has a queue of its own, so that a slow one loses for itself alone.

use std::{io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::IntCounter;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, UnixListener, UnixStream},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    OCTETS, PAYLOADS,
    config::Endpoint,
    connect::log_drops,
    frames,
    queue::Queue,
    sending::{self, Stream},
};
use crate::corefile::values::{Host, HostPort};

/// Receivers at once.
const RECEIVERS: usize = 16;
/// The handshakes of a receiver are done within this time, as in CoreDNS.
const HANDSHAKE: Duration = Duration::from_secs(4);
/// While a reload does away with the listener before, its address is not free yet.
const SETTLE: Duration = Duration::from_secs(1);
/// Between tries to listen, until [`SETTLE`] is over and afterwards.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The queues of those who listen now.
pub(super) struct Receivers {
    queues: Mutex<Vec<Arc<Queue>>>,
    lost: IntCounter,
}

/// Where we listen, and with what.
pub(super) struct Listening {
    pub(super) on: Endpoint,
    /// For [`Endpoint::Tls`].
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) receivers: Arc<Receivers>,
    /// Ends it.
    pub(super) stop: CancellationToken,
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Receivers {
    pub(super) fn new(lost: IntCounter) -> Self {
        Receivers { queues: Mutex::default(), lost }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.lock().is_empty()
    }

    /// Puts a payload into every queue.
    pub(super) fn push(&self, payload: &Bytes) {
        self.queues.lock().iter().for_each(|queue| queue.push(payload.clone()));
    }

    /// Ends what each receiver gets, once it has all that waits.
    pub(super) fn close(&self) {
        self.queues.lock().iter().for_each(|queue| queue.close());
    }

    /// A queue for another receiver, if there may be one.
    fn admit(&self) -> Option<Arc<Queue>> {
        let mut queues = self.queues.lock();
        let queue = Arc::new(Queue::new(PAYLOADS, OCTETS, self.lost.clone()));
        (queues.len() < RECEIVERS).then(|| {
            queues.push(Arc::clone(&queue));
            queue
        })
    }

    fn dismiss(&self, queue: &Arc<Queue>) {
        self.queues.lock().retain(|held| !Arc::ptr_eq(held, queue));
        queue.close();
        queue.clear();
        log_drops(queue);
    }
}

impl Listening {
    /// Accepts receivers until told to stop, and then until they have what waits.
    pub(super) async fn run(self) {
        let tasks = TaskTracker::new();
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.accept(&tasks) => {}
        }
        self.receivers.close();
        tasks.close();
        tasks.wait().await;
    }

    /// Never ends.
    async fn accept(&self, tasks: &TaskTracker) {
        let listener = self.listener().await;
        let _path = match &self.on {
            Endpoint::Unix(path) => Some(Unlinked(path)),
            _ => None,
        };
        loop {
            match listener.accept().await {
                Ok(stream) => {
                    let (tls, receivers) = (self.tls.clone(), Arc::clone(&self.receivers));
                    tasks.spawn(serve(stream, tls, receivers));
                }
                Err(error) => {
                    tracing::warn!(target: "plugin/dnstap", "Error accepting dnstap connection: {error}");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn listener(&self) -> Listener {
        let start = Instant::now();
        let (mut told, mut tries) = (false, 0_u32);
        loop {
            // Each look is a connection to whoever listens there.
            let look = tries == 0 || told;
            tries = tries.saturating_add(1);
            let error = match bind(&self.on, look).await {
                Ok(listener) => return listener,
                Err(error) => error,
            };
            let settled = start.elapsed() > SETTLE;
            if settled && !std::mem::replace(&mut told, true) {
                tracing::error!(target: "plugin/dnstap", "Failed to start dnstap listener: {error}");
            }
            sleep(if settled { RETRY.1 } else { RETRY.0 }).await;
        }
    }
}

/// Removes the socket's path before the listener behind it is closed: so it is still ours.
struct Unlinked<'a>(&'a Path);

impl Drop for Unlinked<'_> {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(self.0);
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Listener::Unix(listener) => Box::new(listener.accept().await?.0),
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                SockRef::from(&stream).set_keepalive(true)?;
                Box::new(stream)
            }
        })
    }
}

/// Opens a listener. With `look`, a unix socket that nobody listens at gives way to it.
async fn bind(on: &Endpoint, look: bool) -> io::Result<Listener> {
    match on {
        Endpoint::Unix(path) => {
            // A server that was killed leaves its socket behind; nobody listens at it.
            if look
                && let Err(error) = UnixStream::connect(path).await
                && error.kind() == io::ErrorKind::ConnectionRefused
            {
                std::fs::remove_file(path)?;
            }
            UnixListener::bind(path).map(Listener::Unix)
        }
        Endpoint::Tcp(address) | Endpoint::Tls(address) => tcp(address).await.map(Listener::Tcp),
    }
}

async fn tcp(address: &HostPort) -> io::Result<TcpListener> {
    match &address.host {
        Host::Any => match TcpListener::bind(("::", address.port)).await {
            Ok(listener) => Ok(listener),
            // A machine without IPv6.
            Err(_) => TcpListener::bind(("0.0.0.0", address.port)).await,
        },
        Host::Ip(ip) => TcpListener::bind((*ip, address.port)).await,
        Host::Name(name) => TcpListener::bind((&**name, address.port)).await,
    }
}

/// One receiver, from its handshakes to its end.
async fn serve(stream: Box<dyn Stream>, tls: Option<TlsAcceptor>, receivers: Arc<Receivers>) {
    let begun = timeout(HANDSHAKE, async {
        let mut stream: Box<dyn Stream> = match tls {
            None => stream,
            Some(tls) => Box::new(tls.accept(stream).await?),
        };
        frames::begin(&mut stream).await?;
        io::Result::Ok(stream)
    });
    let error = match begun.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        // Somebody looked whether anybody listens.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
        Err(error) => error,
        Ok(mut stream) => {
            let Some(queue) = receivers.admit() else {
                tracing::warn!(target: "plugin/dnstap", "more than {RECEIVERS} dnstap clients");
                return;
            };
            let delivered = sending::deliver(&mut *stream, &queue).await;
            receivers.dismiss(&queue);
            return match delivered {
                Ok(()) => {}
                Err(error) => {
                    tracing::info!(target: "plugin/dnstap", "A dnstap client is gone: {error}");
                }
            };
        }
    };
    tracing::warn!(target: "plugin/dnstap", "Error creating encoder for dnstap client: {error}");
}
