//! Addresses of this machine's interfaces.

use std::net::IpAddr;

/// Addresses of all interfaces, or of one. Empty if they can't be read.
pub fn addresses_of(interface: Option<&str>) -> Vec<IpAddr> {
    let Ok(all) = if_addrs::get_if_addrs() else { return Vec::new() };
    let wanted = |found: &if_addrs::Interface| interface.is_none_or(|name| found.name == name);
    all.iter().filter(|found| wanted(found)).map(if_addrs::Interface::ip).collect()
}

/// Addresses of all interfaces.
pub fn addresses() -> Vec<IpAddr> {
    addresses_of(None)
}
