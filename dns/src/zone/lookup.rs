//! What a question finds: the one meaning that both ways through the server answer with.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    directory::Directory,
    group::{Group, Node},
    reverse::{Reverse, key},
    view::{PodMode, View, Zone, ZoneKind},
};
use crate::wire::{name::FoldedName, rtype};

/// A question that one of the view's zones answers.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'t> {
    /// The zone.
    pub zone: &'t Zone,
    /// Labels of the question's name left of the zone.
    pub above: usize,
    /// What was found.
    pub found: Found<'t>,
}

/// What a question finds.
#[derive(Clone, Copy, Debug)]
pub enum Found<'t> {
    /// A records.
    V4(&'t [[u8; 4]]),
    /// AAAA records.
    V6(&'t [[u8; 16]]),
    /// One address that stands in the name itself (mode `insecure` and `verified` of pods).
    Address(IpAddr),
    /// SRV records of this node, with glue.
    Srv(Node<'t>),
    /// PTR records.
    Ptr(Reverse<'t>),
    /// TXT record of `dns-version`.
    Version,
    /// SOA record of the zone.
    Soa,
    /// NS records of the zone, with glue.
    Ns,
    /// Addresses of `ns.dns.ZONE`, of the family asked for.
    NsAddress,
    /// ExternalName: an alias to this name (wire form).
    Alias(&'t [u8]),
    /// The name exists, but not with this type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// A zone transfer, which is not offered here.
    Refused,
}

/// The DNS specification's version: text of `dns-version.ZONE`.
pub const SPECIFICATION: &[u8] = b"1.1.0";
/// TTL of `dns-version.ZONE` in seconds.
pub const VERSION_TTL: u32 = 28_800;

/// Looks `name` up; `None` if it is in none of the view's zones.
pub fn lookup<'t>(
    directory: &'t Directory,
    view: &'t View,
    name: &FoldedName,
    qtype: u16,
) -> Option<Lookup<'t>> {
    let (zone, above) = view
        .zones
        .iter()
        .find_map(|zone| Some((zone, name.labels_above(&zone.wire, zone.labels)?)))?;
    let asked = Asked { directory, view, name, above, qtype };
    let found = match (qtype, zone.kind) {
        (rtype::AXFR | rtype::IXFR, _) => Found::Refused,
        (_, ZoneKind::Reverse) => asked.reverse(),
        (_, ZoneKind::Cluster) => asked.forward(false),
        (_, ZoneKind::ClusterSet) => asked.forward(true),
    };
    Some(Lookup { zone, above, found })
}

struct Asked<'t, 'q> {
    directory: &'t Directory,
    view: &'t View,
    name: &'q FoldedName,
    above: usize,
    qtype: u16,
}

impl<'t> Asked<'t, '_> {
    fn forward(&self, set: bool) -> Found<'t> {
        if self.above == 0 {
            return self.apex();
        }
        match self.name.label(self.above - 1) {
            b"svc" => self.service(set),
            b"pod" => self.pod(),
            b"dns" if self.above == 1 => Found::NoData,
            b"dns" if self.above == 2 && self.name.label(0) == b"ns" => match self.qtype {
                rtype::A | rtype::AAAA => self.own_address(),
                _ => Found::NoData,
            },
            b"dns-version" if self.above == 1 => match self.qtype {
                rtype::TXT => Found::Version,
                _ => Found::NoData,
            },
            _ => Found::NxDomain,
        }
    }

    fn apex(&self) -> Found<'t> {
        match self.qtype {
            rtype::SOA => Found::Soa,
            rtype::NS if !self.directory.servers.is_empty() => Found::Ns,
            _ => Found::NoData,
        }
    }

    fn own_address(&self) -> Found<'t> {
        let wants_v4 = self.qtype == rtype::A;
        if self.directory.servers.iter().any(|(_, address)| address.is_ipv4() == wants_v4) {
            Found::NsAddress
        } else {
            Found::NoData
        }
    }

    fn service(&self, set: bool) -> Found<'t> {
        let Some(own) = self.above.checked_sub(3) else { return self.container() };
        let key = self.name.span(own, own + 2);
        let group = if set { self.directory.import(key) } else { self.directory.service(key) };
        let Some(group) = group else { return Found::NxDomain };
        if let Some(target) = group.alias() {
            return match (own, self.qtype) {
                (0, rtype::A | rtype::AAAA | rtype::CNAME) => Found::Alias(target),
                (0, _) => Found::NoData,
                _ => Found::NxDomain,
            };
        }
        let below = self.name.span(0, own);
        match group.node(below) {
            Some(node) => self.records(node),
            None if self.view.zonal && !set => self.zonal(group, own),
            None => Found::NxDomain,
        }
    }

    /// A name below a headless Service that no endpoint's topology zone made: `X.pin._zone` exists
    /// without records, `X.prefer._zone` stands for all endpoints, and what lies above them exists.
    fn zonal(&self, group: Group<'t>, own: usize) -> Found<'t> {
        if !group.headless() || own == 0 || self.name.label(own - 1) != b"_zone" {
            return Found::NxDomain;
        }
        let directive = own.checked_sub(2).map_or(&b""[..], |at| self.name.label(at));
        match directive {
            b"" => Found::NoData,
            b"prefer" if own > 2 => {
                group.node(b"").map_or(Found::NoData, |node| self.records(node))
            }
            b"pin" | b"prefer" => Found::NoData,
            _ => Found::NxDomain,
        }
    }

    fn records(&self, node: Node<'t>) -> Found<'t> {
        records(node, self.qtype)
    }

    /// `svc`, `pod`, `NS.svc` and `NS.pod`.
    fn container(&self) -> Found<'t> {
        if self.above == 1 || self.directory.namespaces.contains(self.name.label(0)) {
            Found::NoData
        } else {
            Found::NxDomain
        }
    }

    fn pod(&self) -> Found<'t> {
        match self.above {
            1 => return Found::NoData,
            _ if self.view.pods == PodMode::Disabled => return Found::NxDomain,
            2 => return self.container(),
            3 => {}
            _ => return Found::NxDomain,
        }
        let namespace = self.name.label(1);
        if !self.directory.namespaces.contains(namespace) {
            return Found::NxDomain;
        }
        let Some(address) = dashed_address(self.name.label(0)) else { return Found::NxDomain };
        let known = self.view.pods == PodMode::Insecure
            || (is_as_written(self.name.label(0), address)
                && self.directory.has_pod(key(address).as_slice(), namespace));
        match (known, address, self.qtype) {
            (false, ..) => Found::NxDomain,
            (_, IpAddr::V4(_), rtype::A) | (_, IpAddr::V6(_), rtype::AAAA) => {
                Found::Address(address)
            }
            _ => Found::NoData,
        }
    }

    fn reverse(&self) -> Found<'t> {
        if self.above == 0 {
            return self.apex();
        }
        if self.qtype != rtype::PTR {
            return Found::NxDomain;
        }
        let mut octets = [0; 16];
        let entry = match reverse_octets(self.name, &mut octets) {
            Some(octets) => self.directory.address(octets),
            None => None,
        };
        entry.map_or(Found::NxDomain, Found::Ptr)
    }
}

