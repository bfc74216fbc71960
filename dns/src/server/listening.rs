//! Sockets that are listened on: opened before anything changes, kept across reloads, closed last.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, OnceLock},
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    admission::Admission,
    answering::Answering,
    batch::want_packet_info,
    doh::Counted,
    endpoint::Endpoint,
    fairness::Quota,
    handover::{Handed, Inherited, Use},
    https::Https,
    https3::Https3,
    quic::{self, QuicListener},
    routes::Routes,
    tcp::{Encrypted, Listener},
    udp::{LongWay, Worker},
};
use crate::{corefile::address::Scheme, metrics::Metrics};

/// Octets that a UDP socket may queue each way, if the machine allows them.
const SOCKET_BUFFER: usize = 4 << 20;
/// Connections that the kernel may hold before they are accepted.
const BACKLOG: i32 = 1024;

/// A worker looks so often whether it is time to end.
const LOOK: Duration = Duration::from_millis(100);

/// How workers end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// They answer what is queued on their sockets.
    Drain,
    /// They leave it to a successor, who reads the same sockets.
    Leave,
}

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

/// What one endpoint shall serve.
pub struct Wanted {
    /// Served there.
    pub routes: Arc<Routes>,
    /// UDP sockets of `dns`, each with a thread of its own; at least one.
    pub sockets: usize,
    /// How connections are served.
    pub encrypted: Arc<Encrypted>,
    /// The same for QUIC, exactly for the schemes that are on it.
    pub quic: Option<quinn::ServerConfig>,
}

/// What workers share.
pub struct Shared {
    /// Where counters are kept.
    pub metrics: Arc<Metrics>,
    /// Everything that does not go the short way.
    pub long: LongWay,
    /// Connections of all listeners.
    pub connections: Arc<Admission>,
    /// Processor time that the process may use.
    pub quota: Arc<Quota>,
}

/// All endpoints that are listened on.
#[derive(Default)]
pub struct Listening {
    endpoints: HashMap<Endpoint, Held>,
}

struct Held {
    routes: Arc<ArcSwap<Routes>>,
    encrypted: Arc<ArcSwap<Encrypted>>,
    udp: Vec<Arc<Socket>>,
    workers: Vec<JoinHandle<()>>,
    /// The listening socket, to be handed on.
    tcp: Option<OwnedFd>,
    quic: Option<quinn::Endpoint>,
    ending: Arc<OnceLock<Ending>>,
    stop: CancellationToken,
}

/// Sockets opened but not served yet.
pub struct Opened {
    new: Vec<(Endpoint, Sockets)>,
}

#[derive(Default)]
struct Sockets {
    udp: Vec<Socket>,
    tcp: Option<std::net::TcpListener>,
    quic: Option<std::net::UdpSocket>,
}

impl Listening {
    /// Opens what `wanted` needs beside what is open already or inherited. Changes nothing that is
    /// served.
    ///
    /// # Errors
    /// The first address that can't be listened on; whatever was opened before it is closed again.
    pub fn open(
        &self,
        wanted: &HashMap<Endpoint, Wanted>,
        inherited: &mut Inherited,
    ) -> Result<Opened, ListenError> {
        let mut new = Vec::new();
        for (endpoint, want) in wanted {
            let held = self.endpoints.get(endpoint);
            let address = endpoint.address;
            let failed = |transport| move |error| ListenError { address, transport, error };
            let mut sockets = Sockets::default();
            if endpoint.scheme == Scheme::Dns {
                // Never fewer than before: closing one of several sockets loses what is queued on it.
                sockets.udp = inherited.udp(address);
                let there = held.map_or(0, |held| held.udp.len()) + sockets.udp.len();
                for _ in there..want.sockets {
                    sockets.udp.push(open_udp(address).map_err(failed("udp"))?);
                }
            }
            if held.is_none() && want.quic.is_some() {
                sockets.quic = Some(open_quic(address).map_err(failed("quic"))?);
            } else if held.is_none() {
                let listener = match inherited.listener(Use::Tcp, address) {
                    Some(listener) => Ok(listener),
                    None => open_tcp(address),
                };
                sockets.tcp = Some(listener.map_err(failed("tcp"))?);
            }
            new.push((*endpoint, sockets));
        }
        Ok(Opened { new })
    }

    /// Serves `wanted`: swaps what known endpoints answer from, starts the new ones, and closes those
    /// that nobody wants any more.
    pub fn serve(
        &mut self,
        wanted: HashMap<Endpoint, Wanted>,
        opened: Opened,
        shared: &Arc<Shared>,
    ) {
        let mut gone: Vec<Endpoint> = self.endpoints.keys().copied().collect();
        gone.retain(|endpoint| !wanted.contains_key(endpoint));
        let mut quic = HashMap::new();
        for (endpoint, want) in wanted {
            quic.extend(want.quic.map(|config| (endpoint, config)));
            match self.endpoints.get(&endpoint) {
                Some(held) => {
                    held.routes.store(want.routes);
                    held.encrypted.store(want.encrypted);
                    if let (Some(open), Some(config)) = (&held.quic, quic.remove(&endpoint)) {
                        open.set_server_config(Some(config));
                    }
                }
                None => {
                    self.endpoints.insert(endpoint, Held::new(want.routes, want.encrypted));
                }
            }
        }
        for (endpoint, sockets) in opened.new {
            let Some(held) = self.endpoints.get_mut(&endpoint) else { continue };
            for socket in sockets.udp {
                held.start_worker(endpoint.address, socket, shared);
            }
            if let Some(listener) = sockets.tcp {
                held.start_tcp(endpoint, listener, shared);
            }
            if let (Some(socket), Some(config)) = (sockets.quic, quic.remove(&endpoint)) {
                held.start_quic(endpoint, socket, config, shared);
            }
        }
        let gone = gone.iter().filter_map(|endpoint| self.endpoints.remove(endpoint));
        end(gone.collect(), Ending::Drain);
    }

