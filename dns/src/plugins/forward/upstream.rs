//! The TO of `forward`: servers by address, by name, or in a file like resolv.conf.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::Token;
use crate::corefile::values::{is_host_name, parse_port, split_host_port};

/// One server to ask.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// How to ask it.
    pub transport: Transport,
    /// Where it is.
    pub target: Target,
}

/// How an upstream is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP and TCP.
    Dns,
    /// Encrypted.
    Secure {
        /// With this.
        over: Secure,
        /// The name that its certificate must have (`%name`); the directive's `tls_servername` if `None`.
        server_name: Option<Arc<str>>,
    },
}

/// An encrypted transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Secure {
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

impl Secure {
    fn port(self) -> u16 {
        match self {
            Secure::Tls | Secure::Quic => 853,
            Secure::Https => 443,
        }
    }
}

/// Where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address.
    Ip(SocketAddr),
    /// A link-local address on an interface, whose index is looked up when the server starts.
    Scoped {
        /// The address.
        ip: Ipv6Addr,
        /// The interface's name.
        interface: Arc<str>,
        /// The port.
        port: u16,
    },
    /// A name, looked up when the server starts.
    Name {
        /// The name.
        name: Domain,
        /// The port.
        port: u16,
    },
}

/// Reads one TO. A file gives as many upstreams as it has name servers, perhaps none.
pub(super) fn parse(token: &Token, cx: &mut Checker<'_>) -> Option<Vec<Upstream>> {
    let (scheme, rest) =
        token.text.split_once("://").map_or(("dns", &*token.text), |(scheme, rest)| (scheme, rest));
    let secure = match scheme {
        "dns" => None,
        "tls" => Some(Secure::Tls),
        "quic" => Some(Secure::Quic),
        "https" if rest.contains('/') => {
            let cause = Cause::Value {
                found: token.text.to_string(),
                want: "an upstream: it has a path".to_owned(),
            };
            cx.mistake_with(token.span, cause, "leave the path out, it is always /dns-query");
            return None;
        }
        "https" => Some(Secure::Https),
        _ => {
            let want = "an upstream: the schemes are dns, tls, quic and https".to_owned();
            cx.mistake(token.span, Cause::Value { found: token.text.to_string(), want });
            return None;
        }
    };
    if let Some(upstream) = server(rest, secure) {
        return Some(vec![upstream]);
    }
    if rest.contains('/') || (!rest.is_empty() && cx.file(Path::new(rest)).is_ok()) {
        return file(token, rest, cx);
    }
    cx.mistake_with(
        token.span,
        Cause::Value { found: token.text.to_string(), want: "an upstream".to_owned() },
        "write an IP address, a name or a file like /etc/resolv.conf: `10.0.0.1`, `[2001:db8::1]:53`, `dns.example.org:5353`",
    );
    None
}

/// `host[%scope][:port]`, or `None` if it is not of that form.
fn server(text: &str, secure: Option<Secure>) -> Option<Upstream> {
    let (host, scope, port) = split(text)?;
    let port = match port {
        Some(port) => parse_port(port).filter(|&port| port != 0)?,
        None => secure.map_or(53, Secure::port),
    };
    if scope.is_some_and(str::is_empty) {
        return None;
    }
    let target = match (host.parse::<IpAddr>(), scope) {
        (Ok(IpAddr::V6(ip)), Some(interface)) if secure.is_none() => {
            Target::Scoped { ip, interface: interface.into(), port }
        }
        (Ok(ip), Some(_)) if secure.is_some() => Target::Ip(SocketAddr::new(ip, port)),
        (Ok(ip), None) => Target::Ip(SocketAddr::new(ip, port)),
        (Err(_), scope) if is_host_name(host) && (secure.is_some() || scope.is_none()) => {
            Target::Name { name: Domain::parse(host).ok()?, port }
        }
        _ => return None,
    };
    let transport = match secure {
        None => Transport::Dns,
        Some(over) => Transport::Secure { over, server_name: scope.map(Arc::from) },
    };
    Some(Upstream { transport, target })
}

/// Host, scope and port of `1.2.3.4%scope:53`, `[::1%scope]:53`, `::1%scope` and shorter forms.
fn split(text: &str) -> Option<(&str, Option<&str>, Option<&str>)> {
    let (host, port) = match split_host_port(text) {
        Some((host, port)) => (host, Some(port)),
        None if text.starts_with('[') => (text.strip_prefix('[')?.strip_suffix(']')?, None),
        None if text.contains(['[', ']']) => return None,
        None => (text, None),
    };
    Some(match host.rsplit_once('%') {
        Some((host, scope)) => (host, Some(scope), port),
        None => (host, None, port),
    })
}

/// The name servers of a file like resolv.conf. Lines that are no address are passed over with a warning.
fn file(token: &Token, path: &str, cx: &mut Checker<'_>) -> Option<Vec<Upstream>> {
    let bytes = match cx.file(Path::new(path)) {
        Ok(bytes) => bytes,
        Err(error) => {
            cx.mistake(
                token.span,
                Cause::Unreadable { path: path.to_owned(), error: error.to_string() },
            );
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut upstreams = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(("nameserver", address)) = words.next().zip(words.next()) else { continue };
        match server(address, None)
            .filter(|upstream| !matches!(upstream.target, Target::Name { .. }))
        {
            Some(upstream) => upstreams.push(upstream),
            None => {
                cx.warn(token.span, "a nameserver line of this file is no address and is left out");
            }
        }
    }
    Some(upstreams)
}
