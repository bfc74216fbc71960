//! A DNS client: asks one question, shows the reply in presentation form.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, bail};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RData, Record, RecordType, rdata::opt::EdnsOption},
};
use serde::Deserialize;

use crate::clients;

/// How long a reply may take, and how often a UDP query is sent.
const TIMEOUT: Duration = Duration::from_secs(3);
const TRIES: usize = 3;

/// What an OPT record of a query says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdnsOptions {
    /// UDP payload size.
    #[serde(default = "default_size")]
    pub size: u16,
    /// The DO bit.
    #[serde(default, rename = "do")]
    pub dnssec_ok: bool,
    /// Options.
    #[serde(default)]
    pub options: Vec<RawOption>,
}

/// An EDNS option.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawOption {
    /// Its code.
    pub code: u16,
    /// Its data in hexadecimal.
    pub data: String,
}

fn default_size() -> u16 {
    1232
}

/// Over which transport to ask.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// UDP.
    #[default]
    Udp,
    /// TCP.
    Tcp,
    /// TLS; for this and those below an [`encrypted::Client`](crate::encrypted::Client) asks.
    Tls,
    /// HTTPS.
    Https,
    /// HTTP/3.
    Https3,
    /// QUIC.
    Quic,
}

/// A query for `name` and a type's mnemonic or `TYPEn`, with RD set.
///
/// # Errors
/// If either is none.
pub fn query(name: &str, rtype: &str, edns: Option<&EdnsOptions>) -> anyhow::Result<Message> {
    let rtype = match (rtype, rtype.strip_prefix("TYPE").map(str::parse::<u16>)) {
        (_, Some(Ok(number))) => RecordType::from(number),
        // Types that hickory-proto has no mnemonic for.
        ("LOC", _) => RecordType::from(29),
        ("IXFR", _) => RecordType::from(251),
        _ => rtype.parse().ok().with_context(|| format!("`{rtype}` is no type"))?,
    };
    let mut message = Message::new(rand_id(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    // Label by label: the text parser refuses labels that begin with a hyphen.
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut name = Name::from_labels(labels.map(str::as_bytes))?;
    name.set_fqdn(true);
    message.add_query(Query::query(name, rtype));
    if let Some(options) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(options.size);
        edns.set_dnssec_ok(options.dnssec_ok);
        for option in &options.options {
            let data = (0..option.data.len() / 2)
                .map(|at| u8::from_str_radix(&option.data[2 * at..2 * at + 2], 16))
                .collect::<Result<Vec<u8>, _>>()?;
            edns.options_mut().insert(EdnsOption::Unknown(option.code, data));
        }
        message.set_edns(edns);
    }
    Ok(message)
}

fn rand_id() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::Instant::now()) as u16
}

/// Asks `server` and decodes the reply.
///
/// # Errors
/// If none comes, or none that can be decoded and belongs to the query.
pub fn ask(server: SocketAddr, query: &Message, transport: Transport) -> anyhow::Result<Message> {
    ask_from(None, server, query, transport)
}

/// Asks from an address of one's own.
///
/// # Errors
/// As [`ask`].
pub fn ask_from(
    client: Option<IpAddr>,
    server: SocketAddr,
    query: &Message,
    transport: Transport,
) -> anyhow::Result<Message> {
    let bytes = exchange_from(client, server, &query.to_vec()?, transport)?;
    let reply = Message::from_vec(&bytes).context("decoding the reply")?;
    if reply.metadata.id != query.metadata.id || reply.queries != query.queries {
        bail!("the reply belongs to another query: {:?}", reply.queries);
    }
    Ok(reply)
}

/// Sends raw octets and gives the raw reply.
///
/// # Errors
/// If none comes.
pub fn exchange(server: SocketAddr, query: &[u8], transport: Transport) -> anyhow::Result<Vec<u8>> {
    exchange_from(None, server, query, transport)
}

fn exchange_from(
    client: Option<IpAddr>,
    server: SocketAddr,
    query: &[u8],
    transport: Transport,
) -> anyhow::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = client.unwrap_or(any);
    match transport {
        Transport::Udp => over_udp(from, server, query),
        Transport::Tcp => over_stream(clients::connect(from, server, TIMEOUT)?, query),
        _ => bail!("{transport:?} needs a client with certificates"),
    }
}

fn over_udp(from: IpAddr, server: SocketAddr, query: &[u8]) -> anyhow::Result<Vec<u8>> {
    let socket = clients::udp(from, server)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let mut reply = vec![0; usize::from(u16::MAX)];
    for _ in 0..TRIES {
        socket.send(query)?;
        if let Ok(len) = socket.recv(&mut reply) {
            reply.truncate(len);
            return Ok(reply);
        }
    }
    bail!("no reply from {server}")
}

/// Sends raw octets over a connection and gives the raw reply.
///
/// # Errors
/// If none comes.
pub fn over_stream(mut stream: TcpStream, query: &[u8]) -> anyhow::Result<Vec<u8>> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&(query.len() as u16).to_be_bytes())?;
    stream.write_all(query)?;
    let mut len = [0; 2];
    stream.read_exact(&mut len).context("reading the reply's length")?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

/// Header flags besides QR, in the header's order.
pub fn flags(message: &Message) -> Vec<&'static str> {
    let header = &message.metadata;
    [
        (header.authoritative, "aa"),
        (header.truncation, "tc"),
        (header.recursion_desired, "rd"),
        (header.recursion_available, "ra"),
        (header.authentic_data, "ad"),
        (header.checking_disabled, "cd"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect()
}

/// A record in presentation form, a SOA's serial as `*`.
pub fn presentation(record: &Record) -> String {
    let data = match &record.data {
        RData::A(a) => a.0.to_string(),
        RData::AAAA(a) => a.0.to_string(),
        RData::CNAME(name) => name.0.to_ascii(),
        RData::PTR(name) => name.0.to_ascii(),
        RData::NS(name) => name.0.to_ascii(),
        RData::SRV(srv) => {
            format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target.to_ascii())
        }
        RData::SOA(soa) => format!(
            "{} {} * {} {} {} {}",
            soa.mname.to_ascii(),
            soa.rname.to_ascii(),
            soa.refresh,
            soa.retry,
            soa.expire,
            soa.minimum
        ),
        RData::TXT(txt) => {
            let quoted = |text: &[u8]| format!("\"{}\"", String::from_utf8_lossy(text));
            txt.txt_data.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    // hickory-proto escapes a leading hyphen, which needs no escape (RFC 1035 §5.1).
    let (name, class) = (record.name.to_ascii().replace("\\-", "-"), record.dns_class);
    format!("{name} {} {class} {} {data}", record.ttl, record.record_type())
}
