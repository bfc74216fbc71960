//! A small load generator: a client in one network namespace, a server in another.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use daymark_lab::namespace;
use rustix::{
    net::sockopt::{Timeout, set_socket_timeout},
    thread::{CpuSet, sched_setaffinity},
};

use crate::places::Path;

/// What is done as often as it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Load {
    /// One TCP connection, one way; in bits per second.
    Throughput,
    /// An octet there and back, over one TCP connection; in turns per second.
    RequestResponse,
    /// The same with a connection for each turn.
    ConnectRequestResponse,
    /// UDP datagrams of 64 octets; in those that arrive per second.
    Datagrams,
}

/// How long an end waits for the other before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);
/// A core for each end, the client's first.
const OWN: [usize; 2] = [1, 0];
/// Ends that take turns never work at the same time. On one core a turn takes what the path costs; on
/// two it is mostly the waking of an idle core, which has nothing to do with the path.
const SHARED: [usize; 2] = [0, 0];
/// Octets of a write and of a read in bulk.
const BULK: usize = 128 << 10;
/// What a client sends to go on, and to end a server that would wait for the next one.
const GO_ON: u8 = 0;
const END: u8 = 1;

impl Load {
    pub(crate) const ALL: [(Load, &'static str); 4] = [
        (Load::Throughput, "TCP throughput, bit/s"),
        (Load::RequestResponse, "TCP RR, 1/s"),
        (Load::ConnectRequestResponse, "TCP CRR, 1/s"),
        (Load::Datagrams, "UDP, datagrams/s"),
    ];

    /// Lets it run on a path.
    ///
    /// # Errors
    /// If the ends can't reach each other.
    pub(crate) fn run(self, path: &Path, duration: Duration) -> anyhow::Result<f64> {
        match self {
            Load::Throughput => throughput(path, duration),
            Load::RequestResponse => request_response(path, duration),
            Load::ConnectRequestResponse => connect_request_response(path, duration),
            Load::Datagrams => datagrams(path, duration),
        }
    }
}

/// Chooses how TCP connections of a network namespace control congestion.
///
/// # Errors
/// If the kernel does not have that one.
pub(crate) fn control_congestion(network: &std::path::Path, name: &str) -> anyhow::Result<()> {
    namespace::inside(network, || {
        std::fs::write("/proc/sys/net/ipv4/tcp_congestion_control", name)
            .with_context(|| format!("choosing the congestion control {name}"))
    })
}

fn listen(path: &Path) -> anyhow::Result<(TcpListener, SocketAddr)> {
    namespace::inside(&path.to, || {
        let listener = TcpListener::bind((path.address, 0))?;
        // It goes for `accept` as well.
        set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE))?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    })
}

fn connect(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).context("connecting")?;
    patient(stream)
}

fn patient(stream: TcpStream) -> anyhow::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A connection, its client's end first.
fn connection(path: &Path) -> anyhow::Result<(TcpStream, TcpStream)> {
    let (listener, address) = listen(path)?;
    let client = namespace::inside(&path.from, || connect(address))?;
    Ok((client, patient(listener.accept()?.0)?))
}

/// Runs both ends on these cores; gives what the client and the server give.
fn both<C: Send, S: Send>(
    path: &Path,
    cores: [usize; 2],
    client: impl FnOnce() -> anyhow::Result<C> + Send,
    server: impl FnOnce() -> anyhow::Result<S> + Send,
) -> anyhow::Result<(C, S)> {
    thread::scope(|scope| {
        let serving = scope.spawn(|| {
            run_on(cores[1])?;
            server()
        });
        let asked = namespace::inside(&path.from, || {
            run_on(cores[0])?;
            client()
        });
        let served = serving.join().map_err(|_| anyhow!("a server panicked"))?;
        Ok((asked?, served?))
    })
}

