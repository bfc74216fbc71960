//! Requests to the kernel as values.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

use ipnetwork::IpNetwork;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, InfoVxlan,
        LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
    },
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol,
        RouteScope, RouteType,
    },
};

/// The number under which our routes stand (`ip route show proto 68`); /etc/iproute2/rt_protos gives
/// none of its names to it.
pub(crate) const PROTOCOL: RouteProtocol = RouteProtocol::Other(68);

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

pub(crate) fn get_link(name: &str) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(named(name))
}

pub(crate) fn delete_link(name: &str) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelLink(named(name))
}

/// One end of a veth that is to be made.
pub(crate) struct End<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: [u8; 6],
}

/// A veth whose other end comes to life in another namespace. Neither end can be up from the start:
/// the kernel opens an end before it knows its peer, and fails.
pub(crate) fn new_veth(
    host: &End<'_>,
    pod: &End<'_>,
    netns: BorrowedFd<'_>,
    mtu: u32,
) -> RouteNetlinkMessage {
    let end = |end: &End<'_>| {
        let mut message = named(end.name);
        message.attributes.push(LinkAttribute::Mtu(mtu));
        message.attributes.push(LinkAttribute::Address(end.mac.to_vec()));
        message
    };
    let mut peer = end(pod);
    peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    let mut message = end(host);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    RouteNetlinkMessage::NewLink(message)
}

/// Sets a link up.
pub(crate) fn set_up(name: &str) -> RouteNetlinkMessage {
    let mut message = named(name);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(message)
}

/// Keeps a link that is down from taking a link-local address when it comes up: nobody speaks to a
/// pod from there, and the kernel would send packets of its own about it.
pub(crate) fn without_link_local(name: &str) -> RouteNetlinkMessage {
    let mut message = named(name);
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let inet6 = AfSpecUnspec::Inet6(vec![none]);
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![inet6]));
    RouteNetlinkMessage::SetLink(message)
}

/// A VXLAN device (RFC 7348) that takes peers and VNIs from each packet's tunnel key.
pub(crate) fn new_vxlan(name: &str, port: u16, mtu: u32) -> RouteNetlinkMessage {
    let mut message = named(name);
    message.header.flags = LinkFlags::Noarp;
    message.header.change_mask = LinkFlags::Noarp;
    message.attributes.push(LinkAttribute::Mtu(mtu));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Vxlan),
        LinkInfo::Data(InfoData::Vxlan(vec![
            InfoVxlan::CollectMetadata(true),
            InfoVxlan::Learning(false),
            InfoVxlan::Port(port),
        ])),
    ]));
    RouteNetlinkMessage::NewLink(message)
}

/// A change of a link's MTU.
pub(crate) fn set_mtu(name: &str, mtu: u32) -> RouteNetlinkMessage {
    let mut message = named(name);
    message.attributes.push(LinkAttribute::Mtu(mtu));
    RouteNetlinkMessage::SetLink(message)
}

/// A single address that can be used at once, and brings no route but the one to itself.
pub(crate) fn address(index: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = if address.is_ipv4() { 32 } else { 128 };
    message.header.scope = AddressScope::Universe;
    message.header.flags = AddressHeaderFlags::Nodad;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute),
    ];
    message
}

/// A MAC that never has to be asked for.
pub(crate) fn neighbour(index: u32, address: IpAddr, mac: [u8; 6]) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    let destination = match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message.attributes = vec![
        NeighbourAttribute::Destination(destination),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    RouteNetlinkMessage::NewNeighbour(message)
}

/// Index of no link.
pub(crate) const NOWHERE: u32 = 0;

/// A route of ours in the main table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Route {
    pub(crate) destination: IpNetwork,
    /// By way of, whether or not it is in a network of the link.
    pub(crate) gateway: Option<IpAddr>,
    /// Index of the link; [`NOWHERE`] if there is no way there, and whoever asks is to be told.
    pub(crate) link: u32,
    /// The address that the host speaks from.
    pub(crate) source: Option<IpAddr>,
}

impl Route {
    /// A route that says that there is no way.
    pub(crate) fn unreachable(destination: IpNetwork) -> Self {
        Route { destination, gateway: None, link: NOWHERE, source: None }
    }

    pub(crate) fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        let address = self.destination.network();
        message.header.address_family = family(address);
        message.header.destination_prefix_length = self.destination.prefix();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = PROTOCOL;
        message.header.kind = match self.link {
            NOWHERE => RouteType::Unreachable,
            _ => RouteType::Unicast,
        };
        // IPv6 has no scopes of routes.
        message.header.scope = match (self.gateway, address) {
            (None, IpAddr::V4(_)) if self.link != NOWHERE => RouteScope::Link,
            _ => RouteScope::Universe,
        };
        if self.destination.prefix() > 0 {
            message.attributes.push(RouteAttribute::Destination(address.into()));
        }
        if self.link != NOWHERE {
            message.attributes.push(RouteAttribute::Oif(self.link));
        }
        if let Some(gateway) = self.gateway {
            message.header.flags = RouteFlags::Onlink;
            message.attributes.push(RouteAttribute::Gateway(gateway.into()));
        }
        if let Some(source) = self.source {
            message.attributes.push(RouteAttribute::PrefSource(source.into()));
        }
        message
    }

    /// A route of the main table as the kernel tells it; `None` for one that is not ours.
    pub(crate) fn read(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        if header.protocol != PROTOCOL || header.table != RouteHeader::RT_TABLE_MAIN {
            return None;
        }
        let ip = |address: &RouteAddress| match address {
            RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
            RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
            _ => None,
        };
        let any: IpAddr = match header.address_family {
            AddressFamily::Inet => [0; 4].into(),
            AddressFamily::Inet6 => [0; 16].into(),
            _ => return None,
        };
        let (mut destination, mut gateway, mut link, mut source) = (any, None, None, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => destination = ip(address)?,
                RouteAttribute::Gateway(address) => gateway = ip(address),
                RouteAttribute::PrefSource(address) => source = ip(address),
                RouteAttribute::Oif(index) => link = Some(*index),
                _ => {}
            }
        }
        let destination = IpNetwork::new(destination, header.destination_prefix_length).ok()?;
        if header.kind == RouteType::Unreachable {
            // IPv6 names a link even there.
            link = Some(NOWHERE);
        }
        Some(Route { destination, gateway, link: link?, source })
    }
}
