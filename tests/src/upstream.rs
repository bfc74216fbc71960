//! A name server behind the server under test: a zone from a file, names that misbehave, and one that
//! tells what it was asked.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use hickory_proto::{
    op::{Edns, Message, MessageType, ResponseCode},
    rr::{LowerName, Name, RData, Record, RecordType, rdata::TXT},
    serialize::txt::Parser,
};

use crate::{dns, ports, rules};

/// Longest chain of CNAME records that is followed.
const LONGEST_CHAIN: usize = 8;
/// How long `slow` takes.
const SLOW: Duration = Duration::from_millis(300);

/// A running server, on UDP and TCP. It ends with the process.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
}

struct Zone {
    origin: Name,
    records: BTreeMap<LowerName, Vec<Record>>,
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
    /// Queries so far: `count` answers it.
    asked: AtomicUsize,
}

impl Upstream {
    /// Serves the zone file at `file`.
    ///
    /// # Errors
    /// If it can't be read, or no socket be had.
    pub fn start(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file)?;
        let (origin, sets) = Parser::new(text, None, Some(Name::root()))
            .parse()
            .with_context(|| format!("reading {}", file.display()))?;
        let mut records: BTreeMap<LowerName, Vec<Record>> = BTreeMap::new();
        for (key, set) in sets {
            records.entry(key.name().clone()).or_default().extend(set.into_parts().records);
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
        let counts = Arc::default();
        let zone = Arc::new(Zone { origin, records, counts: Arc::clone(&counts), asked: 0.into() });
        let (udp, tcp) = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
        let by_udp = Arc::clone(&zone);
        std::thread::spawn(move || serve_udp(&udp, &by_udp));
        std::thread::spawn(move || serve_tcp(&tcp, &zone));
        Ok(Upstream { address, counts })
    }

    /// Waits until a name was asked for.
    ///
    /// # Panics
    /// If it is not for long.
    pub fn wait_for(&self, name: &str) {
        let start = std::time::Instant::now();
        while self.count(name) == 0 {
            assert!(start.elapsed() < crate::process::PATIENCE, "nobody asked for {name}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How often a name was asked for, whatever the type.
    pub fn count(&self, name: &str) -> usize {
        let counts = self.counts.lock().expect("nobody panics with the lock");
        counts.get(&name.to_lowercase()).copied().unwrap_or(0)
    }
}

fn serve_udp(socket: &UdpSocket, zone: &Arc<Zone>) {
    let mut buffer = [0; 4096];
    loop {
        let Ok((len, client)) = socket.recv_from(&mut buffer) else { continue };
        let Ok(query) = Message::from_vec(&buffer[..len]) else { continue };
        let (socket, zone) = (socket.try_clone().expect("a descriptor"), Arc::clone(zone));
        // A slow answer holds up nobody else.
        std::thread::spawn(move || {
            if let Some(reply) = zone.reply(&query, "udp") {
                // The client may have gone.
                let _ = socket.send_to(&reply.to_vec().expect("a reply encodes"), client);
            }
        });
    }
}

fn serve_tcp(listener: &TcpListener, zone: &Arc<Zone>) {
    for stream in listener.incoming().flatten() {
        let zone = Arc::clone(zone);
        // Ends with the connection.
        std::thread::spawn(move || while serve_stream(&stream, &zone).is_ok() {});
    }
}

fn serve_stream(mut stream: &TcpStream, zone: &Zone) -> anyhow::Result<()> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut query)?;
    if let Some(reply) = zone.reply(&Message::from_vec(&query)?, "tcp") {
        let reply = reply.to_vec()?;
        stream.write_all(&[&(reply.len() as u16).to_be_bytes(), &reply[..]].concat())?;
    }
    Ok(())
}

impl Zone {
    fn reply(&self, query: &Message, transport: &str) -> Option<Message> {
        let question = query.queries.first()?;
        let name = question.name().to_ascii();
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        *self.counts.lock().ok()?.entry(name.to_lowercase()).or_default() += 1;
        let mut reply =
            Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
        reply.metadata.recursion_desired = query.metadata.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.queries = query.queries.clone();
        reply.edns = query.edns.as_ref().map(|_| Edns::new());
        let text = |text: String| {
            let data = RData::TXT(TXT::new(vec![text]));
            Record::from_rdata(question.name().clone(), 60, data)
        };
        let first = name.split('.').next().unwrap_or_default().to_lowercase();
        match (first.as_str(), question.query_type()) {
            ("silent", _) => return None,
            ("slow", _) => std::thread::sleep(SLOW),
            ("servfail", _) => reply.metadata.response_code = ResponseCode::ServFail,
            ("refused", _) => reply.metadata.response_code = ResponseCode::Refused,
            ("formerr", _) => reply.metadata.response_code = ResponseCode::FormErr,
            ("cut", _) if transport == "udp" => reply.metadata.truncation = true,
            ("echo", RecordType::TXT) => {
                let answers = told(query, transport).into_iter().map(text);
                reply.answers.extend(answers);
                return Some(reply);
            }
            ("once" | "fails" | "gone", RecordType::TXT) => {
                match (first.as_str(), self.is_first(&name)) {
                    (_, true) => reply.answers.push(text("the first".to_owned())),
                    ("once", _) => return None,
                    ("fails", _) => reply.metadata.response_code = ResponseCode::ServFail,
                    _ => self.look_up(question.name(), question.query_type(), &mut reply),
                }
                return Some(reply);
            }
            ("count", RecordType::TXT) => {
                reply.answers.push(text(asked.to_string()));
                return Some(reply);
            }
            _ => {}
        }
        if reply.metadata.response_code == ResponseCode::NoError && !reply.metadata.truncation {
            self.look_up(question.name(), question.query_type(), &mut reply);
        }
        Some(reply)
    }

