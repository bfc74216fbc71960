//! A receiver of dnstap: the other side of Frame Streams, and what it was told.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use hickory_proto::op::Message;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{
    process::PATIENCE,
    protobuf::{self, Value},
};

const CONTENT: &[u8] = b"protobuf:dnstap.Dnstap";
const TYPES: [&str; 9] = [
    "",
    "AUTH_QUERY",
    "AUTH_RESPONSE",
    "RESOLVER_QUERY",
    "RESOLVER_RESPONSE",
    "CLIENT_QUERY",
    "CLIENT_RESPONSE",
    "FORWARDER_QUERY",
    "FORWARDER_RESPONSE",
];
const PROTOCOLS: [&str; 8] = ["", "UDP", "TCP", "DOT", "DOH", "DNSCryptUDP", "DNSCryptTCP", "DOQ"];

/// One payload, its fields by their names in dnstap.proto.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Texts, numbers and addresses.
    pub fields: BTreeMap<&'static str, String>,
    /// The query's message.
    pub query: Option<Vec<u8>>,
    /// The reply's message.
    pub reply: Option<Vec<u8>>,
}

/// What came so far, from all connections.
#[derive(Clone, Default)]
pub struct Receiver(Arc<Shared>);

#[derive(Default)]
struct Shared {
    came: Mutex<Came>,
    more: Condvar,
    /// Whether to go on reading.
    deaf: AtomicBool,
}

#[derive(Default)]
struct Came {
    payloads: Vec<Vec<u8>>,
    /// Connections that were begun.
    begun: usize,
    /// Connections that ended as they should.
    finished: usize,
}

impl Receiver {
    /// Listens at a unix socket. It ends with the process.
    ///
    /// # Errors
    /// If it can't.
    pub fn unix(path: &Path) -> anyhow::Result<Self> {
        let (listener, receiver) = (UnixListener::bind(path)?, Receiver::default());
        let own = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                own.spawn(stream);
            }
        });
        Ok(receiver)
    }

    /// Listens over TCP on a free port of loopback, with TLS if there is a configuration for it; tells
    /// where.
    ///
    /// # Errors
    /// If it can't.
    pub fn tcp(tls: Option<Arc<ServerConfig>>) -> anyhow::Result<(SocketAddr, Self)> {
        let (listener, receiver) = (TcpListener::bind("127.0.0.1:0")?, Receiver::default());
        let address = listener.local_addr()?;
        let own = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                match tls.clone().map(ServerConnection::new) {
                    None => own.spawn(stream),
                    Some(Ok(tls)) => own.spawn(StreamOwned::new(tls, stream)),
                    Some(Err(_)) => drop(stream.shutdown(Shutdown::Both)),
                }
            }
        });
        Ok((address, receiver))
    }

    /// Takes one connection and reads no more of it until told to.
    ///
    /// # Errors
    /// If it can't listen.
    pub fn deaf() -> anyhow::Result<(SocketAddr, Self)> {
        let (address, receiver) = Receiver::tcp(None)?;
        receiver.0.deaf.store(true, Ordering::Relaxed);
        Ok((address, receiver))
    }

    /// Reads on.
    pub fn hear(&self) {
        self.0.deaf.store(false, Ordering::Relaxed);
    }

    /// Reads a connection in a thread of its own.
    pub fn spawn(&self, stream: impl Read + Write + Send + 'static) {
        let own = self.clone();
        std::thread::spawn(move || own.receive(stream));
    }

    /// Payloads so far.
    pub fn count(&self) -> usize {
        self.came().payloads.len()
    }

    /// Connections that were begun, and those of them that were ended as they should.
    pub fn connections(&self) -> (usize, usize) {
        let came = self.came();
        (came.begun, came.finished)
    }

    /// Waits for a number of payloads, and gives all that came.
    ///
    /// # Errors
    /// If they do not come within [`PATIENCE`], or one is no dnstap.
    pub fn wait_for(&self, count: usize) -> anyhow::Result<Vec<Told>> {
        let start = Instant::now();
        let mut came = self.came();
        while came.payloads.len() < count {
            ensure!(start.elapsed() < PATIENCE, "{} payloads of {count}", came.payloads.len());
            let (held, _) =
                self.0.more.wait_timeout(came, Duration::from_millis(100)).expect("no panic");
            came = held;
        }
        came.payloads.iter().map(|payload| Told::read(payload)).collect()
    }

    fn came(&self) -> MutexGuard<'_, Came> {
        self.0.came.lock().expect("nobody panics with the lock")
    }

    fn receive(&self, mut stream: impl Read + Write) -> anyhow::Result<()> {
        let (kind, fields) = control(&mut stream)?;
        ensure!(kind == 4 && fields == CONTENT, "no READY");
        send_control(&mut stream, 1, CONTENT)?;
        let (kind, fields) = control(&mut stream)?;
        ensure!(kind == 2 && fields == CONTENT, "no START");
        self.came().begun += 1;
        loop {
            while self.0.deaf.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(10));
            }
            match number(&mut stream)? {
                0 => {
                    let length = number(&mut stream)?;
                    ensure!(octets(&mut stream, length)? == 3_u32.to_be_bytes(), "no STOP");
                    send_control(&mut stream, 5, b"")?;
                    self.came().finished += 1;
                    return Ok(());
                }
                length => {
                    let payload = octets(&mut stream, length)?;
                    self.came().payloads.push(payload);
                    self.0.more.notify_all();
                }
            }
        }
    }
}

