//! `dnstap [listen] SOCKET [full] [WRITEBUFFER] [QUEUE]`.

use std::path::PathBuf;

use crate::{
    corefile::{
        cause::Cause,
        checker::Checker,
        tree::{Line, Token},
        values::HostPort,
    },
    plugins::{
        chaos::config::VERSION,
        log::format::{Piece, compile},
        nsid::machine_name,
        tls::{self, config::ClientAuth, trust::Trust},
    },
};

const PROPERTIES: &[&str] = &["identity", "version", "extra", "skipverify", "tls"];
/// Most octets of the path of a unix socket (`sun_path` less its end).
const MAX_PATH: usize = 107;

/// The settings of all `dnstap` directives of a server block, in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// At least one.
    pub taps: Vec<Tap>,
}

/// One directive.
#[derive(Debug, Clone, PartialEq)]
pub struct Tap {
    /// Who gets it.
    pub receiver: Receiver,
    /// As it stands in the Corefile, for logs and metrics.
    pub socket: String,
    /// Whether the messages themselves are told.
    pub full: bool,
    /// The server's name.
    pub identity: String,
    /// Its software.
    pub version: String,
    /// What is told besides; empty for nothing.
    pub extra: Vec<Piece>,
}

/// Who gets it.
#[derive(Debug, Clone, PartialEq)]
pub enum Receiver {
    /// One that we connect to.
    Connect {
        /// Where it listens.
        to: Endpoint,
        /// For TLS.
        trust: Option<Trust>,
        /// Send buffer of the socket, in MiB.
        write_buffer: u32,
        /// Room of the queue, in 10,000 payloads.
        queue: u32,
    },
    /// Those that connect to us.
    Listen {
        /// Where we listen.
        on: Endpoint,
        /// What we show over TLS.
        certificate: Option<tls::config::Files>,
    },
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// Over TCP.
    Tcp(HostPort),
    /// Over TLS.
    Tls(HostPort),
}

/// What the block of a directive says.
#[derive(Default)]
struct Properties {
    identity: Option<String>,
    version: Option<String>,
    extra: Vec<Piece>,
    skip_verify: Option<Token>,
    tls: Option<Line>,
}

/// Reads one directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let listens = line.args().first().is_some_and(|word| &*word.text == "listen");
    let want = match listens {
        true => "`listen`, a socket and perhaps `full`",
        false => "a socket, and perhaps `full`, a write buffer and a queue",
    };
    let count = if listens { 2..=3 } else { 1..=4 };
    let args = cx.args(line, count, want);
    let properties = properties(line, cx);
    let args = &args?[usize::from(listens)..];
    let socket = &args[0];
    let full = match args.get(1) {
        None => false,
        Some(word) if &*word.text == "full" => true,
        // CoreDNS has no other way to leave `full` out where numbers follow.
        Some(word) if args.len() > 2 && word.text.parse::<u64>().is_err() => false,
        Some(word) => {
            let cause = Cause::Value { found: word.text.to_string(), want: "`full`".to_owned() };
            cx.mistake_with(
                word.span,
                cause,
                "numbers stand behind `full`, or behind another word",
            );
            return None;
        }
    };
    let endpoint = endpoint(socket, cx)?;
    let mut number = |at: usize, what, most| match args.get(at) {
        None => Some(1),
        Some(token) => cx.integer(token, what, 1..=most),
    };
    let write_buffer = number(2, "the write buffer in MiB", 1024);
    let queue = number(3, "the queue in 10,000 messages", 4096);
    let receiver = match listens {
        true => listening(endpoint, socket, &properties, cx)?,
        false => Receiver::Connect {
            trust: trusted(&endpoint, socket, &properties, cx)?,
            to: endpoint,
            write_buffer: write_buffer?,
            queue: queue?,
        },
    };
    Some(Config {
        taps: vec![Tap {
            receiver,
            socket: socket.text.to_string(),
            full,
            identity: properties.identity.unwrap_or_else(machine_name),
            version: properties.version.unwrap_or_else(|| VERSION.to_owned()),
            extra: properties.extra,
        }],
    })
}