/// Keeps this thread to one core, where there are several.
fn run_on(core: usize) -> anyhow::Result<()> {
    let cores = thread::available_parallelism()?.get();
    let mut set = CpuSet::new();
    set.set(core % cores);
    sched_setaffinity(None, &set).context("keeping a thread to a core")
}

fn throughput(path: &Path, duration: Duration) -> anyhow::Result<f64> {
    let (mut client, mut server) = connection(path)?;
    let send = move || {
        let octets = vec![0; BULK];
        let start = Instant::now();
        while start.elapsed() < duration {
            client.write_all(&octets)?;
        }
        Ok(client.shutdown(Shutdown::Write)?)
    };
    let receive = move || {
        let mut octets = vec![0; BULK];
        let start = Instant::now();
        let mut total = 0;
        loop {
            match server.read(&mut octets)? {
                0 => break,
                some => total += some,
            }
        }
        Ok(total as f64 * 8.0 / start.elapsed().as_secs_f64())
    };
    Ok(both(path, OWN, send, receive)?.1)
}

fn request_response(path: &Path, duration: Duration) -> anyhow::Result<f64> {
    let (mut client, mut server) = connection(path)?;
    let ask = move || {
        let mut octet = [GO_ON];
        let start = Instant::now();
        let mut turns = 0u64;
        while start.elapsed() < duration {
            client.write_all(&octet)?;
            client.read_exact(&mut octet)?;
            turns += 1;
        }
        Ok(turns as f64 / start.elapsed().as_secs_f64())
    };
    let answer = move || {
        let mut octet = [0];
        while server.read(&mut octet)? != 0 {
            server.write_all(&octet)?;
        }
        Ok(())
    };
    Ok(both(path, SHARED, ask, answer)?.0)
}

fn connect_request_response(path: &Path, duration: Duration) -> anyhow::Result<f64> {
    let (listener, address) = listen(path)?;
    let turn = move |word: u8| {
        let mut stream = connect(address)?;
        stream.write_all(&[word])?;
        stream.read_exact(&mut [0])?;
        anyhow::Ok(())
    };
    let ask = move || {
        let start = Instant::now();
        let mut turns = 0u64;
        while start.elapsed() < duration {
            turn(GO_ON)?;
            turns += 1;
        }
        let rate = turns as f64 / start.elapsed().as_secs_f64();
        turn(END)?;
        Ok(rate)
    };
    let answer = move || {
        let mut octet = [GO_ON];
        while octet != [END] {
            let mut stream = patient(listener.accept()?.0)?;
            stream.read_exact(&mut octet)?;
            stream.write_all(&octet)?;
        }
        Ok(())
    };
    Ok(both(path, SHARED, ask, answer)?.0)
}

fn datagrams(path: &Path, duration: Duration) -> anyhow::Result<f64> {
    let server = namespace::inside(&path.to, || {
        let socket = UdpSocket::bind((path.address, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(socket)
    })?;
    let address = server.local_addr()?;
    let sent_all = AtomicBool::new(false);
    let send = || {
        let socket = UdpSocket::bind((unspecified(address), 0))?;
        socket.connect(address)?;
        let start = Instant::now();
        while start.elapsed() < duration {
            // A full queue is what this load is about.
            let _ = socket.send(&[0; 64]);
        }
        sent_all.store(true, Relaxed);
        Ok(start.elapsed())
    };
    let receive = || {
        let mut octets = [0; 64];
        let mut arrived = 0u64;
        let start = Instant::now();
        loop {
            match server.recv(&mut octets) {
                Ok(_) => arrived += 1,
                Err(_) if sent_all.load(Relaxed) || start.elapsed() > duration + PATIENCE => break,
                Err(_) => {}
            }
        }
        Ok(arrived)
    };
    let (took, arrived) = both(path, OWN, send, receive)?;
    ensure!(arrived > 0, "no datagram arrived at {address}");
    Ok(arrived as f64 / took.as_secs_f64())
}

fn unspecified(like: SocketAddr) -> std::net::IpAddr {
    if like.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    }
}
