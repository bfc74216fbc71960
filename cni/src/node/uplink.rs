//! The device that has the node's addresses: where packets for other nodes leave.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
};

use super::NodeError;
use crate::netlink::{Connection, NetlinkError};

/// See [the module](self).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Uplink {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MTU in octets.
    pub mtu: u32,
    /// Networks that its addresses are in: who is there is reached without a router.
    pub networks: Vec<IpNetwork>,
}

impl Uplink {
    /// Whether an address is reached without a router.
    pub fn is_on_link(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

/// All addresses of the namespace with the index of their link, and whether they bear our mark.
pub(super) fn addresses(kernel: &Connection) -> Result<Vec<(u32, IpNetwork, bool)>, NetlinkError> {
    let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let told = kernel.dump("listing addresses", all)?;
    Ok(told.into_iter().filter_map(read).collect())
}

fn read(told: RouteNetlinkMessage) -> Option<(u32, IpNetwork, bool)> {
    let RouteNetlinkMessage::NewAddress(told) = told else { return None };
    let (mut local, mut other, mut ours) = (None, None, false);
    for attribute in &told.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            AddressAttribute::Protocol(protocol) => ours = *protocol == super::ADDRESS_PROTOCOL,
            _ => {}
        }
    }
    let network = IpNetwork::new(local.or(other)?, told.header.prefix_len).ok()?;
    Some((told.header.index, network, ours))
}

/// The device with the first of the node's addresses.
pub(super) fn find(kernel: &Connection, node: &[IpAddr]) -> Result<Uplink, NodeError> {
    let &first = node.first().ok_or(NodeError::NoAddress)?;
    let addresses = addresses(kernel)?;
    let holder = addresses.iter().find(|(_, network, _)| network.ip() == first);
    let &(index, _, _) = holder.ok_or(NodeError::NoUplink(first))?;
    let link = kernel.link_at(index)?.ok_or(NodeError::NoUplink(first))?;
    // A single address says nothing about who is near.
    let is_network = |n: &IpNetwork| n.prefix() < if n.is_ipv4() { 32 } else { 128 };
    let networks = addresses.iter().filter(|(at, network, _)| *at == index && is_network(network));
    let networks = networks.map(|(_, network, _)| *network).collect();
    Ok(Uplink { index, name: link.name, mtu: link.mtu, networks })
}
