//! Ports of the node that lead to pods.

use crate::{Address, Be16};

shared! {
    /// Key of `HOST_PORTS`.
    pub struct HostPortKey: 20 {
        /// Address of the node; `0.0.0.0` (mapped) or `::` for all of that family.
        pub address: Address,
        /// Port of the node.
        pub port: Be16,
        /// Number in the IP header.
        pub protocol: u8,
        /// Zero.
        pub pad: u8,
    }
}

shared! {
    /// Value of `HOST_PORTS`, and of `SOCKETS` what the program had asked for.
    pub struct Target: 20 {
        /// The pod's address.
        pub address: Address,
        /// Port in the pod.
        pub port: Be16,
        /// Zero.
        pub pad: [u8; 2],
    }
}

shared! {
    /// Key of `SOCKETS`: a socket of this node and the pod that it was led to.
    pub struct SocketKey: 32 {
        /// The socket's cookie.
        pub cookie: u64,
        /// The pod's address.
        pub address: Address,
        /// Port in the pod.
        pub port: Be16,
        /// Zero.
        pub pad: [u8; 6],
    }
}
