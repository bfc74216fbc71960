//! Where a server listens: from what the Corefile says to socket addresses and labels.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use super::{interfaces, setup::SetupError};
use crate::{
    corefile::{
        check::ServerConfig,
        values::{Host, HostPort},
    },
    plugins::bind::config::Target,
};

/// Addresses that a block listens on: those of its `bind`, or all of IPv4 and IPv6.
pub(super) fn listen_hosts(server: &ServerConfig) -> Result<Vec<IpAddr>, SetupError> {
    let Some(bind) = server.bind() else { return Ok(everywhere()) };
    let mut hosts = Vec::new();
    for group in &bind.groups {
        let except = addresses(&group.except)?;
        hosts.extend(addresses(&group.targets)?.into_iter().filter(|host| !except.contains(host)));
    }
    hosts.sort_unstable();
    hosts.dedup();
    Ok(hosts)
}

fn addresses(targets: &[Target]) -> Result<Vec<IpAddr>, SetupError> {
    let mut addresses = Vec::new();
    for target in targets {
        match target {
            Target::Ip(address) => addresses.push(*address),
            Target::Interface(name) => {
                let found = interfaces::addresses_of(Some(name));
                if found.is_empty() {
                    return Err(SetupError::NoInterface(Arc::clone(name)));
                }
                addresses.extend(found);
            }
        }
    }
    Ok(addresses)
}

/// The unspecified addresses of the families that this machine has.
fn everywhere() -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = vec![Ipv4Addr::UNSPECIFIED.into()];
    if std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok() {
        all.push(Ipv6Addr::UNSPECIFIED.into());
    }
    all
}

/// Where an HTTP page listens: one address for each place.
pub(super) async fn resolve(place: &HostPort) -> Result<Vec<SocketAddr>, SetupError> {
    match &place.host {
        // An IPv6 socket takes IPv4 as well, where there is IPv6.
        Host::Any => Ok(everywhere()
            .last()
            .map(|host| SocketAddr::new(*host, place.port))
            .into_iter()
            .collect()),
        Host::Ip(address) => Ok(vec![SocketAddr::new(*address, place.port)]),
        Host::Name(name) => {
            let found = tokio::net::lookup_host((&**name, place.port)).await;
            let first = found.ok().and_then(|mut found| found.next());
            first
                .map(|address| vec![address])
                .ok_or_else(|| SetupError::NoAddress(name.to_string()))
        }
    }
}

/// Processors that the process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
