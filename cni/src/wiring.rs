//! A pod's link: a veth whose one end is in the pod, with its addresses and the way out, and whose
//! other end is on the host, with routes to the pod. Neither side ever asks for a MAC: both are told.

use std::net::IpAddr;

use daymark_cni_spec::{CniError, code};
use ipnetwork::IpNetwork;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    route::{RouteAttribute, RouteMessage},
};
use rustix::io::Errno;

use crate::{
    attachments::everywhere,
    namespace::Namespace,
    netlink::{
        Connection, Link, NetlinkError, Step,
        message::{self, End, Route},
        remove_soon,
    },
    record::Record,
};

/// Indices of a pair's ends, each in its own namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    pub(crate) host: u32,
    pub(crate) pod: u32,
}

/// What the kernel refused, as a runtime reads it.
pub(crate) fn refused(error: NetlinkError) -> CniError {
    CniError::new(code::WIRING, error.to_string())
}

fn gone(what: String) -> CniError {
    CniError::new(code::CHECK, what)
}

/// Makes the pair; the pod's end appears in its namespace, down.
pub(crate) fn create(
    host: &Connection,
    record: &Record,
    namespace: &Namespace<'_>,
    mtu: u32,
) -> Result<Links, CniError> {
    let name = &record.host_ifname;
    let ifname = &record.attachment.ifname;
    let ends = (End { name, mac: record.host_mac }, End { name: ifname, mac: record.pod_mac });
    let veth = message::new_veth(&ends.0, &ends.1, namespace.file(), mtu);
    let links = host.run_for_links(vec![
        Step::create(format!("making {name} and {ifname} in the pod"), veth),
        Step::plain(format!("keeping {name} quiet"), message::without_link_local(name))
            .tolerate(&[Errno::AFNOSUPPORT]),
        Step::plain(format!("setting {name} up"), message::set_up(name)),
        Step::plain(format!("looking for {name}"), message::get_link(name)),
    ]);
    let links = links.map_err(refused)?;
    let pair = links.first().and_then(|link| Some(Links { host: link.index, pod: link.peer? }));
    pair.ok_or_else(|| CniError::new(code::WIRING, format!("{name} is gone as soon as made")))
}

/// Tells the host where the pod is.
pub(crate) fn connect_host(
    host: &Connection,
    record: &Record,
    link: u32,
    node_addresses: &[IpAddr],
) -> Result<(), CniError> {
    let steps = record.addresses.iter().flat_map(|&address| {
        let of_family = |node: &&IpAddr| node.is_ipv4() == address.is_ipv4();
        let source = node_addresses.iter().find(of_family).copied();
        let route = Route { destination: address.into(), gateway: None, link, source };
        let route = RouteNetlinkMessage::NewRoute(route.message());
        [
            Step::replace(
                format!("the MAC of {address}"),
                message::neighbour(link, address, record.pod_mac),
            ),
            Step::replace(format!("the route to {address}"), route),
        ]
    });
    host.run(steps.collect()).map(drop).map_err(refused)
}

/// Sets the pod's end up, gives it its addresses, and a way out through each gateway. `gateways` are
/// those of the addresses, in their order.
pub(crate) fn configure_pod(
    pod: &Connection,
    record: &Record,
    link: u32,
    gateways: &[IpAddr],
) -> Result<(), CniError> {
    let ifname = &record.attachment.ifname;
    let up = Step::plain(format!("setting {ifname} up"), message::set_up(ifname));
    let each = record.addresses.iter().zip(gateways).flat_map(|(&address, &gateway)| {
        let new = RouteNetlinkMessage::NewAddress(message::address(link, address));
        let out = everywhere(gateway);
        let route = Route { destination: out, gateway: Some(gateway), link, source: None };
        let route = RouteNetlinkMessage::NewRoute(route.message());
        [
            Step::create(format!("the address {address}"), new),
            Step::replace(
                format!("the MAC of {gateway}"),
                message::neighbour(link, gateway, record.host_mac),
            ),
            // A pod's second link finds the way out of its first one.
            Step::create(format!("the way out by {gateway}"), route).tolerate(&[Errno::EXIST]),
        ]
    });
    pod.run(std::iter::once(up).chain(each).collect()).map(drop).map_err(refused)
}

