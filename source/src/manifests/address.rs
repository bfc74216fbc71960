//! Addresses for Services that a manifest leaves without one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use daymark_cluster::ObjectName;

use crate::trim::Family;

/// 10.96.0.0/12, kubeadm's default for Services.
const V4_BASE: u32 = 0x0a60_0000;
const V4_SIZE: u64 = 1 << 20;
/// fd00:10:96::/112, the usual companion of the above.
const V6_BASE: u128 = 0xfd00_0010_0096_0000_0000_0000_0000_0000;
const V6_SIZE: u64 = 1 << 16;
/// The first addresses of each range stay free for those that people write by hand
/// (10.96.0.1, 10.96.0.10).
const RESERVED: u64 = 256;

/// The addresses of the Service `name`: a hash of namespace and name in 10.96.0.0/12 and
/// fd00:10:96::/112, so the same on every machine and whatever else is in the folder. Two Services
/// may get the same one (even odds at 1,200 Services for IPv4); write `clusterIP` where it matters.
pub(crate) fn allocate(name: &ObjectName, families: &[Family]) -> Box<[IpAddr]> {
    let hash = hash(name);
    let families = families.iter();
    families
        .map(|family| match family {
            Family::V4 => Ipv4Addr::from(V4_BASE + offset(hash, V4_SIZE) as u32).into(),
            Family::V6 => Ipv6Addr::from(V6_BASE + u128::from(offset(hash, V6_SIZE))).into(),
        })
        .collect()
}

/// Neither reserved nor the last of the range, which is IPv4's broadcast address.
fn offset(hash: u64, size: u64) -> u64 {
    RESERVED + hash % (size - RESERVED - 1)
}

/// FNV-1a with splitmix64's finish: fixed for good, because people write the addresses down.
fn hash(name: &ObjectName) -> u64 {
    let text = name.namespace.bytes().chain([b'/']).chain(name.name.bytes());
    let hash = text.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_depend_on_the_name_alone_and_stay_in_their_ranges() {
        for i in 0..20_000 {
            let name = ObjectName::new("shop", format!("web-{i}").as_str());
            let both = allocate(&name, &[Family::V4, Family::V6]);
            assert_eq!(both, allocate(&name, &[Family::V4, Family::V6]));
            let (IpAddr::V4(v4), IpAddr::V6(v6)) = (both[0], both[1]) else { panic!("{both:?}") };
            assert!(v4.octets()[0] == 10 && v4.octets()[1] & 0xf0 == 96, "{v4}");
            assert_eq!(&v6.segments()[..7], &[0xfd00, 0x10, 0x96, 0, 0, 0, 0], "{v6}");
        }
        let web = ObjectName::new("shop", "web");
        assert_eq!(allocate(&web, &[Family::V4])[0].to_string(), "10.102.213.234");
    }
}
