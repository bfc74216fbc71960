//! Addresses of server blocks, `[scheme://]zone[:port]`, and the zones that a network stands for.

use std::net::IpAddr;

use super::cause::AddressReason;
use super::domain::Domain;
use super::source::Span;

/// Most zones that all server blocks together, or the arguments of one directive, may name.
pub const MAX_ZONES: usize = 65_536;

/// What a server block serves and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// How clients talk to us.
    pub scheme: Scheme,
    /// At least one; several when a network does not end on a label's boundary, at most 128.
    pub zones: Vec<Domain>,
    /// The port that was written; it wins over the default port of the command line.
    pub port: Option<u16>,
    /// Where it stands.
    pub span: Span,
}

/// How clients talk to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain DNS over UDP and TCP.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// DNS over gRPC, CoreDNS's own.
    Grpc,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over HTTPS on HTTP/3.
    Https3,
}

impl Scheme {
    const ALL: [Self; 6] =
        [Self::Dns, Self::Tls, Self::Quic, Self::Grpc, Self::Https, Self::Https3];

    /// As it is written before `://`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Grpc => "grpc",
            Self::Https => "https",
            Self::Https3 => "https3",
        }
    }

    /// The port without one in the address, where `plain` is that of [`Scheme::Dns`].
    pub const fn port(self, plain: u16) -> u16 {
        match self {
            Self::Dns => plain,
            Self::Tls | Self::Quic => 853,
            Self::Grpc | Self::Https | Self::Https3 => 443,
        }
    }

    /// Cuts the scheme off `text`; without one it is [`Scheme::Dns`].
    ///
    /// # Errors
    /// The scheme's name, if there is no such scheme.
    pub fn split(text: &str) -> Result<(Self, &str), &str> {
        let Some((name, rest)) = text.split_once("://") else { return Ok((Self::Dns, text)) };
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.name() == name)
            .map(|scheme| (scheme, rest))
            .ok_or(name)
    }
}

impl Address {
    /// Reads an address of a server block.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str, span: Span) -> Result<Self, AddressReason> {
        if text.contains(['{', '}']) {
            return Err(AddressReason::Brace);
        }
        let (scheme, rest) =
            Scheme::split(text).map_err(|name| AddressReason::Scheme(name.to_owned()))?;
        let (zone, port) = split_port(rest)?;
        Ok(Self { scheme, zones: zones(zone)?, port, span })
    }
}

/// Cuts the port off: what follows the last colon, if it is a number. `2001:db8::/32` has none.
fn split_port(text: &str) -> Result<(&str, Option<u16>), AddressReason> {
    let Some((zone, port)) = text.rsplit_once(':') else { return Ok((text, None)) };
    if port.is_empty() {
        return Err(AddressReason::PortMissing);
    }
    if port.contains('/') {
        return Ok((text, None));
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AddressReason::Port);
    }
    port.parse().map(|port| (zone, Some(port))).map_err(|_| AddressReason::Port)
}

/// The zones that `text` stands for: itself if it is a name, else the reverse zones of a network.
fn zones(text: &str) -> Result<Vec<Domain>, AddressReason> {
    let network = text.rsplit_once('/').filter(|(address, mask)| {
        let v4 = address.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && address.contains('.');
        (v4 || address.contains(':')) && mask.bytes().all(|byte| byte.is_ascii_digit())
    });
    let Some((address, mask)) = network else {
        if text.contains(':') {
            return Err(AddressReason::Port);
        }
        return Ok(vec![Domain::parse(text)?]);
    };
    let v6_start = address.contains(':') && address.starts_with([':', '0']);
    if v6_start {
        return Err(AddressReason::NetworkStart);
    }
    let address: IpAddr = address.parse().map_err(|_| AddressReason::Network)?;
    let mask: u8 = mask.parse().map_err(|_| AddressReason::Network)?;
    reverse_zones(address, mask).ok_or(AddressReason::Network)
}

/// The reverse zones that together are `address`/`mask`, each at a label's boundary: 8 bits for IPv4, 4 for
/// IPv6. At most 128. `None` if the mask is longer than the address.
pub fn reverse_zones(address: IpAddr, mask: u8) -> Option<Vec<Domain>> {
    let (bits, width, step) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32, 8),
        IpAddr::V6(v6) => (v6.to_bits(), 128, 4),
    };
    if mask > width {
        return None;
    }
    let long = mask.div_ceil(step) * step;
    let network = if mask == 0 { 0 } else { bits & (u128::MAX << (128 - mask)) };
    let zone = |index: u128| {
        let bits = if long == 0 { 0 } else { network | (index << (128 - long)) };
        let labels = (0..long / step).rev().map(|label| {
            let value = (bits >> (128 - (label + 1) * step)) & ((1 << step) - 1);
            if step == 8 { format!("{value}.") } else { format!("{value:x}.") }
        });
        let suffix = if step == 8 { "in-addr.arpa." } else { "ip6.arpa." };
        Domain::parse(&(labels.collect::<String>() + suffix)).expect("at most 34 short labels")
    };
    Some((0..1 << (long - mask)).map(zone).collect())
}
