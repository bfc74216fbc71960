//! Between the standard library's addresses and those of the tables.

use std::net::{IpAddr, Ipv6Addr};

use daymark_abi::{Address, Be16, Prefix};
use ipnetwork::IpNetwork;

/// As it stands in a table: IPv4 mapped into IPv6.
pub(crate) fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(v4) => Address::from_octets(v4.to_ipv6_mapped().octets()),
        IpAddr::V6(v6) => Address::from_octets(v6.octets()),
    }
}

/// From a table.
pub(crate) fn ip(address: Address) -> IpAddr {
    Ipv6Addr::from(address.octets()).to_canonical()
}

/// A range as the key of a longest-prefix table.
pub(crate) fn prefix(range: IpNetwork) -> Prefix {
    let beyond = if range.is_ipv4() { 96 } else { 0 };
    Prefix { length: u32::from(range.prefix()) + beyond, address: address(range.network()) }
}

pub(crate) fn be16(port: u16) -> Be16 {
    Be16::new(port)
}