fn properties(line: &Line, cx: &mut Checker<'_>) -> Properties {
    let mut found = Properties::default();
    for property in cx.properties(line) {
        let mut text = |want| cx.one(property, want).map(|token| token.text.to_string());
        match &*property.name().text {
            "identity" => found.identity = text("the server's name").or(found.identity),
            "version" => found.version = text("the server's version").or(found.version),
            "extra" => {
                found.extra = text("a text").map(|text| compile(&text)).unwrap_or_default();
            }
            "skipverify" => {
                if cx.none(property) {
                    found.skip_verify = Some(property.name().clone());
                }
            }
            "tls" => found.tls = Some(property.clone()),
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    found
}

fn endpoint(token: &Token, cx: &mut Checker<'_>) -> Option<Endpoint> {
    let text = &*token.text;
    if let Some(address) = text.strip_prefix("tcp://") {
        return network(token, address, cx).map(Endpoint::Tcp);
    }
    if let Some(address) = text.strip_prefix("tls://") {
        return network(token, address, cx).map(Endpoint::Tls);
    }
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.is_empty() || path.len() > MAX_PATH || path.contains("://") {
        cx.not(token, format!("the path of a unix socket (up to {MAX_PATH} octets), `tcp://HOST:PORT` or `tls://HOST:PORT`"));
        return None;
    }
    if HostPort::parse(path).is_some() {
        cx.warn(token.span, "without `tcp://` in front this is the path of a unix socket");
    }
    Some(Endpoint::Unix(path.into()))
}

fn network(token: &Token, address: &str, cx: &mut Checker<'_>) -> Option<HostPort> {
    let found = HostPort::parse(address);
    if found.is_none() {
        cx.not(token, "`tcp://HOST:PORT` or `tls://HOST:PORT`");
    }
    found
}

/// How a receiver over TLS is trusted.
fn trusted(
    endpoint: &Endpoint,
    socket: &Token,
    properties: &Properties,
    cx: &mut Checker<'_>,
) -> Option<Option<Trust>> {
    if let Some(line) = &properties.tls {
        cx.mistake_with(
            line.span(),
            Cause::Conflict("this `tls` is for `dnstap listen`"),
            "a receiver's certificate is checked against the machine's authorities",
        );
        return None;
    }
    let Endpoint::Tls(address) = endpoint else {
        if let Some(word) = &properties.skip_verify {
            cx.warn(word.span, "`skipverify` says nothing without TLS");
        }
        return Some(None);
    };
    let trust = Trust::new(&address.host, properties.skip_verify.is_none());
    if trust.is_none() {
        cx.not(socket, "an address with a host that can have a certificate");
    }
    trust.map(Some)
}

fn listening(
    endpoint: Endpoint,
    socket: &Token,
    properties: &Properties,
    cx: &mut Checker<'_>,
) -> Option<Receiver> {
    let certificate = properties.tls.as_ref().map(|line| certificate(line, properties, cx));
    let certificate = match certificate {
        None => None,
        Some(read) => Some(read?),
    };
    match (&endpoint, &certificate) {
        (Endpoint::Tls(_), None) => {
            let found = socket.text.to_string();
            let cause = Cause::Value { found, want: "enough to listen with TLS".to_owned() };
            cx.mistake_with(socket.span, cause, "give it a certificate: `tls CERT KEY`");
            return None;
        }
        (Endpoint::Tls(_), Some(_)) => {}
        (_, Some(_)) => cx.warn(socket.span, "`tls` says nothing: the address has no `tls://`"),
        (_, None) => {
            if let Some(word) = &properties.skip_verify {
                cx.warn(word.span, "`skipverify` says nothing without TLS");
            }
        }
    }
    Some(Receiver::Listen { on: endpoint, certificate })
}

fn certificate(
    line: &Line,
    properties: &Properties,
    cx: &mut Checker<'_>,
) -> Option<tls::config::Files> {
    let args = cx.args(line, 2..=3, "a certificate, its key and perhaps authorities")?;
    let client_auth = match (args.get(2), &properties.skip_verify) {
        (None, _) => ClientAuth::NoCert,
        (Some(_), None) => ClientAuth::RequireAndVerify,
        (Some(_), Some(_)) => ClientAuth::VerifyIfGiven,
    };
    let paths = args.iter().map(|token| PathBuf::from(&*token.text)).collect::<Vec<_>>();
    let config = tls::config::Files {
        certificate: paths[0].clone(),
        key: paths[1].clone(),
        ca: paths.get(2).cloned(),
        client_auth,
        keylog: None,
    };
    tls::config::check(&config, args, cx).then_some(config)
}
