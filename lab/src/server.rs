//! What runs in a pod: answers on its ports with the pod's name and the address that the asker has
//! from there, `shop/web from 10.244.2.7:41234`, so that a translated source is seen at once.
//!
//! On TCP ports HTTP is answered as such; whatever else comes is answered for each line. On UDP ports
//! each datagram is answered. There are no SCTP sockets on every kernel: such ports stay closed.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use axum::{Router, extract::ConnectInfo, serve::Listener};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    task::JoinSet,
};

use crate::{definition::Pod, namespace};

/// Connections of one port that are answered by lines, or of which it is not known yet.
const CONNECTIONS: usize = 1024;
/// Connections of one port that wait to be served as HTTP.
const HTTP_QUEUE: usize = 64;

/// A pod's sockets, open but not yet served.
pub struct Sockets {
    tcp: Vec<std::net::TcpListener>,
    udp: Vec<std::net::UdpSocket>,
}

impl Sockets {
    /// Opens the pod's ports in its namespace, for both families.
    ///
    /// # Errors
    /// If one can't be opened.
    pub fn open(file: &Path, pod: &Pod) -> anyhow::Result<Self> {
        namespace::inside(file, || {
            let mut sockets = Sockets { tcp: Vec::new(), udp: Vec::new() };
            for port in &pod.ports {
                // Of both families: a socket of IPv6 takes IPv4 as well.
                let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port.container_port));
                let opening = || format!("opening {} {}", port.protocol, port.container_port);
                match port.protocol.as_str() {
                    "TCP" => {
                        let socket = std::net::TcpListener::bind(any).with_context(opening)?;
                        socket.set_nonblocking(true)?;
                        sockets.tcp.push(socket);
                    }
                    "UDP" => {
                        let socket = std::net::UdpSocket::bind(any).with_context(opening)?;
                        socket.set_nonblocking(true)?;
                        sockets.udp.push(socket);
                    }
                    _ => {}
                }
            }
            Ok(sockets)
        })
    }

    /// Serves until the tasks are dropped.
    ///
    /// # Errors
    /// If the runtime can't take a socket.
    pub fn serve(self, pod: &Pod) -> anyhow::Result<JoinSet<()>> {
        let name: Arc<str> = format!("{}/{}", pod.namespace, pod.name).into();
        let mut tasks = JoinSet::new();
        for socket in self.tcp {
            let listener = TcpListener::from_std(socket)?;
            let (sender, http) = mpsc::channel(HTTP_QUEUE);
            let local = listener.local_addr()?;
            tasks.spawn(accept(listener, Arc::clone(&name), sender));
            tasks.spawn(serve_http(Arc::clone(&name), Handed { http, local }));
        }
        for socket in self.udp {
            tasks.spawn(answer_datagrams(UdpSocket::from_std(socket)?, Arc::clone(&name)));
        }
        Ok(tasks)
    }
}

/// What everybody is told. An IPv4 address is shown as such, though the socket is of IPv6.
fn answer(name: &str, peer: SocketAddr) -> String {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    format!("{name} from {peer}\n")
}

async fn answer_datagrams(socket: UdpSocket, name: Arc<str>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        // An error is of an earlier datagram, which its receiver refused.
        if let Ok((_, peer)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(answer(&name, peer).as_bytes(), peer).await;
        }
    }
}

async fn accept(
    listener: TcpListener,
    name: Arc<str>,
    http: mpsc::Sender<(TcpStream, SocketAddr)>,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        let Ok((stream, peer)) = listener.accept().await else {
            // Too many files, which passes; not at once.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (name, http) = (Arc::clone(&name), http.clone());
        connections.spawn(async move {
            let mut first = [0; 4];
            let read = stream.peek(&mut first).await.unwrap_or(0);
            if matches!(&first[..read], b"GET " | b"HEAD" | b"POST" | b"PUT " | b"OPTI" | b"DELE") {
                let _ = http.send((stream, peer)).await;
            } else {
                answer_lines(stream, &answer(&name, peer)).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer_lines(mut stream: TcpStream, text: &str) {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    loop {
        let (lines, length) = match read.fill_buf().await {
            Ok([]) | Err(_) => return,
            Ok(octets) => (octets.iter().filter(|octet| **octet == b'\n').count(), octets.len()),
        };
        read.consume(length);
        if write.write_all(text.repeat(lines).as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Connections that [`accept`] found to be HTTP.
struct Handed {
    http: mpsc::Receiver<(TcpStream, SocketAddr)>,
    local: SocketAddr,
}

impl Listener for Handed {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        match self.http.recv().await {
            Some(handed) => handed,
            // Whoever sends lives as long as this task.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.local)
    }
}

/// Where a connection comes from, for axum.
#[derive(Clone, Copy)]
struct Peer(SocketAddr);

impl axum::extract::connect_info::Connected<axum::serve::IncomingStream<'_, Handed>> for Peer {
    fn connect_info(stream: axum::serve::IncomingStream<'_, Handed>) -> Self {
        Peer(*stream.remote_addr())
    }
}

async fn serve_http(name: Arc<str>, listener: Handed) {
    let said = move |ConnectInfo(Peer(peer)): ConnectInfo<Peer>| {
        let text = answer(&name, peer);
        async move { text }
    };
    let router = Router::new().fallback(said);
    // It ends with the task only.
    let _ = axum::serve(listener, router.into_make_service_with_connect_info::<Peer>()).await;
}
