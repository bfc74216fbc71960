//! What programs tell user space through the ring buffer.

use crate::{Address, Be16};

/// A packet was dropped; `reason` says why.
pub const DROP: u8 = 1;
/// Octets of a packet follow the event, [`Event::captured`] of them.
pub const CAPTURE: u8 = 2;

/// The packet goes from the connection's originator to its responder.
pub const FORWARD: u8 = 1;
/// The packet goes from the connection's responder to its originator.
pub const REPLY: u8 = 2;

shared! {
    /// One event. Fields that a packet does not have (ports of ICMP) are zero.
    pub struct Event: 72 {
        /// Nanoseconds since boot, without time asleep (`CLOCK_MONOTONIC`).
        pub time: u64,
        /// Id of the connection ([`crate::flow::Flow::id`]); 0 if it has none.
        pub connection: u64,
        /// Source address.
        pub source: Address,
        /// Destination address.
        pub destination: Address,
        /// Source port.
        pub source_port: Be16,
        /// Destination port.
        pub destination_port: Be16,
        /// Octets of the IP packet.
        pub length: u32,
        /// Index of the device at which it was seen.
        pub ifindex: u32,
        /// [`DROP`] or [`CAPTURE`].
        pub kind: u8,
        /// [`crate::counter::INGRESS`] or [`crate::counter::EGRESS`].
        pub direction: u8,
        /// Code of a [`crate::DropReason`]; 0 for none.
        pub reason: u8,
        /// Protocol by its number in the IP header.
        pub protocol: u8,
        /// Place of the hook in [`crate::counter::HOOKS`].
        pub hook: u8,
        /// [`FORWARD`], [`REPLY`], or 0 where no connection is known.
        pub way: u8,
        /// Flags of the TCP header.
        pub tcp_flags: u8,
        /// Zero.
        pub pad: u8,
        /// Octets of the packet that follow, from its Ethernet header on; at most [`CAPTURE_LENGTH`].
        pub captured: u16,
        /// Zero.
        pub pad2: [u8; 2],
    }
}

/// Most octets of a packet that follow an event.
pub const CAPTURE_LENGTH: usize = 192;
