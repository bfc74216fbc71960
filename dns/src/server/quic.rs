//! QUIC: accepting connections for DNS over QUIC (RFC 9250) and for HTTP/3, and the former itself.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use hickory_proto::{op::Message, rr::rdata::opt::EdnsCode};
use prometheus::IntCounterVec;
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, Incoming, RecvStream, SendStream, ServerConfig,
    TokioRuntime, TransportConfig, VarInt, crypto::rustls::QuicServerConfig,
};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    admission::Admission, answering::Answering, endpoint::Manners, https3::Https3,
    stream::Connection, tcp::Encrypted,
};
use crate::{
    plugin::{Origin, Transport},
    wire::MAX_MESSAGE,
};

/// A handshake is done within this time.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// DNS over QUIC's error codes (RFC 9250 §4.3).
const NO_ERROR: VarInt = VarInt::from_u32(0);
const INTERNAL_ERROR: VarInt = VarInt::from_u32(1);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
/// EDNS option that has no place on QUIC (RFC 7828, RFC 9250 §5.5.2).
const KEEPALIVE: u16 = 11;

/// A listening QUIC socket and what it answers with.
pub struct QuicListener {
    /// Answers.
    pub answering: Answering,
    /// How; swapped by a reload.
    pub manners: Arc<ArcSwap<Encrypted>>,
    /// Bounds connections, fairly between clients.
    pub connections: Arc<Admission>,
    /// Serves HTTP/3; without it DNS over QUIC is.
    pub https3: Option<Https3>,
    /// Counts outcomes of DNS over QUIC by server and code.
    pub outcomes: IntCounterVec,
    /// The server's label.
    pub server: String,
    /// Queries in work on all connections.
    pub workers: Arc<Semaphore>,
    /// Ends accepting, and connections.
    pub stop: CancellationToken,
}

/// The QUIC side of [`Manners`].
///
/// # Errors
/// In words, if there is no certificate or the library refuses it.
pub fn server_config(manners: &Manners, protocol: &[u8]) -> Result<ServerConfig, String> {
    let identity = manners.identity.as_ref().ok_or("it needs a certificate: add `tls CERT KEY`")?;
    let tls = identity.server_config(&[protocol]).map_err(|error| error.to_string())?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| error.to_string())?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    // Beyond what a variable-length integer holds there is no bound.
    let idle = IdleTimeout::try_from(manners.timeouts.idle).ok();
    transport
        .max_idle_timeout(idle)
        .max_concurrent_bidi_streams(VarInt::from_u32(manners.streams.min(1 << 16)))
        .max_concurrent_uni_streams(VarInt::from_u32(16));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Opens QUIC on a UDP socket.
///
/// # Errors
/// If the runtime can't take the socket.
pub fn open(socket: std::net::UdpSocket, config: ServerConfig) -> std::io::Result<Endpoint> {
    Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
}

impl QuicListener {
    /// Accepts until told to stop.
    pub async fn run(self, endpoint: Endpoint) {
        let shared = Arc::new(self);
        let bound = endpoint.local_addr();
        loop {
            let incoming = tokio::select! {
                incoming = endpoint.accept() => incoming,
                () = shared.stop.cancelled() => break,
            };
            let Some(incoming) = incoming else { break };
            shared.admit(incoming, bound.as_ref().ok().copied());
        }
        // Connections end by themselves once what was asked is answered.
        let patience = shared.manners.load().manners.timeouts.write;
        if timeout(patience, endpoint.wait_idle()).await.is_err() {
            endpoint.close(NO_ERROR, b"");
        }
    }

    fn admit(self: &Arc<Self>, incoming: Incoming, bound: Option<SocketAddr>) {
        let client = incoming.remote_address();
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        // An address may be forged until its client has answered; when it is busy here, it has to.
        if self.connections.is_busy() && !incoming.remote_address_validated() {
            // It can't have been asked before: it is not validated.
            drop(incoming.retry());
            return;
        }
        let with = self.manners.load_full();
        let own = with.connections.as_ref().map(|own| own.admit(client.ip()));
        let (Some(place), false) = (self.connections.admit(client.ip()), matches!(own, Some(None)))
        else {
            self.answering.long.recorder.shed.add(1);
            return incoming.refuse();
        };
        let listener = Arc::clone(self);
        self.answering.long.runtime.spawn(async move {
            listener.serve(incoming, client, bound, &with).await;
            drop((place, own));
        });
    }

