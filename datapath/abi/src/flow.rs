//! Connections: their key, what is known of them, how long they live.
//!
//! There are two tables of the same shape. A connection starts in `YOUNG`, whose least recently used
//! entries make room for new ones. With the first packet of its originator that follows a reply it
//! moves to `ESTABLISHED`, from which nothing is ever evicted: a flood of new connections can cost
//! other new ones their place, never an established one.

use crate::{Address, Be16};

shared! {
    /// Key of both tables, the same for both directions: the ends stand in a fixed order.
    pub struct FlowKey: 40 {
        /// One end's address.
        pub first: Address,
        /// The other end's address.
        pub second: Address,
        /// One end's port; for ICMP echo its identifier if this end asks, 0 if it answers.
        pub first_port: Be16,
        /// The other end's port, alike.
        pub second_port: Be16,
        /// Number in the IP header.
        pub protocol: u8,
        /// Zero.
        pub pad: [u8; 3],
    }
}

shared! {
    /// Value of both tables.
    pub struct Flow: 32 {
        /// Different for every connection.
        pub id: u64,
        /// Moment from which on it is as good as gone: nanoseconds since boot (`CLOCK_MONOTONIC`)
        /// without their last 30 bits.
        pub expires: u32,
        /// One of the states below.
        pub state: u8,
        /// Flags below.
        pub flags: u8,
        /// Port of [`Flow::nat_address`].
        pub nat_port: Be16,
        /// What one end is translated to, by the flags; none without.
        pub nat_address: Address,
    }
}

/// The originator is the key's second end.
pub const FROM_SECOND: u8 = 1;
/// A reply was seen.
pub const REPLIED: u8 = 2;
/// It came to its pod through the host's stack, so its replies go there too.
pub const THROUGH_STACK: u8 = 4;
/// Its source is translated when it leaves the node: to `nat_address`, a node's address.
pub const MASQUERADED: u8 = 8;
/// The same connection as the wire sees it: `nat_address` is the pod.
pub const WIRE_SIDE: u8 = 16;
/// It was sent to a port of the node: `nat_address`, which its replies must come from.
pub const TO_HOST_PORT: u8 = 32;
/// A pod reached itself through a port of the node: both ends are translated.
pub const HAIRPIN: u8 = 64;
/// It leaves the node as it is: decided at its first packet, and kept.
pub const KEEPS_SOURCE: u8 = 128;

/// Nothing but the first packets.
pub const NEW: u8 = 0;
/// Both ends were heard (TCP: past the handshake).
pub const OPEN: u8 = 1;
/// TCP: the originator has closed its side.
pub const ORIGINATOR_CLOSED: u8 = 2;
/// TCP: the responder has closed its side.
pub const RESPONDER_CLOSED: u8 = 3;
/// TCP: both sides are closed, or it was reset.
pub const CLOSED: u8 = 4;

/// Protocol numbers that programs know.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// Moments of 2^30 ns (a little more than seconds) for which a connection of this protocol and state
/// lives after its last packet. Those of Linux's own conntrack, except that idle TCP connections live
/// six hours instead of five days.
#[inline(always)]
pub const fn lifetime(protocol: u8, state: u8) -> u32 {
    match (protocol, state) {
        (protocol::TCP, NEW) => 60,
        (protocol::TCP, OPEN) => 21_600,
        (protocol::TCP, CLOSED) => 10,
        (protocol::TCP, _) => 120,
        (protocol::SCTP, OPEN) => 210,
        (protocol::UDP, OPEN) => 120,
        _ => 30,
    }
}

/// First port that a masqueraded connection may get. The range lies below the one of the host's own
/// connections (`net.ipv4.ip_local_port_range`) and of NodePorts.
pub const FIRST_PORT: u16 = 1024;
/// Ports in that range.
pub const PORTS: u16 = 28_672;
/// Ports that are tried before a connection is refused.
pub const PORT_TRIES: u16 = 24;

shared! {
    /// Key of `FRAGMENTS`: one packet that came in pieces.
    pub struct FragmentKey: 40 {
        /// Source address.
        pub source: Address,
        /// Destination address.
        pub destination: Address,
        /// Identification, as it lies in the packet.
        pub identification: u32,
        /// Number in the IP header.
        pub protocol: u8,
        /// Place of the hook: what one hook translates the next one sees otherwise.
        pub hook: u8,
        /// Zero.
        pub pad: [u8; 2],
    }
}

shared! {
    /// Value of `FRAGMENTS`: what only the first piece tells.
    pub struct FragmentPorts: 4 {
        /// Source port.
        pub source: Be16,
        /// Destination port.
        pub destination: Be16,
    }
}