/// Removes the pair, and with it all that was told about it.
pub(crate) fn remove(host_ifname: &str) -> Result<(), CniError> {
    remove_soon(host_ifname).map_err(refused)
}

/// The host's end of a pair that somebody else made, and the MAC of the pod's end.
pub(crate) fn find_pair(
    host: &Connection,
    pod: &Connection,
    ifname: &str,
) -> Result<(Link, [u8; 6]), CniError> {
    let unsupported = |what: String| CniError::new(code::UNSUPPORTED, what);
    let inner = pod.link(ifname).map_err(refused)?;
    let inner = inner.ok_or_else(|| unsupported(format!("no plugin made {ifname} in the pod")))?;
    let outer = match inner.peer.filter(|_| inner.is_veth) {
        Some(peer) => host.link_at(peer).map_err(refused)?,
        None => None,
    };
    let outer = outer.filter(|link| link.is_veth && link.peer == Some(inner.index));
    let outer = outer.ok_or_else(|| {
        unsupported(format!("{ifname} in the pod is no veth whose other end is on the host"))
    })?;
    Ok((outer, inner.mac))
}

/// Whether links, addresses and routes are as they were made.
pub(crate) fn check(host: &Connection, pod: &Connection, record: &Record) -> Result<(), CniError> {
    let name = &record.host_ifname;
    let outer = host.link(name).map_err(refused)?.filter(|link| link.is_up);
    let outer = outer.ok_or_else(|| gone(format!("{name} is gone or down on the host")))?;
    let ifname = &record.attachment.ifname;
    let inner = pod.link(ifname).map_err(refused)?.filter(|link| link.is_up);
    let inner = inner.ok_or_else(|| gone(format!("{ifname} is gone or down in the pod")))?;
    if inner.mac != record.pod_mac {
        return Err(gone(format!("{ifname} has another MAC")));
    }
    let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let there = pod.dump("listing addresses", all).map_err(refused)?;
    for &address in &record.addresses {
        if !there.iter().any(|told| is_address(told, inner.index, address)) {
            return Err(gone(format!("{ifname} does not have {address}")));
        }
        // Those of another plugin's link are that plugin's to check.
        if record.adopted {
            continue;
        }
        if way_to(host, address.into())? != Some(outer.index) {
            return Err(gone(format!("the host has no route to {address} over {name}")));
        }
        if way_to(pod, everywhere(address))?.is_none() {
            return Err(gone(format!("the pod has no way out for {address}")));
        }
    }
    Ok(())
}

fn is_address(told: &RouteNetlinkMessage, link: u32, address: IpAddr) -> bool {
    let RouteNetlinkMessage::NewAddress(told) = told else { return false };
    let is = |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Local(a) | AddressAttribute::Address(a) if *a == address);
    told.header.index == link && told.attributes.iter().any(is)
}

/// The link that a namespace sends over to a range: to a single address as it would send a packet,
/// to all of them by the default route.
fn way_to(connection: &Connection, range: IpNetwork) -> Result<Option<u32>, CniError> {
    let mut ask = RouteMessage::default();
    let ask_header = Route { destination: range, gateway: None, link: 0, source: None }.message();
    ask.header.address_family = ask_header.header.address_family;
    let what = format!("looking for the route to {range}");
    let told = if range.prefix() == 0 {
        connection.dump(&what, RouteNetlinkMessage::GetRoute(ask))
    } else {
        ask.header.destination_prefix_length = range.prefix();
        ask.attributes = vec![RouteAttribute::Destination(range.ip().into())];
        let get = Step::plain(what, RouteNetlinkMessage::GetRoute(ask));
        connection.run(vec![get.tolerate(&[Errno::NETUNREACH, Errno::HOSTUNREACH])])
    };
    let links = told.map_err(refused)?.into_iter().filter_map(|told| match told {
        RouteNetlinkMessage::NewRoute(route)
            if route.header.destination_prefix_length == range.prefix() =>
        {
            route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(link) => Some(*link),
                _ => None,
            })
        }
        _ => None,
    });
    Ok(links.into_iter().next())
}