    /// Whether a name has been asked for once.
    fn is_first(&self, name: &str) -> bool {
        let counts = self.counts.lock().expect("nobody panics with the lock");
        counts.get(&name.to_lowercase()).is_some_and(|count| *count == 1)
    }

    fn look_up(&self, name: &Name, rtype: RecordType, reply: &mut Message) {
        let mut name = name.clone();
        for _ in 0..LONGEST_CHAIN {
            let found = self.records.get(&LowerName::new(&name));
            let below = |other: &LowerName| LowerName::new(&name).zone_of(other);
            if found.is_none() && !self.records.keys().any(below) {
                reply.metadata.response_code = ResponseCode::NXDomain;
            }
            let of_type = |wanted: RecordType| {
                let all = found.into_iter().flatten();
                all.filter(move |record| record.record_type() == wanted)
            };
            let before = reply.answers.len();
            let any = found.into_iter().flatten().filter(|_| rtype == RecordType::ANY);
            reply.answers.extend(of_type(rtype).chain(any).cloned());
            let alias = of_type(RecordType::CNAME).next().filter(|_| reply.answers.len() == before);
            let Some(alias) = alias else { break };
            reply.answers.push(alias.clone());
            let RData::CNAME(target) = &alias.data else { break };
            name = target.0.clone();
        }
        let denies = reply.answers.last().is_none_or(|last| last.record_type() != rtype)
            && rtype != RecordType::ANY;
        if denies {
            let soa = self.records.get(&LowerName::new(&self.origin)).into_iter().flatten();
            let soa = soa.filter(|record| record.record_type() == RecordType::SOA);
            reply.authorities.extend(soa.cloned());
        }
    }
}

/// What a query says, a text for each thing.
fn told(query: &Message, transport: &str) -> Vec<String> {
    let flags = dns::flags(query).join(" ");
    let mut told = vec![format!("over {transport}"), format!("flags {flags}")];
    if let Some(edns) = &query.edns {
        let dnssec = if edns.flags().dnssec_ok { " do" } else { "" };
        told.push(format!("edns {}{dnssec}", edns.max_payload()));
        told.extend(rules::options(query).into_iter().map(|option| format!("option {option}")));
    }
    told
}
