//! Single values as a Corefile writes them: durations and numbers in Go's syntax, `host:port`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::domain::Domain;

/// A place to listen on for HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The address.
    pub host: Host,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

/// The host part of a [`HostPort`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// None given: every address, IPv4 and IPv6.
    Any,
    /// An address.
    Ip(IpAddr),
    /// A name to look up, such as `localhost`, or an IPv6 address with its interface.
    Name(Arc<str>),
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Any => write!(f, ":{}", self.port),
            Host::Ip(ip) => std::net::SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl HostPort {
    /// Every address of the machine.
    pub const fn any(port: u16) -> Self {
        Self { host: Host::Any, port }
    }

    /// Reads `host:port`, `:port`, `1.2.3.4:port`, `[::1]:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = split_host_port(text)?;
        let host = if host.is_empty() { Host::Any } else { parse_host(host)? };
        Some(Self { host, port: parse_port(port)? })
    }
}

/// Splits as Go's `net.SplitHostPort`: the port is a must, IPv6 addresses stand in brackets.
pub(crate) fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            rest.split_once(']').and_then(|(host, port)| Some((host, port.strip_prefix(':')?)))?
        }
        None => text.rsplit_once(':').filter(|(host, _)| !host.contains(':'))?,
    };
    (!host.contains(['[', ']']) && !port.contains([':', '[', ']'])).then_some((host, port))
}

/// A port in digits.
pub(crate) fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn parse_host(text: &str) -> Option<Host> {
    if let Ok(ip) = text.parse() {
        return Some(Host::Ip(ip));
    }
    if let Some((address, interface)) = text.split_once('%') {
        let scoped = address.parse::<std::net::Ipv6Addr>().is_ok() && !interface.is_empty();
        return scoped.then(|| Host::Name(text.into()));
    }
    is_host_name(text).then(|| Host::Name(text.into()))
}

/// Whether `text` can be a machine's name: a domain name that is no mistyped address and has no odd characters.
pub(crate) fn is_host_name(text: &str) -> bool {
    let letters = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) || !byte.is_ascii());
    let number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    letters && !number && Domain::parse(text).is_ok()
}

/// A length of time in Go's syntax, signed, in nanoseconds: `300ms`, `-1.5h`, `2h45m`, `0`.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_end =
            after.find(|ch: char| ch == '.' || ch.is_ascii_digit()).unwrap_or(after.len());
        let nanos = unit(&after[..unit_end])?;
        rest = &after[unit_end..];
        let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()? };
        total = total
            .checked_add(whole.checked_mul(nanos)?)?
            .checked_add(fraction_of(fraction, nanos))?;
    }
    Some(sign * total)
}

/// [`parse_duration`] for what cannot be negative.
pub(crate) fn to_duration(nanos: i64) -> Option<Duration> {
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// Digits at the start of `text`, and the rest.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|ch: char| !ch.is_ascii_digit()).unwrap_or(text.len()))
}

fn unit(name: &str) -> Option<i64> {
    Some(match name {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `0.digits` of `nanos`, cut to whole nanoseconds.
fn fraction_of(digits: &str, nanos: i64) -> i64 {
    // An hour has 13 digits of nanoseconds; digits beyond those count for nothing.
    let used = &digits[..digits.len().min(13)];
    let value: i128 = used.bytes().fold(0, |value, digit| value * 10 + i128::from(digit - b'0'));
    let scale = 10_i128.pow(u32::try_from(used.len()).expect("at most 13"));
    i64::try_from(value * i128::from(nanos) / scale).expect("less than nanos")
}

/// Whether `text` is a length of time with a unit.
pub(crate) fn is_duration(text: &str) -> bool {
    parse_duration(text).is_some()
}