/// What a name has of this type.
pub(super) fn records(node: Node<'_>, qtype: u16) -> Found<'_> {
    match qtype {
        rtype::A if !node.v4().is_empty() => Found::V4(node.v4()),
        rtype::AAAA if !node.v6().is_empty() => Found::V6(node.v6()),
        rtype::SRV if node.srv().len() > 0 => Found::Srv(node),
        _ => Found::NoData,
    }
}

/// The address that a pod's label stands for: `1-2-3-4`, or IPv6 with `-` for `:`.
fn dashed_address(label: &[u8]) -> Option<IpAddr> {
    let dashes = label.iter().filter(|octet| **octet == b'-').count();
    let doubled = label.windows(2).any(|pair| pair == b"--");
    let separator = if dashes == 3 && !doubled { b'.' } else { b':' };
    let mut text = [0; 63];
    let text = text.get_mut(..label.len())?;
    for (to, from) in text.iter_mut().zip(label) {
        *to = if *from == b'-' { separator } else { *from };
    }
    let text = str::from_utf8(text).ok()?;
    match separator {
        b'.' => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        // An IPv4 address in IPv6 form (RFC 4291 §2.5.5.2) is an IPv4 address.
        _ => text.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical()),
    }
}

/// Whether `label` is `address` as the API writes it (RFC 5952), with `-` for `.` and `:`. Other
/// spellings of a verified pod's address do not exist, as CoreDNS has it.
fn is_as_written(label: &[u8], address: IpAddr) -> bool {
    let mut text = [0; 63];
    let mut rest = &mut text[..];
    if write!(rest, "{address}").is_err() {
        return false;
    }
    let left = rest.len();
    let written = &text[..text.len() - left];
    let dashed = |octet: &u8| if matches!(octet, b'.' | b':') { b'-' } else { *octet };
    written.len() == label.len() && written.iter().map(dashed).eq(label.iter().copied())
}

