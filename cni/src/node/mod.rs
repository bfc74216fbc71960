//! The node's own part of the pod network: the gateway that its pods send to, and the routes to the
//! pods of other nodes, as they are or through a VXLAN tunnel. Made to hold from a plan; what differs
//! is changed, and nothing else is touched.

pub mod conflist;
pub mod executable;
mod remains;
mod routes;
mod switches;
#[cfg(test)]
mod tests;
mod uplink;

use std::{io, net::IpAddr, path::PathBuf};

use daymark_loader::kernel::FILTER_PRIORITY;
use ipnetwork::IpNetwork;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressProtocol},
};
use rustix::io::Errno;

pub use self::{remains::cleanup, switches::Switches, uplink::Uplink};
use crate::{
    ipam::{Pools, RangeError},
    netlink::{
        Connection, NetlinkError, Step,
        message::{self, Route},
    },
};

/// Name of the tunnel's device.
pub const VXLAN_DEVICE: &str = "daymark_vxlan";
/// Port of the tunnel if nobody says otherwise: what the kernel and other networks of pods use.
pub const VXLAN_PORT: u16 = 8472;
/// VXLAN network identifier if nobody says otherwise.
pub const VNI: u32 = 1;
/// What the kernel notes beside addresses that are ours (`IFA_PROTO`); the number of our routes.
const ADDRESS_PROTOCOL: AddressProtocol = AddressProtocol::Other(68);
/// Index of `lo`, in every network namespace.
const LOOPBACK: u32 = 1;

/// How packets get from node to node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// As they are, through routes by way of the other node, which has to be on the same network.
    Native,
    /// In VXLAN (RFC 7348).
    Vxlan,
    /// As they are to nodes on the same network, in VXLAN to others.
    #[default]
    Auto,
}

/// What is to hold on a node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodePlan {
    /// The node's addresses (`InternalIP`), at most one of each family.
    pub node_addresses: Vec<IpAddr>,
    /// Its pod ranges, at most one of each family.
    pub pod_ranges: Vec<IpNetwork>,
    /// The other nodes.
    pub peers: Vec<PeerNode>,
    /// How their pods are reached.
    pub mode: Mode,
    /// UDP port of the tunnel.
    pub vxlan_port: u16,
    /// Where forwarding is switched on.
    pub switches: Switches,
}

/// Another node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerNode {
    /// Its name, for messages.
    pub name: String,
    /// Its addresses (`InternalIP`).
    pub addresses: Vec<IpAddr>,
    /// Its pod ranges.
    pub pod_ranges: Vec<IpNetwork>,
}

/// What holds now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The device that has the node's addresses.
    pub uplink: Uplink,
    /// Index of the tunnel's device, if there is one.
    pub vxlan_ifindex: Option<u32>,
    /// MTU for pods' links, in octets.
    pub pod_mtu: u32,
    /// For the datapath's table of other nodes' ranges.
    pub peers: Vec<daymark_loader::Peer>,
    /// Ranges that can't be reached from here, with the reason.
    pub unreachable: Vec<(IpNetwork, String)>,
}