    async fn serve(
        self: &Arc<Self>,
        incoming: Incoming,
        client: SocketAddr,
        bound: Option<SocketAddr>,
        with: &Encrypted,
    ) {
        let quic = match timeout(HANDSHAKE, incoming).await {
            Ok(Ok(quic)) => quic,
            Ok(Err(error)) => return tracing::debug!(%client, %error, "a QUIC handshake failed"),
            Err(_) => return tracing::debug!(%client, "a QUIC handshake took too long"),
        };
        let port = bound.map_or(0, |bound| bound.port());
        let any: IpAddr = bound.map_or(client.ip(), |bound| bound.ip());
        let local = quic.local_ip().unwrap_or(any).to_canonical();
        let connection = Arc::new(Connection {
            answering: self.answering.clone(),
            client,
            local: SocketAddr::new(local, port),
            transport: if self.https3.is_some() { Transport::Https3 } else { Transport::Quic },
            timeouts: with.manners.timeouts,
            stop: self.stop.clone(),
        });
        match &self.https3 {
            Some(https3) => https3.serve(quic, connection).await,
            None => self.serve_dns(quic, &connection).await,
        }
    }

    /// A query for each stream.
    async fn serve_dns(self: &Arc<Self>, quic: quinn::Connection, connection: &Arc<Connection>) {
        loop {
            let accepted = tokio::select! {
                accepted = quic.accept_bi() => accepted,
                () = self.stop.cancelled() => return,
            };
            let Ok((mut send, mut receive)) = accepted else { return };
            let Ok(permit) = Arc::clone(&self.workers).acquire_owned().await else { return };
            let (listener, quic, connection) =
                (Arc::clone(self), quic.clone(), Arc::clone(connection));
            self.answering.long.runtime.spawn(async move {
                let outcome = serve_query(&mut send, &mut receive, &connection).await;
                let code = match outcome {
                    Ok(()) => "0x0",
                    Err(Trouble::Stream) => "0x1",
                    Err(Trouble::Protocol) => {
                        // Before the streams go, or their end would be what the client sees.
                        quic.close(PROTOCOL_ERROR, b"");
                        "0x2"
                    }
                };
                listener.outcomes.with_label_values(&[listener.server.as_str(), code]).inc();
                drop(permit);
            });
        }
    }
}

/// What can go wrong with a query.
enum Trouble {
    /// It did not come, or its reply was not taken: the stream is given up.
    Stream,
    /// The client does not keep to RFC 9250: the connection is given up.
    Protocol,
}

async fn serve_query(
    send: &mut SendStream,
    receive: &mut RecvStream,
    connection: &Connection,
) -> Result<(), Trouble> {
    let mut len = [0; 2];
    let read = async {
        // A stream that ends too early has no query, which is against the protocol; one that was
        // reset has none either, which is not.
        let ended = |error: quinn::ReadExactError| match error {
            quinn::ReadExactError::FinishedEarly(_) => Trouble::Protocol,
            quinn::ReadExactError::ReadError(_) => Trouble::Stream,
        };
        receive.read_exact(&mut len).await.map_err(ended)?;
        let mut request = vec![0; usize::from(u16::from_be_bytes(len))];
        receive.read_exact(&mut request).await.map_err(ended)?;
        Ok(request)
    };
    let request = match timeout(connection.timeouts.read, read).await {
        Ok(Ok(request)) => request,
        Ok(Err(trouble)) => return Err(trouble),
        Err(_) => return give_up(send),
    };
    let received = Instant::now();
    if !is_allowed(&request) {
        return Err(Trouble::Protocol);
    }
    let Connection { client, local, transport, .. } = connection;
    let origin =
        Origin { client: *client, local: *local, transport: *transport, received, parent: None };
    let Some(reply) = connection.answering.answer(&request, origin).await else {
        return give_up(send);
    };
    debug_assert!(reply.len() <= MAX_MESSAGE, "replies are messages");
    let framed = [&(reply.len() as u16).to_be_bytes(), &reply[..]].concat();
    let written = timeout(connection.timeouts.write, send.write_all(&framed)).await;
    if !matches!(written, Ok(Ok(()))) {
        return give_up(send);
    }
    send.finish().map_err(|_| Trouble::Stream)?;
    if connection.stop.is_cancelled() {
        // The connection is closed when nobody holds it; its client gets the reply before that.
        drop(timeout(connection.timeouts.write, send.stopped()).await);
    }
    Ok(())
}

fn give_up(send: &mut SendStream) -> Result<(), Trouble> {
    // The client may have given it up before.
    let _ = send.reset(INTERNAL_ERROR);
    Err(Trouble::Stream)
}

/// Whether a query has id 0 and no keepalive option (RFC 9250 §4.2.1, §5.5.2), and can be read at all.
fn is_allowed(request: &[u8]) -> bool {
    if request.len() < 12 || request[..2] != [0, 0] {
        return false;
    }
    let has_more = request[6..12].iter().any(|octet| *octet != 0);
    // Without further records there is no option.
    if !has_more {
        return true;
    }
    Message::from_vec(request).is_ok_and(|message| {
        let edns = message.edns.as_ref();
        edns.is_none_or(|edns| edns.option(EdnsCode::from(KEEPALIVE)).is_none())
    })
}
