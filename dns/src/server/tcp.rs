//! Accepting connections: TCP, and TLS on it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    admission::Admission,
    answering::Answering,
    endpoint::Manners,
    https::Https,
    stream::{self, Connection},
};
use crate::{corefile::address::Scheme, plugin::Transport};

/// A handshake is done within this time.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A listening TCP socket and what it answers with.
pub struct Listener {
    /// What is spoken: `dns`, `tls` or `https`.
    pub scheme: Scheme,
    /// Answers.
    pub answering: Answering,
    /// How; swapped by a reload.
    pub manners: Arc<ArcSwap<Encrypted>>,
    /// Bounds connections, fairly between clients.
    pub connections: Arc<Admission>,
    /// Serves HTTP, for `https`.
    pub https: Option<Https>,
    /// Ends accepting, and idle connections.
    pub stop: CancellationToken,
}

/// The manners of an endpoint, with what its handshakes need.
pub struct Encrypted {
    /// The manners.
    pub manners: Manners,
    /// TLS; `None` where it is plain.
    pub acceptor: Option<TlsAcceptor>,
    /// Bounds connections to this endpoint alone.
    pub connections: Option<Arc<Admission>>,
}

impl Listener {
    /// Accepts until told to stop.
    pub async fn run(self, listener: TcpListener) {
        let shared = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shared.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, client)) => shared.admit(stream, client),
                Err(error) => {
                    // Out of descriptors, most likely: waiting lets others close theirs.
                    tracing::warn!(%error, "accepting a TCP connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, client: SocketAddr) {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let with = self.manners.load_full();
        let own = with.connections.as_ref().map(|own| own.admit(client.ip()));
        let (Some(place), false) = (self.connections.admit(client.ip()), matches!(own, Some(None)))
        else {
            self.answering.long.recorder.shed.add(1);
            return;
        };
        let listener = Arc::clone(self);
        self.answering.long.runtime.spawn(async move {
            listener.serve(stream, client, &with).await;
            drop((place, own));
        });
    }

    async fn serve(&self, stream: TcpStream, client: SocketAddr, with: &Encrypted) {
        let local = stream.local_addr().unwrap_or(client);
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "setting TCP_NODELAY");
        }
        let connection = |transport| Connection {
            answering: self.answering.clone(),
            client,
            local,
            transport,
            timeouts: with.manners.timeouts,
            stop: self.stop.clone(),
        };
        let Some(acceptor) = &with.acceptor else {
            return match (&self.https, self.scheme) {
                (Some(https), _) => {
                    https.serve(stream, None, connection(Transport::Https)).await;
                }
                (None, Scheme::Tls) => stream::serve(stream, connection(Transport::Tls)).await,
                (None, _) => stream::serve(stream, connection(Transport::Tcp)).await,
            };
        };
        let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%client, %error, "a TLS handshake failed"),
            Err(_) => return tracing::debug!(%client, "a TLS handshake took too long"),
        };
        match &self.https {
            Some(https) => {
                let agreed = stream.get_ref().1.alpn_protocol().map(|protocol| protocol == b"h2");
                https.serve(stream, agreed, connection(Transport::Https)).await;
            }
            None => stream::serve(stream, connection(Transport::Tls)).await,
        }
    }
}