/// A plan can't be made to hold.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No device has the node's address.
    #[error("no device has the node's address {0}: it is the InternalIP of the Node object")]
    NoUplink(IpAddr),
    /// The plan has no address.
    #[error("the node has no InternalIP")]
    NoAddress,
    /// A pod range is of no use.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A switch of the kernel can't be set.
    #[error("{}: {cause}", path.display())]
    Switch {
        /// Its file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The kernel refuses.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// Octets that a tunnel adds, by the family of its ends: an Ethernet header (14), VXLAN's (8), UDP's
/// (8) and IP's (20 or 40).
fn overhead(ipv4: bool) -> u32 {
    if ipv4 { 50 } else { 70 }
}

/// Makes a plan hold in the network namespace of the calling thread. May be called again with
/// another plan, or the same; packets flow on meanwhile.
///
/// # Errors
/// [`NodeError`].
pub fn apply(plan: &NodePlan) -> Result<Applied, NodeError> {
    let kernel = Connection::open()?;
    let pools = Pools::new(&plan.pod_ranges)?;
    let uplink = uplink::find(&kernel, &plan.node_addresses)?;
    plan.switches.forward(&plan.pod_ranges, &uplink.name)?;
    let gateways: Vec<IpAddr> =
        [true, false].into_iter().filter_map(|ipv4| pools.gateway(ipv4)).collect();
    have_gateways(&kernel, &gateways)?;
    let ways = routes::choose(plan, &uplink);
    // The same for all pods, and before the first node that needs a tunnel comes.
    let pod_mtu = match plan.mode {
        Mode::Native => uplink.mtu,
        Mode::Vxlan | Mode::Auto => {
            let ipv4 = plan.node_addresses.iter().any(IpAddr::is_ipv4);
            uplink.mtu.saturating_sub(overhead(ipv4 && !ways.have_ipv6_tunnel()))
        }
    };
    let vxlan_ifindex = match ways.needs_tunnel(plan.mode) {
        true => {
            // Pods send to other nodes as they are, and are answered through the tunnel.
            plan.switches.accept_strangers(&uplink.name)?;
            Some(have_tunnel(&kernel, plan, pod_mtu, pools.gateway(true))?)
        }
        false => {
            kernel.delete_link(VXLAN_DEVICE)?;
            None
        }
    };
    let mut wanted = ways.routes(&uplink, vxlan_ifindex, &gateways);
    // What no pod has of the node's own ranges must not leave by the default route, to come back.
    wanted.extend(plan.pod_ranges.iter().map(|&range| Route::unreachable(range)));
    routes::make(&kernel, &wanted)?;
    let (peers, unreachable) = ways.told();
    Ok(Applied { uplink, vxlan_ifindex, pod_mtu, peers, unreachable })
}

/// Filters and XDP programs of others at a device, in words. They are left alone.
///
/// # Errors
/// If the kernel does not tell.
pub fn foreign_programs(device: &Uplink) -> Result<Vec<String>, NodeError> {
    Ok(Connection::open()?.programs_at(device.index, FILTER_PRIORITY)?)
}

/// Gives `lo` the gateways' addresses, marked as ours; takes away those of another plan.
fn have_gateways(kernel: &Connection, wanted: &[IpAddr]) -> Result<(), NetlinkError> {
    let there = remains::own_addresses(kernel)?;
    let gone = there.iter().filter(|address| !wanted.contains(address)).map(|&address| {
        let delete = RouteNetlinkMessage::DelAddress(message::address(LOOPBACK, address));
        Step::plain(format!("taking {address} from lo"), delete)
    });
    let new = wanted.iter().filter(|address| !there.contains(address)).map(|&address| {
        let mut message = message::address(LOOPBACK, address);
        message.attributes.push(AddressAttribute::Protocol(ADDRESS_PROTOCOL));
        let new = RouteNetlinkMessage::NewAddress(message);
        // Somebody may have put it there by hand.
        Step::create(format!("giving {address} to lo"), new).tolerate(&[Errno::EXIST])
    });
    kernel.run(gone.chain(new).collect()).map(drop)
}

/// The tunnel's device, up, with its index. One that was made for another port is made anew.
fn have_tunnel(
    kernel: &Connection,
    plan: &NodePlan,
    mtu: u32,
    gateway: Option<IpAddr>,
) -> Result<u32, NodeError> {
    let port = plan.vxlan_port;
    let new = message::new_vxlan(VXLAN_DEVICE, port, mtu);
    let rest = || {
        vec![
            Step::plain("the tunnel's MTU", message::set_mtu(VXLAN_DEVICE, mtu)),
            Step::plain("keeping the tunnel quiet", message::without_link_local(VXLAN_DEVICE))
                .tolerate(&[Errno::AFNOSUPPORT]),
            Step::plain("setting the tunnel up", message::set_up(VXLAN_DEVICE)),
            Step::plain("looking for the tunnel", message::get_link(VXLAN_DEVICE)),
        ]
    };
    let there = kernel.tunnel_port(VXLAN_DEVICE)?;
    if there.is_some_and(|there| there != port) {
        kernel.delete_link(VXLAN_DEVICE)?;
    }
    let mut steps = rest();
    if there != Some(port) {
        steps.insert(0, Step::create(format!("making {VXLAN_DEVICE}"), new));
    }
    let links = kernel.run_for_links(steps)?;
    plan.switches.loose(VXLAN_DEVICE)?;
    let index = links.first().map(|link| link.index).unwrap_or_default();
    if let Some(gateway) = gateway {
        // Whatever `rp_filter` says, a link without any address takes only what would be answered
        // through it (`__fib_validate_source` in net/ipv4/fib_frontend.c).
        let mut message = message::address(index, gateway);
        message.attributes.push(AddressAttribute::Protocol(ADDRESS_PROTOCOL));
        let new = RouteNetlinkMessage::NewAddress(message);
        let step = Step::create(format!("giving {gateway} to {VXLAN_DEVICE}"), new);
        kernel.run(vec![step.tolerate(&[Errno::EXIST])])?;
    }
    Ok(index)
}
