//! Sockets that are listened on: opened before anything changes, kept across reloads, closed last.

use std::{
    collections::HashMap,
    io,
    net::{Shutdown, SocketAddr},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio_util::sync::CancellationToken;

use super::{
    admission::Admission,
    batch::want_packet_info,
    routes::Routes,
    tcp::Listener,
    udp::{LongWay, Worker},
};
use crate::metrics::Metrics;

/// Octets that a UDP socket may queue each way, if the machine allows them.
const SOCKET_BUFFER: usize = 4 << 20;
/// Connections that the kernel may hold before they are accepted.
const BACKLOG: i32 = 1024;

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address} ({transport}): {error}{}", remedy(.transport, .error))]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// `udp`, `tcp` or `http`.
    pub transport: &'static str,
    /// Why not.
    pub error: io::Error,
}

fn remedy(transport: &str, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse if transport == "http" => {
            "; another program has the port: stop it, or give `health`, `ready` or `prometheus` \
             another address"
        }
        io::ErrorKind::AddrInUse => {
            "; another program has the port: stop it, or choose another with `--port` or `bind`"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root or the capability NET_BIND_SERVICE, or `--port 1053`"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has the address",
        _ => "",
    }
}

/// What one address shall serve.
pub struct Wanted {
    /// Served there.
    pub routes: Arc<Routes>,
    /// UDP sockets, each with a thread of its own; at least one.
    pub sockets: usize,
}

/// What workers share.
pub struct Shared {
    /// Where counters are kept.
    pub metrics: Arc<Metrics>,
    /// Everything that does not go the short way.
    pub long: LongWay,
    /// TCP connections of all listeners.
    pub connections: Arc<Admission>,
}

/// All addresses that are listened on.
#[derive(Default)]
pub struct Listening {
    addresses: HashMap<SocketAddr, Address>,
}

struct Address {
    routes: Arc<ArcSwap<Routes>>,
    udp: Vec<Arc<Socket>>,
    workers: Vec<JoinHandle<()>>,
    stop_udp: Arc<AtomicBool>,
    stop_tcp: CancellationToken,
}

/// Sockets opened but not served yet.
pub struct Opened {
    new: Vec<(SocketAddr, Vec<Socket>, Option<std::net::TcpListener>)>,
}

impl Listening {
    /// Opens what `wanted` needs beside what is open already. Changes nothing that is served.
    ///
    /// # Errors
    /// The first address that can't be listened on; whatever was opened before it is closed again.
    pub fn open(&self, wanted: &HashMap<SocketAddr, Wanted>) -> Result<Opened, ListenError> {
        let mut new = Vec::new();
        for (address, want) in wanted {
            let held = self.addresses.get(address);
            // Never fewer than before: closing one of several sockets loses what is queued on it.
            let missing = want.sockets.saturating_sub(held.map_or(0, |held| held.udp.len()));
            let tcp = match held {
                None => Some(open_tcp(*address).map_err(|error| ListenError {
                    address: *address,
                    transport: "tcp",
                    error,
                })?),
                Some(_) => None,
            };
            let open = |_| {
                open_udp(*address).map_err(|error| ListenError {
                    address: *address,
                    transport: "udp",
                    error,
                })
            };
            let udp = (0..missing).map(open).collect::<Result<Vec<_>, _>>()?;
            new.push((*address, udp, tcp));
        }
        Ok(Opened { new })
    }

    /// Serves `wanted`: swaps what known addresses answer from, starts the new ones, and closes those
    /// that nobody wants any more.
    pub fn serve(
        &mut self,
        wanted: HashMap<SocketAddr, Wanted>,
        opened: Opened,
        shared: &Arc<Shared>,
    ) {
        let mut gone: Vec<SocketAddr> = self.addresses.keys().copied().collect();
        gone.retain(|address| !wanted.contains_key(address));
        for (address, want) in wanted {
            match self.addresses.get(&address) {
                Some(held) => held.routes.store(want.routes),
                None => {
                    self.addresses.insert(address, Address::new(want.routes));
                }
            }
        }
        for (address, udp, tcp) in opened.new {
            if let Some(held) = self.addresses.get_mut(&address) {
                udp.into_iter().for_each(|socket| held.start_worker(address, socket, shared));
                if let Some(listener) = tcp {
                    held.start_tcp(listener, shared);
                }
            }
        }
        for address in gone {
            if let Some(held) = self.addresses.remove(&address) {
                held.stop();
            }
        }
    }

    /// Addresses that are listened on, in order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = self.addresses.keys().copied().collect();
        addresses.sort_unstable();
        addresses
    }

    /// Stops serving and closes everything.
    pub fn stop(&mut self) {
        self.addresses.drain().for_each(|(_, address)| address.stop());
    }
}

impl Address {
    fn new(routes: Arc<Routes>) -> Self {
        Address {
            routes: Arc::new(ArcSwap::new(routes)),
            udp: Vec::new(),
            workers: Vec::new(),
            stop_udp: Arc::new(AtomicBool::new(false)),
            stop_tcp: CancellationToken::new(),
        }
    }

    fn start_worker(&mut self, bound: SocketAddr, socket: Socket, shared: &Arc<Shared>) {
        let socket = Arc::new(socket);
        let worker = Worker {
            socket: Arc::clone(&socket),
            bound,
            routes: Arc::clone(&self.routes),
            recorder: shared.metrics.queries().recorder(),
            long: shared.long.clone(),
            stop: Arc::clone(&self.stop_udp),
        };
        let name = format!("dns-udp-{}", self.udp.len());
        match std::thread::Builder::new().name(name).spawn(move || worker.run()) {
            Ok(handle) => {
                self.udp.push(socket);
                self.workers.push(handle);
            }
            Err(error) => tracing::error!(%error, %bound, "no thread for a UDP socket"),
        }
    }

    fn start_tcp(&self, listener: std::net::TcpListener, shared: &Arc<Shared>) {
        let serving = Listener {
            routes: Arc::clone(&self.routes),
            long: shared.long.clone(),
            connections: Arc::clone(&shared.connections),
            stop: self.stop_tcp.clone(),
        };
        let _runtime = shared.long.runtime.enter();
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => drop(shared.long.runtime.spawn(serving.run(listener))),
            Err(error) => tracing::error!(%error, "registering a TCP listener"),
        }
    }

    fn stop(self) {
        self.stop_udp.store(true, Ordering::Release);
        self.stop_tcp.cancel();
        for socket in &self.udp {
            // Wakes the thread that waits in it; an unconnected socket says ENOTCONN and wakes anyway.
            drop(socket.shutdown(Shutdown::Both));
        }
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a UDP worker had panicked");
            }
        }
    }
}

fn open_udp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    if address.ip().is_unspecified() {
        want_packet_info(socket.as_fd(), address.is_ipv6())?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn open_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
