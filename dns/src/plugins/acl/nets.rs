//! A set of networks, to look addresses up in.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// Networks as sorted ranges that neither overlap nor touch: a lookup is one binary search, whatever
/// the number of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nets {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Nets {
    /// Whether a network holds `address`. An IPv4 address in IPv6 form is looked up as IPv4.
    pub fn contain(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => holds(&self.v4, address.to_bits()),
            IpAddr::V6(address) => holds(&self.v6, address.to_bits()),
        }
    }
}

impl FromIterator<IpNetwork> for Nets {
    fn from_iter<I: IntoIterator<Item = IpNetwork>>(networks: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNetwork::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNetwork::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Nets { v4: merged(v4, |end| end.checked_add(1)), v6: merged(v6, |end| end.checked_add(1)) }
    }
}

fn holds<T: Copy + Ord>(ranges: &[(T, T)], address: T) -> bool {
    let behind = ranges.partition_point(|(start, _)| *start <= address);
    behind.checked_sub(1).is_some_and(|at| address <= ranges[at].1)
}

/// Sorts ranges and joins what overlaps or touches; `after` is the address behind one, if any.
fn merged<T: Copy + Ord>(mut ranges: Vec<(T, T)>, after: fn(T) -> Option<T>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut all: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match all.last_mut() {
            Some(last) if after(last.1).is_none_or(|next| start <= next) => {
                last.1 = last.1.max(end);
            }
            _ => all.push((start, end)),
        }
    }
    all.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network() -> impl Strategy<Value = IpNetwork> {
        // Few addresses, so that networks meet.
        let v4 =
            (0u32..8, 0u8..=32).prop_map(|(low, len)| (IpAddr::V4((low << 29 | low).into()), len));
        let v6 = (0u128..8, 0u8..=128)
            .prop_map(|(low, len)| (IpAddr::V6((low << 125 | low).into()), len));
        prop_oneof![v4, v6].prop_map(|(address, len)| IpNetwork::new(address, len).unwrap())
    }

    proptest! {
        #[test]
        fn an_address_is_in_the_set_if_it_is_in_a_network(
            networks in prop::collection::vec(network(), 0..8),
            probes in prop::collection::vec(network(), 20),
        ) {
            let nets: Nets = networks.iter().copied().collect();
            let ends = networks.iter().flat_map(|net| [net.network(), net.broadcast()]);
            for probe in probes.iter().map(IpNetwork::ip).chain(ends) {
                let plain = probe.to_canonical();
                let want = networks.iter().any(|network| network.contains(plain));
                prop_assert_eq!(nets.contain(probe), want, "{}", probe);
            }
            prop_assert!(nets.v4.windows(2).all(|pair| pair[0].1 < pair[1].0 - 1));
        }
    }

    #[test]
    fn an_ipv4_address_in_ipv6_form_is_an_ipv4_address() {
        let nets: Nets = ["10.0.0.0/8".parse().unwrap()].into_iter().collect();
        assert!(nets.contain("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!nets.contain("::ffff:11.1.2.3".parse().unwrap()));
        assert!(!nets.contain("::10.1.2.3".parse().unwrap()));
    }
}
