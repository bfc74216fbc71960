//! An upstream that does as it is told.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record, rdata::A},
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::plugin::Transport;

/// What an upstream saw.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) over: Transport,
    /// Port the query came from.
    pub(crate) port: u16,
    pub(crate) query: Message,
}

/// What to send back for the query just seen: messages, none of them if it stays silent. `None`
/// closes a connection.
pub(crate) type Script = dyn Fn(&Seen) -> Option<Vec<Vec<u8>>> + Send + Sync;

/// A running upstream, over UDP and TCP (with TLS if told so) on one port.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Connections accepted, and those of them that the other side closed.
    connections: Arc<Mutex<(usize, usize)>>,
    _serving: [AbortOnDropHandle<()>; 2],
}

impl Scripted {
    pub(crate) async fn start(
        script: impl Fn(&Seen) -> Option<Vec<Vec<u8>>> + Send + Sync + 'static,
    ) -> Self {
        Self::at("127.0.0.1:0", None, script).await
    }

    /// Answers everything with `192.0.2.1`.
    pub(crate) async fn well() -> Self {
        Self::start(|seen| Some(vec![answer(&seen.query)])).await
    }

    pub(crate) async fn at(
        address: &str,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Seen) -> Option<Vec<Vec<u8>>> + Send + Sync + 'static,
    ) -> Self {
        let tcp = TcpListener::bind(address).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let script: Arc<Script> = Arc::new(script);
        let (seen, connections) = (Arc::default(), Arc::default());
        let by_udp = serve_udp(udp, Arc::clone(&script), Arc::clone(&seen));
        let by_tcp = serve_tcp(tcp, tls, script, Arc::clone(&seen), Arc::clone(&connections));
        let serving = [tokio::spawn(by_udp), tokio::spawn(by_tcp)].map(AbortOnDropHandle::new);
        Scripted { address, seen, connections, _serving: serving }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(crate) fn accepted(&self) -> usize {
        self.connections.lock().0
    }

    pub(crate) fn closed(&self) -> usize {
        self.connections.lock().1
    }
}

async fn serve_udp(socket: UdpSocket, script: Arc<Script>, all: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = [0; 4096];
    loop {
        let (len, client) = socket.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..len]).unwrap();
        let seen = Seen { over: Transport::Udp, port: client.port(), query };
        all.lock().push(seen.clone());
        for reply in script(&seen).unwrap_or_default() {
            socket.send_to(&reply, client).await.unwrap();
        }
    }
}

async fn serve_tcp(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    script: Arc<Script>,
    all: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<(usize, usize)>>,
) {
    loop {
        let (stream, client) = listener.accept().await.unwrap();
        connections.lock().0 += 1;
        let (tls, script, all) = (tls.clone(), Arc::clone(&script), Arc::clone(&all));
        let connections = Arc::clone(&connections);
        tokio::spawn(async move {
            let by_us = match tls {
                None => serve_stream(stream, client, &*script, &all).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve_stream(stream, client, &*script, &all).await,
                    Err(_) => false,
                },
            };
            connections.lock().1 += usize::from(!by_us);
        });
    }
}

/// Tells whether it was this side that closed.
async fn serve_stream(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    client: SocketAddr,
    script: &Script,
    all: &Mutex<Vec<Seen>>,
) -> bool {
    loop {
        let Ok(len) = stream.read_u16().await else { return false };
        let mut query = vec![0; len.into()];
        if stream.read_exact(&mut query).await.is_err() {
            return false;
        }
        let query = Message::from_vec(&query).unwrap();
        let seen = Seen { over: Transport::Tcp, port: client.port(), query };
        all.lock().push(seen.clone());
        let Some(replies) = script(&seen) else { return true };
        for reply in replies {
            let mut framed = (reply.len() as u16).to_be_bytes().to_vec();
            framed.extend(reply);
            // In pieces, as the network may bring them.
            for piece in framed.chunks(7) {
                if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
                    return false;
                }
            }
        }
    }
}

/// A reply with one address.
pub(crate) fn answer(query: &Message) -> Vec<u8> {
    reply(query, |_| {})
}

/// A reply with one address, changed.
pub(crate) fn reply(query: &Message, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let metadata = query.metadata;
    let mut reply = Message::new(metadata.id, MessageType::Response, metadata.op_code);
    reply.queries = query.queries.clone();
    let name = query.queries[0].name.clone();
    reply.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
    change(&mut reply);
    reply.to_vec().unwrap()
}

/// A reply with a code and nothing else.
pub(crate) fn code(query: &Message, code: ResponseCode) -> Vec<u8> {
    reply(query, |reply| {
        reply.answers.clear();
        reply.metadata.response_code = code;
    })
}

/// Looks until `what` holds.
pub(crate) async fn until(what: impl Fn() -> bool) {
    let looking = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(20), looking).await.expect("it never came");
}
