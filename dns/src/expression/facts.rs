//! What expressions can ask about a query.

use std::net::IpAddr;

use super::value::{Type, Value};
use crate::{
    plugin::Query,
    wire::{mnemonics, text},
};

/// A function without arguments about the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    /// `name()`: lower case, with the last dot.
    Name,
    /// `type()`: by its name.
    Type,
    /// `class()`: by its name.
    Class,
    /// `proto()`: `udp` or `tcp`.
    Proto,
    /// `size()`: octets of the query.
    Size,
    /// `client_ip()`.
    ClientIp,
    /// `port()`: the client's, as text.
    Port,
    /// `id()`.
    Id,
    /// `opcode()`: its number.
    Opcode,
    /// `do()`: whether DNSSEC records are wanted.
    DnssecOk,
    /// `bufsize()`: octets that the client takes.
    BufferSize,
    /// `server_ip()`.
    ServerIp,
    /// `server_port()`, as text.
    ServerPort,
}

impl Fact {
    /// All of them by name.
    pub(super) const ALL: [(&'static str, Fact); 13] = [
        ("name", Fact::Name),
        ("type", Fact::Type),
        ("class", Fact::Class),
        ("proto", Fact::Proto),
        ("size", Fact::Size),
        ("client_ip", Fact::ClientIp),
        ("port", Fact::Port),
        ("id", Fact::Id),
        ("opcode", Fact::Opcode),
        ("do", Fact::DnssecOk),
        ("bufsize", Fact::BufferSize),
        ("server_ip", Fact::ServerIp),
        ("server_port", Fact::ServerPort),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Fact::ALL.iter().find(|(known, _)| *known == name).map(|(_, fact)| *fact)
    }

    pub(super) fn kind(self) -> Type {
        match self {
            Fact::Size | Fact::Id | Fact::Opcode | Fact::BufferSize => Type::Int,
            Fact::DnssecOk => Type::Bool,
            _ => Type::Text,
        }
    }

    pub(super) fn of(self, query: &Query) -> Value {
        let origin = &query.origin;
        let question = &query.message.queries[0];
        let address = |address: IpAddr| Value::text(address.to_canonical().to_string());
        match self {
            Fact::Name => Value::text(text::folded(&question.name)),
            Fact::Type => Value::text(mnemonics::rtype_text(question.query_type.into())),
            Fact::Class => Value::text(mnemonics::class_text(question.query_class.into())),
            Fact::Proto => Value::text(origin.transport.label()),
            Fact::Size => Value::Int(query.size as i64),
            Fact::ClientIp => address(origin.client.ip()),
            Fact::Port => Value::text(origin.client.port().to_string()),
            Fact::Id => Value::Int(query.message.metadata.id.into()),
            Fact::Opcode => Value::Int(u8::from(query.message.metadata.op_code).into()),
            Fact::DnssecOk => Value::Bool(query.dnssec_ok()),
            Fact::BufferSize => Value::Int(query.size_limit() as i64),
            Fact::ServerIp => address(origin.local.ip()),
            Fact::ServerPort => Value::text(origin.local.port().to_string()),
        }
    }
}

/// A network of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `address/bits`; bits of the address behind the network's count for nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let plain = !bits.is_empty() && bits.bytes().all(|digit| digit.is_ascii_digit());
        let bits = plain.then(|| bits.parse().ok()).flatten().filter(|bits| *bits <= most)?;
        Some(Network { address, bits })
    }

    /// Whether the address is one of the network's.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                (own.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                (own.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}
