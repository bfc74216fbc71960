//! Names and addresses as a hosts file pairs them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::corefile::domain::Domain;

/// Addresses of names, and names of addresses, in the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    v4: HashMap<Domain, Vec<Ipv4Addr>>,
    v6: HashMap<Domain, Vec<Ipv6Addr>>,
    names: HashMap<IpAddr, Vec<Domain>>,
}

impl Entries {
    /// Adds one pair. A name whose first label is `*` stands for every label there, and is no address's name.
    pub fn add(&mut self, address: IpAddr, name: Domain) {
        if !is_wildcard(&name) {
            self.names.entry(address).or_default().push(name.clone());
        }
        match address {
            IpAddr::V4(v4) => self.v4.entry(name).or_default().push(v4),
            IpAddr::V6(v6) => self.v6.entry(name).or_default().push(v6),
        }
    }

    /// The IPv4 addresses of exactly this name; `*.example.org.` is such a name.
    pub fn v4(&self, name: &Domain) -> &[Ipv4Addr] {
        self.v4.get(name).map_or(&[], Vec::as_slice)
    }

    /// The IPv6 addresses of exactly this name.
    pub fn v6(&self, name: &Domain) -> &[Ipv6Addr] {
        self.v6.get(name).map_or(&[], Vec::as_slice)
    }

    /// The names of an address.
    pub fn names(&self, address: IpAddr) -> &[Domain] {
        self.names.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Every pair of a name and an address, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Domain, IpAddr)> {
        let v4 = self
            .v4
            .iter()
            .flat_map(|(name, list)| list.iter().map(move |&ip| (name, IpAddr::V4(ip))));
        let v6 = self
            .v6
            .iter()
            .flat_map(|(name, list)| list.iter().map(move |&ip| (name, IpAddr::V6(ip))));
        v4.chain(v6)
    }

    /// Pairs of both directions, as `coredns_hosts_entries` counts them.
    pub fn len(&self) -> usize {
        let forward = self.iter().count();
        forward + self.names.values().map(Vec::len).sum::<usize>()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Forgets the names of addresses (`no_reverse`).
    pub fn forget_names(&mut self) {
        self.names.clear();
    }
}

/// Reads an address of a hosts file. The interface of an IPv6 address is dropped, an IPv4 address in IPv6 form
/// is an IPv4 address.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// Whether the first label is `*`.
pub fn is_wildcard(name: &Domain) -> bool {
    name.as_str().starts_with("*.")
}