    /// Every socket that a successor can go on with.
    ///
    /// # Errors
    /// If there are too many descriptors.
    pub fn handed(&self) -> io::Result<Vec<Handed>> {
        let mut handed = Vec::new();
        for (endpoint, held) in &self.endpoints {
            for socket in &held.udp {
                let socket = socket.as_fd().try_clone_to_owned()?;
                handed.push((Use::Udp, endpoint.address, socket));
            }
            if let Some(listener) = &held.tcp {
                handed.push((Use::Tcp, endpoint.address, listener.try_clone()?));
            }
        }
        Ok(handed)
    }

    /// Endpoints that are listened on, in order.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let mut endpoints: Vec<_> = self.endpoints.keys().copied().collect();
        endpoints.sort_unstable();
        endpoints
    }

    /// Stops serving and closes everything. What is in work goes on.
    pub fn stop(&mut self, ending: Ending) {
        end(self.endpoints.drain().map(|(_, held)| held).collect(), ending);
    }
}

/// Ends the workers of all of these, which takes no longer than that of one.
fn end(all: Vec<Held>, ending: Ending) {
    for held in &all {
        // Told before: then it has ended already.
        let _ = held.ending.set(ending);
        held.stop.cancel();
    }
    for worker in all.into_iter().flat_map(|held| held.workers) {
        if worker.join().is_err() {
            tracing::error!("a UDP worker had panicked");
        }
    }
}

impl Held {
    fn new(routes: Arc<Routes>, encrypted: Arc<Encrypted>) -> Self {
        Held {
            routes: Arc::new(ArcSwap::new(routes)),
            encrypted: Arc::new(ArcSwap::new(encrypted)),
            udp: Vec::new(),
            workers: Vec::new(),
            tcp: None,
            quic: None,
            ending: Arc::default(),
            stop: CancellationToken::new(),
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
            quota: Arc::clone(&shared.quota),
            ending: Arc::clone(&self.ending),
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

    fn answering(&self, shared: &Shared) -> Answering {
        Answering { routes: Arc::clone(&self.routes), long: shared.long.clone() }
    }

    fn start_tcp(
        &mut self,
        endpoint: Endpoint,
        listener: std::net::TcpListener,
        shared: &Arc<Shared>,
    ) {
        let https = || Https {
            counted: Counted {
                responses: shared.metrics.https_responses.clone(),
                server: endpoint.to_string(),
            },
            streams: self.encrypted.load().manners.streams,
        };
        let serving = Listener {
            scheme: endpoint.scheme,
            answering: self.answering(shared),
            manners: Arc::clone(&self.encrypted),
            connections: Arc::clone(&shared.connections),
            https: (endpoint.scheme == Scheme::Https).then(https),
            stop: self.stop.clone(),
        };
        self.tcp = listener.as_fd().try_clone_to_owned().ok();
        let _runtime = shared.long.runtime.enter();
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => drop(shared.long.runtime.spawn(serving.run(listener))),
            Err(error) => tracing::error!(%error, %endpoint, "registering a TCP listener"),
        }
    }

    fn start_quic(
        &mut self,
        endpoint: Endpoint,
        socket: std::net::UdpSocket,
        config: quinn::ServerConfig,
        shared: &Arc<Shared>,
    ) {
        let https3 = || Https3 {
            counted: Counted {
                responses: shared.metrics.https3_responses.clone(),
                server: endpoint.to_string(),
            },
        };
        let serving = QuicListener {
            answering: self.answering(shared),
            manners: Arc::clone(&self.encrypted),
            connections: Arc::clone(&shared.connections),
            https3: (endpoint.scheme == Scheme::Https3).then(https3),
            outcomes: shared.metrics.quic_responses.clone(),
            server: endpoint.to_string(),
            workers: Arc::new(Semaphore::new(self.encrypted.load().manners.workers)),
            stop: self.stop.clone(),
        };
        let _runtime = shared.long.runtime.enter();
        match quic::open(socket, config) {
            Ok(open) => {
                self.quic = Some(open.clone());
                drop(shared.long.runtime.spawn(serving.run(open)));
            }
            Err(error) => tracing::error!(%error, %endpoint, "registering a QUIC socket"),
        }
    }
}

fn open_quic(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn open_udp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_read_timeout(Some(LOOK))?;
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
