//! User space's side of the datapath: what the kernel is told, and what it tells.
//!
//! Whoever changes what the programs do goes through [`Datapath`]; its twin in memory is
//! [`memory::Memory`], the real one [`Kernel`]. Start with [`Endpoint`], the noun that most calls are about.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

mod address;
mod host_port;
pub mod kernel;
pub mod memory;

pub use kernel::{Kernel, Root};

/// A pod on this node, as the programs know it. Its identity is [`Endpoint::host_ifindex`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Index of the host's end of the pod's veth, in the host's network namespace.
    pub host_ifindex: u32,
    /// MAC of the pod's end.
    pub pod_mac: [u8; 6],
    /// MAC of the host's end, which is the pod's gateway.
    pub host_mac: [u8; 6],
    /// The pod's addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Rate limits of the pod.
    pub bandwidth: Bandwidth,
    /// How the programs are put at the device, if they are not there yet.
    pub attachment: Attachment,
}

/// How programs are put at a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Attachment {
    /// As TCX links where the kernel has them (Linux 6.6), else as filters. Whoever needs the device's
    /// ingress qdisc can have it, but the kernel waits with each link for all its processors
    /// (`tcx_entry_sync`), 10 ms and more, in which no other link can be changed.
    #[default]
    Best,
    /// As filters of the clsact queueing discipline. They are there at once, but nobody else can have
    /// an ingress qdisc at the device.
    Filters,
}

/// Bits per second; `None` is unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bandwidth {
    /// Into the pod.
    pub ingress: Option<u64>,
    /// Out of the pod.
    pub egress: Option<u64>,
}

/// Transport protocol of a host port, by its number in the IP header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Transport {
    /// TCP.
    Tcp = 6,
    /// UDP.
    Udp = 17,
    /// SCTP.
    Sctp = 132,
}

/// A port of the node that leads to a pod (`containers[].ports[].hostPort`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostPort {
    /// Protocol.
    pub transport: Transport,
    /// Family and address on which it is open; unspecified (`0.0.0.0`, `::`) for all of the node's
    /// addresses of that family.
    pub host_address: IpAddr,
    /// Port of the node.
    pub host_port: u16,
    /// The pod's address, of the same family.
    pub pod_address: IpAddr,
    /// Port in the pod.
    pub pod_port: u16,
}

/// How pods of another node are reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// One of the node's pod ranges.
    pub pods: IpNetwork,
    /// Where the node's tunnel ends; `None` where the host's routes lead there.
    pub tunnel: Option<IpAddr>,
}

/// What all programs of a node need to know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeSettings {
    /// Index of the device that holds the node's addresses.
    pub uplink_ifindex: u32,
    /// Index of the VXLAN device; `None` without tunnels.
    pub vxlan_ifindex: Option<u32>,
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port that the VXLAN device listens on; for nothing without it.
    pub vxlan_port: u16,
    /// The node's addresses, at most one of each family (`InternalIP`).
    pub node_addresses: Vec<IpAddr>,
    /// This node's pod ranges.
    pub pod_ranges: Vec<IpNetwork>,
    /// Whether what pods send out of the cluster leaves from the node's address.
    pub masquerade: bool,
    /// Where packets go as they are: the cluster's own ranges, link-local, what the operator lists.
    pub no_masquerade: Vec<IpNetwork>,
}

/// Packets and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Octets of their IP packets.
    pub bytes: u64,
}

/// What was asked of the datapath can't be done.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// A table has no place left.
    #[error("the table {table} is full: it holds {limit} entries")]
    Full {
        /// Name of the map.
        table: &'static str,
        /// Its size.
        limit: u32,
    },
    /// Somebody else has it.
    #[error("{what} is taken by {holder}")]
    Taken {
        /// What was asked for, such as `host port 8080/TCP`.
        what: String,
        /// Who has it.
        holder: String,
    },
    /// The kernel refused.
    #[error("{what}: {cause}")]
    Kernel {
        /// What was tried.
        what: String,
        /// What the kernel said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The programs and tables of a node. Calls may come from several threads; each is done when it
/// returns, and what it wrote outlives this process where the kernel is behind it.
pub trait Datapath: Send + Sync {
    /// Makes the settings hold for all programs.
    ///
    /// # Errors
    /// [`DatapathError`].
    fn configure(&self, settings: &NodeSettings) -> Result<(), DatapathError>;

    /// Attaches the programs to the host's end of a pod's veth and enters its addresses. For one that
    /// is known it replaces what is there, without a packet lost.
    ///
    /// # Errors
    /// [`DatapathError`]; then nothing of it is left.
    fn add_endpoint(&self, endpoint: &Endpoint) -> Result<(), DatapathError>;

    /// Takes back all of [`Datapath::add_endpoint`]; it is no error if that was done before, or if the
    /// device is gone.
    ///
    /// # Errors
    /// [`DatapathError`].
    fn remove_endpoint(&self, host_ifindex: u32) -> Result<(), DatapathError>;

    /// All endpoints in the tables, those of an earlier process among them, in any order.
    ///
    /// # Errors
    /// [`DatapathError`].
    fn endpoints(&self) -> Result<Vec<Endpoint>, DatapathError>;

    /// Opens ports of the node, all or none. What a former holder's UDP flows left is flushed. Ports
    /// that lead to the same place already are no error.
    ///
    /// # Errors
    /// [`DatapathError::Taken`] if one leads elsewhere, or another.
    fn open_host_ports(&self, ports: &[HostPort]) -> Result<(), DatapathError>;

    /// Closes every host port that leads to this address of a pod.
    ///
    /// # Errors
    /// [`DatapathError`].
    fn close_host_ports(&self, pod_address: IpAddr) -> Result<(), DatapathError>;

    /// All host ports that are open, in any order.
    ///
    /// # Errors
    /// [`DatapathError`].
    fn host_ports(&self) -> Result<Vec<HostPort>, DatapathError>;

    /// Makes the table of other nodes' pod ranges hold exactly these; only what differs is written.
    ///
    /// # Errors
    /// [`DatapathError`].
    fn set_peers(&self, peers: &[Peer]) -> Result<(), DatapathError>;
}
