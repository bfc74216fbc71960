//! Headers as they lie in packets, and what their fields mean.

use daymark_abi::{Address, flow::protocol};

/// RFC 791 §3.1.
#[repr(C)]
pub struct Ipv4Header {
    pub version_and_length: u8,
    pub service: u8,
    pub total_length: u16,
    pub identification: u16,
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: u16,
    pub source: u32,
    pub destination: u32,
}

/// RFC 8200 §3.
#[repr(C)]
pub struct Ipv6Header {
    pub version_class_label: u32,
    pub payload_length: u16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub source: Address,
    pub destination: Address,
}

/// RFC 9293 §3.1, up to the flags.
#[repr(C)]
pub struct TcpHead {
    pub source: u16,
    pub destination: u16,
    pub sequence: [u16; 2],
    pub acknowledgment: [u16; 2],
    pub offset: u8,
    pub flags: u8,
}

/// RFC 792 and RFC 4443: what all messages begin with, then identifier and sequence of an echo.
#[repr(C)]
pub struct IcmpHead {
    pub kind: u8,
    pub code: u8,
    pub checksum: u16,
    pub identifier: u16,
    pub sequence: u16,
}

/// Flags of the TCP header.
pub mod tcp {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

/// Whether an ICMP message asks for an echo.
#[inline(always)]
pub fn is_echo_request(protocol: u8, kind: u8) -> bool {
    if protocol == protocol::ICMP { kind == 8 } else { kind == 128 }
}

/// Whether an ICMP message is an echo.
#[inline(always)]
pub fn is_echo_reply(protocol: u8, kind: u8) -> bool {
    if protocol == protocol::ICMP { kind == 0 } else { kind == 129 }
}

/// Unreachable, quench, redirect, time exceeded, parameter problem (RFC 792); of ICMPv6 all below
/// 128 that are defined (RFC 4443 §2.1).
#[inline(always)]
pub fn is_error(protocol: u8, kind: u8) -> bool {
    if protocol == protocol::ICMP {
        matches!(kind, 3 | 4 | 5 | 11 | 12)
    } else {
        matches!(kind, 1..=4)
    }
}
