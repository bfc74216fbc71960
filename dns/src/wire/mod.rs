//! DNS messages as bytes: what the short way reads and writes without building message objects.
//!
//! Only plain questions are understood here (one question, at most one OPT record); everything else
//! is told apart and left to hickory-proto on the long way. Never allocates, never panics on input.

pub mod mnemonics;
pub mod name;
pub mod query;
mod rdata_text;
pub mod record_text;
pub mod reply;
pub mod text;
pub mod ttl;

/// Record types that the server itself gives meaning to (IANA DNS parameters).
pub mod rtype {
    /// IPv4 address (RFC 1035).
    pub const A: u16 = 1;
    /// Name server (RFC 1035).
    pub const NS: u16 = 2;
    /// Alias (RFC 1035).
    pub const CNAME: u16 = 5;
    /// Start of authority (RFC 1035).
    pub const SOA: u16 = 6;
    /// Pointer (RFC 1035).
    pub const PTR: u16 = 12;
    /// Host information (RFC 1035).
    pub const HINFO: u16 = 13;
    /// Text (RFC 1035).
    pub const TXT: u16 = 16;
    /// IPv6 address (RFC 3596).
    pub const AAAA: u16 = 28;
    /// Service (RFC 2782).
    pub const SRV: u16 = 33;
    /// EDNS pseudo record (RFC 6891).
    pub const OPT: u16 = 41;
    /// Delegation signer (RFC 4034).
    pub const DS: u16 = 43;
    /// Incremental transfer (RFC 1995).
    pub const IXFR: u16 = 251;
    /// Whole-zone transfer (RFC 5936).
    pub const AXFR: u16 = 252;
    /// All types that there are (RFC 8482).
    pub const ANY: u16 = 255;
}

/// Response codes (IANA DNS RCODEs).
pub mod rcode {
    /// No error.
    pub const NOERROR: u16 = 0;
    /// The message could not be understood.
    pub const FORMERR: u16 = 1;
    /// The server failed.
    pub const SERVFAIL: u16 = 2;
    /// The name does not exist.
    pub const NXDOMAIN: u16 = 3;
    /// Opcode not supported.
    pub const NOTIMP: u16 = 4;
    /// Refused by policy.
    pub const REFUSED: u16 = 5;
    /// Unsupported EDNS version (RFC 6891).
    pub const BADVERS: u16 = 16;
}

/// Class IN.
pub const CLASS_IN: u16 = 1;
/// Octets of a message header.
pub const HEADER: usize = 12;
/// The least a UDP client must accept (RFC 1035 §2.3.4).
pub const MIN_UDP: usize = 512;

/// Most octets of a message over TCP (RFC 1035 §4.2.2).
pub const MAX_MESSAGE: usize = u16::MAX as usize;

/// Reads a big-endian 16-bit integer.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}