/// Octets of the address in a whole name under `in-addr.arpa` (RFC 1035 §3.5) or `ip6.arpa` (RFC
/// 3596 §2.5).
pub(super) fn reverse_octets<'o>(name: &FoldedName, octets: &'o mut [u8; 16]) -> Option<&'o [u8]> {
    const V4: &[u8] = b"\x07in-addr\x04arpa\0";
    const V6: &[u8] = b"\x03ip6\x04arpa\0";
    if name.labels_above(V4, 2) == Some(4) {
        for (index, octet) in octets[..4].iter_mut().enumerate() {
            *octet = decimal(name.label(3 - index))?;
        }
        return Some(&octets[..4]);
    }
    if name.labels_above(V6, 2) != Some(32) {
        return None;
    }
    for (index, octet) in octets.iter_mut().enumerate() {
        let nibble = |at: usize| match name.label(at) {
            [digit] => (*digit as char).to_digit(16),
            _ => None,
        };
        let (high, low) = (nibble(31 - 2 * index)?, nibble(30 - 2 * index)?);
        *octet = (high << 4 | low) as u8;
    }
    Some(&octets[..])
}

fn decimal(label: &[u8]) -> Option<u8> {
    if label.is_empty() || label.len() > 3 || (label.len() > 1 && label[0] == b'0') {
        return None;
    }
    label.iter().try_fold(0u8, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::from_text;

    fn folded(text: &str) -> FoldedName {
        let mut name = FoldedName::default();
        name.read(&from_text(text).unwrap(), 0).unwrap();
        name
    }

    #[test]
    fn pod_labels_are_addresses() {
        for (label, want) in [
            ("10-1-2-3", Some("10.1.2.3")),
            ("5678-abcd--1", Some("5678:abcd::1")),
            ("--1", Some("::1")),
            ("--ffff-a00-1", Some("10.0.0.1")),
            ("1-2-3", None),
            ("1-2-3-400", None),
            ("web", None),
            ("", None),
        ] {
            let want = want.map(|text| text.parse().unwrap());
            assert_eq!(dashed_address(label.as_bytes()), want, "{label}");
        }
    }

    #[test]
    fn a_verified_pod_has_one_spelling() {
        for (label, address, want) in [
            ("10-1-2-3", "10.1.2.3", true),
            ("fd00--1", "fd00::1", true),
            ("fd00-0-0-0-0-0-0-1", "fd00::1", false),
        ] {
            assert_eq!(is_as_written(label.as_bytes(), address.parse().unwrap()), want, "{label}");
        }
    }

    #[test]
    fn reverse_names_are_addresses() {
        let mut octets = [0; 16];
        for (name, want) in [
            ("4.3.2.10.in-addr.arpa", Some(&[10, 2, 3, 4][..])),
            ("04.3.2.10.in-addr.arpa", None),
            ("256.3.2.10.in-addr.arpa", None),
            ("3.2.10.in-addr.arpa", None),
            ("x.4.3.2.10.in-addr.arpa", None),
        ] {
            assert_eq!(reverse_octets(&folded(name), &mut octets), want, "{name}");
        }
        let v6 = format!("1.{}{}", "0.".repeat(29), "d.f.ip6.arpa");
        let want: Ipv6Addr = "fd00::1".parse().unwrap();
        assert_eq!(reverse_octets(&folded(&v6), &mut octets), Some(&want.octets()[..]));
    }
}
