//! What we leave on a node, and taking all of it away.

use std::{net::IpAddr, path::Path};

use netlink_packet_route::RouteNetlinkMessage;

use super::{LOOPBACK, NodeError, VXLAN_DEVICE, routes, uplink};
use crate::{
    identity,
    netlink::{Connection, NetlinkError, Step, message},
};

/// Addresses on `lo` that bear our mark.
pub(super) fn own_addresses(kernel: &Connection) -> Result<Vec<IpAddr>, NetlinkError> {
    let all = uplink::addresses(kernel)?;
    let ours = all.into_iter().filter(|(link, _, ours)| *link == LOOPBACK && *ours);
    Ok(ours.map(|(_, network, _)| network.ip()).collect())
}

/// Removes every link, route and address of ours from the network namespace of the calling thread, and
/// these files and folders; gives how many things there were. Switches of the kernel stay as they are,
/// for others may count on them by now.
///
/// # Errors
/// [`NodeError`] of what stays; what can be removed is.
pub fn cleanup(files: &[&Path]) -> Result<usize, NodeError> {
    let kernel = Connection::open()?;
    let links: Vec<String> = kernel
        .links()?
        .into_iter()
        .map(|link| link.name)
        .filter(|name| identity::is_ours(name) || name == VXLAN_DEVICE)
        .collect();
    let routes = routes::own(&kernel)?;
    let addresses = own_addresses(&kernel)?;
    let mut removed = links.len() + routes.len() + addresses.len();
    routes::make(&kernel, &Default::default())?;
    let steps = addresses.into_iter().map(|address| {
        let delete = RouteNetlinkMessage::DelAddress(message::address(LOOPBACK, address));
        Step::plain(format!("taking {address} from lo"), delete)
    });
    kernel.run(steps.collect())?;
    for link in links {
        kernel.delete_link(&link)?;
    }
    for path in files {
        let gone = match path.is_dir() {
            true => std::fs::remove_dir_all(path),
            false => std::fs::remove_file(path),
        };
        removed += usize::from(gone.is_ok());
    }
    Ok(removed)
}
