//! What dnstap.proto describes: a DNS message that was seen, with what is known about it.

/// One payload (`Dnstap`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    /// Who saw it.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub identity: Option<Vec<u8>>,
    /// With which software.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub version: Option<Vec<u8>>,
    /// Anything else.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub extra: Option<Vec<u8>>,
    /// The message.
    #[prost(message, optional, tag = "14")]
    pub message: Option<Seen>,
    /// What the payload is.
    #[prost(enumeration = "Content", required, tag = "15")]
    pub content: i32,
}

/// What a payload is (`Dnstap.Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Content {
    /// A message; there is nothing else yet.
    Message = 1,
}

/// A message that was seen (`Message`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Seen {
    /// Between whom.
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub kind: i32,
    /// Of the addresses.
    #[prost(enumeration = "Family", optional, tag = "2")]
    pub family: Option<i32>,
    /// What carried it.
    #[prost(enumeration = "Protocol", optional, tag = "3")]
    pub protocol: Option<i32>,
    /// Who asked: 4 or 16 octets.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub query_address: Option<Vec<u8>>,
    /// Who was asked: 4 or 16 octets.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub response_address: Option<Vec<u8>>,
    /// The port of who asked.
    #[prost(uint32, optional, tag = "6")]
    pub query_port: Option<u32>,
    /// The port of who was asked.
    #[prost(uint32, optional, tag = "7")]
    pub response_port: Option<u32>,
    /// When the query was sent or came: seconds since 1970.
    #[prost(uint64, optional, tag = "8")]
    pub query_time_sec: Option<u64>,
    /// And nanoseconds.
    #[prost(fixed32, optional, tag = "9")]
    pub query_time_nsec: Option<u32>,
    /// The query in wire form.
    #[prost(bytes = "vec", optional, tag = "10")]
    pub query_message: Option<Vec<u8>>,
    /// When the reply came or was sent: seconds since 1970.
    #[prost(uint64, optional, tag = "12")]
    pub response_time_sec: Option<u64>,
    /// And nanoseconds.
    #[prost(fixed32, optional, tag = "13")]
    pub response_time_nsec: Option<u32>,
    /// The reply in wire form.
    #[prost(bytes = "vec", optional, tag = "14")]
    pub response_message: Option<Vec<u8>>,
}

/// Between whom a message went (`Message.Type`); those that a server like this one sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// From a client to us.
    ClientQuery = 5,
    /// From us to a client.
    ClientResponse = 6,
    /// From us to an upstream.
    ForwarderQuery = 7,
    /// From an upstream to us.
    ForwarderResponse = 8,
}

/// Of addresses (`SocketFamily`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Family {
    /// IPv4.
    Inet = 1,
    /// IPv6.
    Inet6 = 2,
}

/// What carries a message (`SocketProtocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Protocol {
    /// Plain UDP.
    Udp = 1,
    /// Plain TCP.
    Tcp = 2,
    /// DNS over TLS.
    Dot = 3,
    /// DNS over HTTPS.
    Doh = 4,
    /// DNS over QUIC.
    Doq = 7,
}
