//! What all programs of a node need to know.

use crate::{Address, Be16};

/// What pods send out of the cluster leaves from the node's address.
pub const MASQUERADE: u32 = 1;
/// The uplink has the fq queueing discipline, which holds packets to the times that they are given.
pub const PACE: u32 = 2;

/// Packets to this range keep their source address (value of `RANGES`).
pub const KEEPS_SOURCE: u32 = 1;

shared! {
    /// The one value of `SETTINGS`.
    pub struct Settings: 64 {
        /// Cookie of the node's network namespace (`SO_NETNS_COOKIE`).
        pub netns: u64,
        /// Index of the device that holds the node's addresses.
        pub uplink: u32,
        /// Index of the VXLAN device; 0 without tunnels.
        pub vxlan: u32,
        /// VXLAN network identifier.
        pub vni: u32,
        /// [`MASQUERADE`] and [`PACE`].
        pub flags: u32,
        /// Moment (as in [`crate::flow::Flow::expires`]) up to which a connection that is not seen from
        /// its beginning may have begun before these tables: until then such ones go through the stack.
        pub known_from: u32,
        /// The node's IPv4 address, or none.
        pub node_ipv4: Address,
        /// The node's IPv6 address, or none.
        pub node_ipv6: Address,
        /// UDP port on which nodes take each other's tunnels; 0 without tunnels.
        pub tunnel_port: Be16,
        /// Zero.
        pub pad: [u8; 2],
    }
}
