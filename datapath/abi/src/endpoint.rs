//! Pods of this node, by device and by address, and other nodes' pod ranges.

use crate::Address;

/// The pod's traffic is shaped by queues on its host device, so it may not go past them.
pub const SHAPED: u32 = 1;

/// Nanoseconds by which a packet may be ahead of its time; one that is further ahead is dropped.
pub const HORIZON: u64 = 2_000_000_000;

shared! {
    /// Value of `DEVICES`, whose key is the index of the host's end of the veth.
    pub struct Device: 72 {
        /// The pod's IPv4 address, or none.
        pub ipv4: Address,
        /// The pod's IPv6 address, or none.
        pub ipv6: Address,
        /// MAC of the pod's end.
        pub pod_mac: [u8; 6],
        /// MAC of the host's end.
        pub host_mac: [u8; 6],
        /// [`SHAPED`].
        pub flags: u32,
        /// Bits per second into the pod; 0 is unlimited.
        pub ingress_rate: u64,
        /// Bits per second out of the pod; 0 is unlimited.
        pub egress_rate: u64,
        /// When the pod's next packet may depart: nanoseconds since boot (`CLOCK_MONOTONIC`). Programs
        /// write it.
        pub departs: u64,
    }
}

shared! {
    /// Value of `ENDPOINTS`, whose key is the pod's address.
    pub struct Endpoint: 20 {
        /// Index of the host's end of the veth.
        pub ifindex: u32,
        /// MAC of the pod's end.
        pub pod_mac: [u8; 6],
        /// MAC of the host's end.
        pub host_mac: [u8; 6],
        /// [`SHAPED`].
        pub flags: u32,
    }
}

shared! {
    /// Value of `PEERS`, whose key is a pod range of another node.
    pub struct Peer: 16 {
        /// Where its tunnel ends; none where the host's routes lead there.
        pub tunnel: Address,
    }
}
