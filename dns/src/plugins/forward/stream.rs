//! One TCP or TLS connection to an upstream: queries pipelined, replies in any order (RFC 7766 §6.2).
//!
//! A task owns the connection. It ends when idle for `expire`, when its handle is gone and the last
//! reply came, or when the upstream closes.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Buf, BytesMut};
use hickory_proto::op::Message;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    config::Connections,
    failure::{AskError, words},
    message::{self, Outgoing},
};
use crate::plugins::debug;

/// A connection, with TLS if there is any, is there within this time.
pub const DIAL: Duration = Duration::from_secs(2);
/// A query is taken by the kernel within this time, or the connection is given up.
const WRITE: Duration = Duration::from_secs(2);
/// Octets to make room for before each read.
const READ: usize = 4096;

/// A query for a connection.
pub struct Request {
    /// The query.
    pub query: Arc<Outgoing>,
    /// Where its reply goes. Whoever no longer waits drops the other end.
    pub reply: oneshot::Sender<Result<Message, AskError>>,
}

/// How to connect.
#[derive(Clone)]
pub struct Dial {
    /// The upstream.
    pub upstream: SocketAddr,
    /// TLS, and the name to ask for.
    pub tls: Option<Identity>,
    /// Expiry, age and source address.
    pub settings: Connections,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Connection {
    stream: Box<dyn Stream>,
    pending: HashMap<u16, Request>,
    input: BytesMut,
}

/// What a connection shares with its pool.
pub struct Shared {
    /// Counts the idle connections of the pool.
    pub idle: Arc<AtomicUsize>,
    /// Our end, once it is connected.
    pub local: Arc<OnceLock<SocketAddr>>,
}

/// Connects, then serves requests until the connection ends.
pub async fn run(dial: Dial, mut requests: mpsc::Receiver<Request>, shared: Shared) {
    let connected =
        timeout(DIAL, dial.connect(&shared.local)).await.unwrap_or(Err(AskError::ConnectTimeout));
    let error = match connected {
        Ok(stream) => {
            let mut connection =
                Connection { stream, pending: HashMap::new(), input: BytesMut::new() };
            let error = connection.serve(&mut requests, &dial.settings, &shared.idle).await;
            for (_, request) in connection.pending.drain() {
                request.answer(Err(error.clone()));
            }
            // These were never sent: to their senders the connection is as good as closed.
            AskError::Closed
        }
        Err(error) => error,
    };
    requests.close();
    while let Some(request) = requests.recv().await {
        request.answer(Err(error.clone()));
    }
}

impl Request {
    fn answer(self, reply: Result<Message, AskError>) {
        // Fails only if nobody waits any more.
        drop(self.reply.send(reply));
    }
}

impl Dial {
    async fn connect(&self, local: &OnceLock<SocketAddr>) -> Result<Box<dyn Stream>, AskError> {
        let stream = tcp(self.upstream, &self.settings).await?;
        if let Ok(address) = stream.local_addr() {
            local.get_or_init(|| address);
        }
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(identity) => Ok(Box::new(tls(stream, identity).await?)),
        }
    }
}

/// How TLS is spoken, and the name that the upstream's certificate must have.
pub type Identity = (TlsConnector, ServerName<'static>);

/// A TCP connection to an upstream.
///
/// # Errors
/// [`AskError::Local`], [`AskError::Connect`].
pub async fn tcp(upstream: SocketAddr, settings: &Connections) -> Result<TcpStream, AskError> {
    let failed = |error: io::Error| AskError::Connect(words(&error));
    let local = |error: io::Error| AskError::Local(words(&error));
    let socket = match upstream {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(local)?;
    if let Some(source) = settings.source {
        socket.bind(SocketAddr::new(source, 0)).map_err(local)?;
    }
    let stream = socket.connect(upstream).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

/// TLS on a connection.
///
/// # Errors
/// [`AskError::Connect`]: the handshake failed.
pub async fn tls(stream: TcpStream, identity: &Identity) -> Result<TlsStream<TcpStream>, AskError> {
    let (connector, name) = identity;
    let secured = connector.connect(name.clone(), stream).await;
    secured.map_err(|error| AskError::Connect(words(&error)))
}

impl Connection {
    /// Serves until the end, and says what that was for those who still wait.
    async fn serve(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
        settings: &Connections,
        idle: &AtomicUsize,
    ) -> AskError {
        let born = Instant::now();
        let (mut open, mut served) = (true, false);
        let mut quiet_since = born;
        loop {
            // Nothing waits: only then may the connection go.
            let _counted = if self.pending.is_empty() && served {
                let others = idle.fetch_add(1, Relaxed);
                let counted = Counted(idle);
                let surplus = settings.max_idle != 0 && others >= settings.max_idle as usize;
                let old = !settings.max_age.is_zero() && born.elapsed() >= settings.max_age;
                if !open || surplus || old {
                    return AskError::Closed;
                }
                Some(counted)
            } else {
                None
            };
            self.input.reserve(READ);
            let waits = !served || !self.pending.is_empty();
            let patience = if waits { settings.read_timeout } else { settings.expire };
            tokio::select! {
                request = requests.recv(), if open => match request {
                    Some(request) => {
                        if self.send(request, requests).await.is_err() {
                            return AskError::Closed;
                        }
                        served = true;
                    }
                    // The end of waiting for more, not for what is under way.
                    None => {
                        open = false;
                        if self.pending.is_empty() {
                            return AskError::Closed;
                        }
                    }
                },
                read = self.stream.read_buf(&mut self.input) => match read {
                    Ok(0) | Err(_) => return AskError::Closed,
                    Ok(_) => self.take_replies(),
                },
                () = sleep_until(quiet_since + patience) => {
                    self.pending.retain(|_, request| !request.reply.is_closed());
                    if self.pending.is_empty() || !open {
                        return AskError::Timeout;
                    }
                }
            }
            quiet_since = Instant::now();
        }
    }

    /// Sends a request, and with it whatever else is there to be sent.
    async fn send(&mut self, first: Request, more: &mut mpsc::Receiver<Request>) -> io::Result<()> {
        let mut out = Vec::with_capacity(128);
        let mut next = Some(first);
        while let Some(request) = next {
            let mut id: u16 = rand::random();
            while self.pending.contains_key(&id) {
                id = rand::random();
            }
            // A query was read from a DNS message and is no longer than that.
            out.extend((request.query.size() as u16).to_be_bytes());
            request.query.write(id, &mut out);
            self.pending.insert(id, request);
            next = if out.len() < READ { more.try_recv().ok() } else { None };
        }
        let written = async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        };
        timeout(WRITE, written).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Answers whom the complete replies in the buffer are for. A reply that nobody asked for, or to
    /// another question, is passed over.
    fn take_replies(&mut self) {
        while let Some(length) = self.input.first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            if self.input.len() < 2 + length {
                return;
            }
            self.input.advance(2);
            let reply = self.input.split_to(length);
            let Some(id) = reply.first_chunk::<2>().map(|id| u16::from_be_bytes(*id)) else {
                continue;
            };
            let mine = self.pending.get(&id).is_some_and(|r| r.query.is_answered_by(id, &reply));
            if mine && let Some(request) = self.pending.remove(&id) {
                request.answer(message::read(&reply, false));
            } else {
                debug::dump(&reply, "not a reply that is waited for");
            }
        }
    }
}

/// One idle connection, for as long as it is.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
