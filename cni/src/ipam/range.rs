//! One range of pod addresses.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;

/// A node's pod range of one family, and who has what of it. Addresses are numbers here.
#[derive(Clone, Debug)]
pub(super) struct Range {
    network: IpNetwork,
    /// First and last that may be handed out.
    first: u128,
    last: u128,
    /// The one that was handed out last; the search goes on behind it, so that an address rests as
    /// long as it can before it comes back.
    cursor: u128,
    taken: HashSet<u128>,
}

impl Range {
    /// `None` if the range is too small for a gateway and a pod.
    ///
    /// The network's own address, the gateway behind it and, of IPv4, the broadcast address at its end
    /// are never handed out.
    pub(super) fn new(network: IpNetwork) -> Option<Self> {
        let base = number(network.network());
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let host_bits = u32::from(bits - network.prefix());
        let size = if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 };
        let end = base.saturating_add(size);
        let (first, last) = (base.checked_add(2)?, end - u128::from(network.is_ipv4()));
        let range = Range { network, first, last, cursor: last, taken: HashSet::new() };
        (host_bits >= 2).then_some(range)
    }

    pub(super) fn network(&self) -> IpNetwork {
        self.network
    }

    pub(super) fn gateway(&self) -> IpAddr {
        self.address(self.first - 1)
    }

    /// How many are handed out, and how many there are.
    pub(super) fn fill(&self) -> (usize, u128) {
        (self.taken.len(), self.last - self.first + 1)
    }

    pub(super) fn is_exhausted(&self) -> bool {
        let (taken, size) = self.fill();
        taken as u128 >= size
    }

    pub(super) fn may_hand_out(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4()
            && (self.first..=self.last).contains(&number(address))
    }

    pub(super) fn is_taken(&self, address: IpAddr) -> bool {
        self.taken.contains(&number(address))
    }

    /// The next free address behind the last one. Looks at most at as many as are taken, and one more.
    pub(super) fn next(&self) -> Option<IpAddr> {
        if self.is_exhausted() {
            return None;
        }
        let mut candidate = self.cursor;
        loop {
            candidate = if candidate >= self.last { self.first } else { candidate + 1 };
            if !self.taken.contains(&candidate) {
                return Some(self.address(candidate));
            }
        }
    }

    pub(super) fn take(&mut self, address: IpAddr) {
        self.taken.insert(number(address));
    }

    /// Lets the search go on behind this address.
    pub(super) fn go_on_behind(&mut self, address: IpAddr) {
        self.cursor = number(address);
    }

    pub(super) fn release(&mut self, address: IpAddr) {
        self.taken.remove(&number(address));
    }

    fn address(&self, number: u128) -> IpAddr {
        match u32::try_from(number) {
            Ok(number) if self.network.is_ipv4() => Ipv4Addr::from_bits(number).into(),
            _ => Ipv6Addr::from_bits(number).into(),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}
