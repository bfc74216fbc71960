//! IPv4 addresses within IPv6 ones (RFC 6052).

use std::net::{Ipv4Addr, Ipv6Addr};

/// An IPv6 prefix that has room for an IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    octets: [u8; 16],
    /// Octets of the prefix: 4 to 8, or 12.
    len: usize,
}

impl Prefix {
    /// The first `bits` of `network`; 32, 40, 48, 56, 64 or 96 of them (RFC 6052 §2.2).
    pub fn new(network: Ipv6Addr, bits: u8) -> Option<Self> {
        if !matches!(bits, 32 | 40 | 48 | 56 | 64 | 96) {
            return None;
        }
        let len = usize::from(bits / 8);
        let mut octets = network.octets();
        octets[len..].fill(0);
        Some(Prefix { octets, len })
    }

    /// The address behind the prefix; octet 8, bits 64 to 71, stays zero.
    pub fn embed(self, address: Ipv4Addr) -> Ipv6Addr {
        let mut octets = self.octets;
        let places = (self.len..).filter(|at| *at != 8);
        for (at, octet) in places.zip(address.octets()) {
            octets[at] = octet;
        }
        octets.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of RFC 6052 §2.4.
    #[test]
    fn addresses_stand_where_the_rfc_has_them() {
        for (prefix, bits, want) in [
            ("2001:db8::", 32, "2001:db8:c000:221::"),
            ("2001:db8:100::", 40, "2001:db8:1c0:2:21::"),
            ("2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::", 96, "64:ff9b::192.0.2.33"),
        ] {
            let prefix = Prefix::new(prefix.parse().unwrap(), bits).unwrap();
            let address = prefix.embed([192, 0, 2, 33].into());
            assert_eq!(address, want.parse::<Ipv6Addr>().unwrap(), "/{bits}");
        }
        assert_eq!(Prefix::new(Ipv6Addr::UNSPECIFIED, 80), None);
    }
}
