//! Which way leads to each range of another node's pods, and the routes that follow from it.

use std::{collections::BTreeSet, net::IpAddr};

use daymark_loader::Peer;
use ipnetwork::IpNetwork;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteHeader, RouteMessage},
};
use rustix::io::Errno;

use super::{Mode, NodePlan, PeerNode, Uplink};
use crate::{
    identity,
    netlink::{
        Connection, NetlinkError, Step,
        message::{self, Route},
    },
};

/// Steps in a batch: the kernel keeps an answer to each until it is read.
const BATCH: usize = 64;

/// The way to a range.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Way {
    /// By way of this address on the uplink.
    Native(IpAddr),
    /// Through a tunnel to this address.
    Tunnel(IpAddr),
    /// None, for this reason.
    None(String),
}

/// The ways to all ranges.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Ways {
    ways: Vec<(IpNetwork, Way)>,
}

/// Chooses for every range. The same plan gives the same ways.
pub(super) fn choose(plan: &NodePlan, uplink: &Uplink) -> Ways {
    let of = |peer: &PeerNode, range: IpNetwork| {
        let hop = peer.addresses.iter().copied().find(|a| a.is_ipv4() == range.is_ipv4());
        let native = hop.filter(|&address| uplink.is_on_link(address));
        let tunnel = tunnel_end(&plan.node_addresses, &peer.addresses);
        let name = &peer.name;
        match (plan.mode, native, tunnel) {
            (Mode::Native | Mode::Auto, Some(hop), _) => Way::Native(hop),
            (Mode::Vxlan | Mode::Auto, _, Some(end)) => Way::Tunnel(end),
            (Mode::Native, None, _) => Way::None(match hop {
                Some(hop) => format!("{name} ({hop}) is on no network of {}", uplink.name),
                None => format!("{name} has no address of the range's family"),
            }),
            (_, _, None) => Way::None(format!("{name} has no address of a family of this node's")),
        }
    };
    let mut ways: Vec<(IpNetwork, Way)> = Vec::new();
    for peer in &plan.peers {
        for &range in &peer.pod_ranges {
            let way = match ways.iter().find(|(known, _)| *known == range) {
                Some(_) => Way::None(format!("{} has the range of another node", peer.name)),
                None => of(peer, range),
            };
            ways.push((range, way));
        }
    }
    Ways { ways }
}

/// Where a tunnel from here to a node ends: IPv4 if both have it, as its header is shorter.
fn tunnel_end(node: &[IpAddr], peer: &[IpAddr]) -> Option<IpAddr> {
    let of_family = |ipv4: bool| {
        let here = node.iter().any(|address| address.is_ipv4() == ipv4);
        peer.iter().copied().find(|address| here && address.is_ipv4() == ipv4)
    };
    of_family(true).or_else(|| of_family(false))
}

impl Ways {
    /// In mode VXLAN the device is there before the first other node is.
    pub(super) fn needs_tunnel(&self, mode: Mode) -> bool {
        let any = self.ways.iter().any(|(_, way)| matches!(way, Way::Tunnel(_)));
        any || mode == Mode::Vxlan
    }

    pub(super) fn have_ipv6_tunnel(&self) -> bool {
        self.ways.iter().any(|(_, way)| matches!(way, Way::Tunnel(IpAddr::V6(_))))
    }

    pub(super) fn routes(
        &self,
        uplink: &Uplink,
        tunnel: Option<u32>,
        gateways: &[IpAddr],
    ) -> BTreeSet<Route> {
        let route = |(range, way): &(IpNetwork, Way)| {
            let (gateway, link, source) = match way {
                Way::Native(hop) => (Some(*hop), uplink.index, None),
                // From an address that is answered through the tunnel too: a network that knows no
                // pods may drop what they send to a node's own.
                Way::Tunnel(_) => {
                    let of_family = |gateway: &&IpAddr| gateway.is_ipv4() == range.is_ipv4();
                    (None, tunnel?, gateways.iter().find(of_family).copied())
                }
                Way::None(_) => return None,
            };
            Some(Route { destination: *range, gateway, link, source })
        };
        self.ways.iter().filter_map(route).collect()
    }

    /// For the datapath, and for people.
    pub(super) fn told(self) -> (Vec<Peer>, Vec<(IpNetwork, String)>) {
        let (mut peers, mut unreachable) = (Vec::new(), Vec::new());
        for (pods, way) in self.ways {
            match way {
                Way::Native(_) => peers.push(Peer { pods, tunnel: None }),
                Way::Tunnel(end) => peers.push(Peer { pods, tunnel: Some(end) }),
                Way::None(reason) => unreachable.push((pods, reason)),
            }
        }
        (peers, unreachable)
    }
}

/// Makes exactly these be our routes to other nodes. Those to pods of this node are left alone.
pub(super) fn make(kernel: &Connection, wanted: &BTreeSet<Route>) -> Result<(), NetlinkError> {
    let there = own(kernel)?;
    // New ones first: what moves from one way to another is never without.
    let new = wanted.difference(&there).map(|route| {
        let message = RouteNetlinkMessage::NewRoute(route.message());
        Step::replace(format!("the route to {}", route.destination), message)
    });
    // IPv4 replaces a route by its destination alone, IPv6 only one by the same way.
    let replaced = |old: &&Route| {
        let same = |new: &&Route| new.destination == old.destination;
        old.destination.is_ipv4() && wanted.iter().any(|new| same(&new))
    };
    let old = there.difference(wanted).filter(|old| !replaced(old)).map(|route| {
        let message = RouteNetlinkMessage::DelRoute(route.message());
        let step = Step::plain(format!("the old route to {}", route.destination), message);
        step.tolerate(&[Errno::SRCH])
    });
    let mut steps: Vec<Step> = new.chain(old).collect();
    while !steps.is_empty() {
        let rest = steps.split_off(steps.len().min(BATCH));
        kernel.run(steps)?;
        steps = rest;
    }
    Ok(())
}

/// Our routes that lead to no pod of this node.
pub(super) fn own(kernel: &Connection) -> Result<BTreeSet<Route>, NetlinkError> {
    let pods: BTreeSet<u32> = kernel
        .links()?
        .into_iter()
        .filter(|link| identity::is_ours(&link.name))
        .map(|link| link.index)
        .collect();
    let mut routes = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut ask = RouteMessage::default();
        ask.header.address_family = family;
        ask.header.table = RouteHeader::RT_TABLE_MAIN;
        // A node may have a million routes of others.
        ask.header.protocol = message::PROTOCOL;
        let told = kernel.dump("listing routes", RouteNetlinkMessage::GetRoute(ask))?;
        routes.extend(told.iter().filter_map(|told| match told {
            RouteNetlinkMessage::NewRoute(message) => Route::read(message),
            _ => None,
        }));
    }
    routes.retain(|route| !pods.contains(&route.link));
    Ok(routes)
}