/// A control frame: its type, and the one content type that it names.
fn control(stream: &mut impl Read) -> anyhow::Result<(u32, Vec<u8>)> {
    ensure!(number(stream)? == 0, "no control frame");
    let length = number(stream)?;
    let frame = octets(stream, length)?;
    let kind = u32::from_be_bytes(frame[..4].try_into()?);
    Ok((kind, frame.get(12..).unwrap_or_default().to_vec()))
}

fn send_control(stream: &mut impl Write, kind: u32, content: &[u8]) -> io::Result<()> {
    let mut body = kind.to_be_bytes().to_vec();
    if !content.is_empty() {
        body.extend(1_u32.to_be_bytes());
        body.extend((content.len() as u32).to_be_bytes());
        body.extend(content);
    }
    let mut frame = 0_u32.to_be_bytes().to_vec();
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    stream.write_all(&frame)?;
    stream.flush()
}

fn number(stream: &mut impl Read) -> io::Result<u32> {
    let mut number = [0; 4];
    stream.read_exact(&mut number)?;
    Ok(u32::from_be_bytes(number))
}

fn octets(stream: &mut impl Read, length: u32) -> anyhow::Result<Vec<u8>> {
    ensure!(length < 1 << 20, "a frame of {length} octets");
    let mut octets = vec![0; length as usize];
    stream.read_exact(&mut octets)?;
    Ok(octets)
}

impl Told {
    /// Reads a payload. Times become `there`.
    fn read(payload: &[u8]) -> anyhow::Result<Self> {
        let mut told = Told { fields: BTreeMap::new(), query: None, reply: None };
        for field in protobuf::fields(payload)? {
            match field {
                (1, Value::Octets(text)) => told.text("identity", text)?,
                (2, Value::Octets(text)) => told.text("version", text)?,
                (3, Value::Octets(text)) => told.text("extra", text)?,
                (14, Value::Octets(message)) => told.message(&message)?,
                (15, Value::Number(1)) => told.set("is", "MESSAGE"),
                other => bail!("{other:?} in a payload"),
            }
        }
        Ok(told)
    }

    fn message(&mut self, message: &[u8]) -> anyhow::Result<()> {
        let named = |names: &[&'static str], at: u64| {
            names.get(at as usize).copied().with_context(|| format!("number {at}"))
        };
        for field in protobuf::fields(message)? {
            match field {
                (1, Value::Number(at)) => self.set("type", named(&TYPES, at)?),
                (2, Value::Number(at)) => self.set("family", named(&["", "INET", "INET6"], at)?),
                (3, Value::Number(at)) => self.set("protocol", named(&PROTOCOLS, at)?),
                (4, Value::Octets(octets)) => self.set("query_address", address(&octets)?),
                (5, Value::Octets(octets)) => self.set("response_address", address(&octets)?),
                (6, Value::Number(port)) => self.set("query_port", port),
                (7, Value::Number(port)) => self.set("response_port", port),
                (8, Value::Number(_)) => self.set("query_time_sec", "there"),
                (9, Value::Number(_)) => self.set("query_time_nsec", "there"),
                (10, Value::Octets(query)) => self.query = Some(query),
                (12, Value::Number(_)) => self.set("response_time_sec", "there"),
                (13, Value::Number(_)) => self.set("response_time_nsec", "there"),
                (14, Value::Octets(reply)) => self.reply = Some(reply),
                other => bail!("{other:?} in a message"),
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &'static str, value: impl fmt::Display) {
        self.fields.insert(name, value.to_string());
    }

    fn text(&mut self, name: &'static str, text: Vec<u8>) -> anyhow::Result<()> {
        self.set(name, String::from_utf8(text)?);
        Ok(())
    }

    /// A field; empty if it is not there.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

fn address(octets: &[u8]) -> anyhow::Result<IpAddr> {
    Ok(match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets)?),
        _ => IpAddr::from(<[u8; 16]>::try_from(octets)?),
    })
}

impl fmt::Display for Told {
    /// One field on a line, and the messages as they read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.fields {
            writeln!(f, "{name}: {value}")?;
        }
        for (name, message) in [("query", &self.query), ("reply", &self.reply)] {
            if let Some(message) = message {
                match Message::from_vec(message) {
                    Ok(message) => writeln!(f, "{name}: {message}")?,
                    Err(error) => writeln!(f, "{name}: {error}")?,
                }
            }
        }
        Ok(())
    }
}
