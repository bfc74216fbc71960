//! Names by address: which PTR records an address has, and which namespaces a pod's address is in.
//!
//! Entry layout, behind the key (four or sixteen address octets): `u16` count (little-endian), then
//! that many items of `u8` rank, `u8` length, octets. An item is a relative wire name for PTR
//! records, a folded namespace label for pods.

use std::net::IpAddr;

/// Rank of a Service's own address: only such an item is answered where there is one.
pub const OF_SERVICE: u8 = 0;
/// Rank of an endpoint's address.
pub const OF_ENDPOINT: u8 = 1;

/// What belongs to one address. Sorted, so that equal contents have equal encodings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReverseDraft {
    /// Rank and name. Names may repeat (two pods of a namespace on a host's address).
    pub items: Vec<(u8, Vec<u8>)>,
}

/// An encoded entry.
#[derive(Clone, Copy, Debug)]
pub struct Reverse<'t>(&'t [u8]);

/// Octets of an address, 4 or 16, without allocating.
#[derive(Clone, Copy, Debug)]
pub enum Octets {
    /// IPv4.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
}

impl Octets {
    /// The octets.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Octets::V4(octets) => octets,
            Octets::V6(octets) => octets,
        }
    }
}

/// Octets of an address: the entry's key.
pub fn key(address: IpAddr) -> Octets {
    match address {
        IpAddr::V4(a) => Octets::V4(a.octets()),
        IpAddr::V6(a) => Octets::V6(a.octets()),
    }
}

impl ReverseDraft {
    /// The encoded entry, or none if nothing belongs to the address.
    pub fn encode(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        if self.items.is_empty() {
            return None;
        }
        self.items.sort_unstable();
        self.items.truncate(usize::from(u16::MAX));
        let mut out = vec![key.len() as u8];
        out.extend(key);
        out.extend((self.items.len() as u16).to_le_bytes());
        for (rank, name) in &self.items {
            out.extend([*rank, name.len() as u8]);
            out.extend(name);
        }
        Some(out)
    }
}

impl<'t> Reverse<'t> {
    pub(crate) fn at(entry: &'t [u8]) -> Self {
        Reverse(&entry[1 + usize::from(entry[0])..])
    }

    /// All items: rank and name.
    pub fn items(&self) -> impl Iterator<Item = (u8, &'t [u8])> + Clone + use<'t> {
        let count = u16::from_le_bytes([self.0[0], self.0[1]]);
        let mut rest = &self.0[2..];
        (0..count).map(move |_| {
            let (rank, len) = (rest[0], usize::from(rest[1]));
            let name = &rest[2..2 + len];
            rest = &rest[2 + len..];
            (rank, name)
        })
    }

    /// Relative names of the PTR records: a Service's if it owns the address, else each endpoint's.
    pub fn targets(&self) -> impl Iterator<Item = &'t [u8]> + use<'t> {
        let of_service = self.0.get(2) == Some(&OF_SERVICE);
        let most = if of_service { 1 } else { usize::MAX };
        self.items().map(|(_, name)| name).take(most)
    }

    /// A draft with the same items.
    pub fn draft(&self) -> ReverseDraft {
        ReverseDraft { items: self.items().map(|(rank, name)| (rank, name.to_vec())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_owns_its_address_before_any_endpoint() {
        let mut draft = ReverseDraft::default();
        draft.items.push((OF_ENDPOINT, b"\x01a".to_vec()));
        draft.items.push((OF_SERVICE, b"\x03svc".to_vec()));
        let entry = draft.encode(&[10, 0, 0, 1]).unwrap();
        let reverse = Reverse::at(&entry);
        assert_eq!(reverse.targets().collect::<Vec<_>>(), [b"\x03svc"]);
        assert_eq!(reverse.draft(), draft);
    }

    #[test]
    fn every_endpoint_of_an_address_is_answered() {
        let names: [&[u8]; 2] = [b"\x01a", b"\x01b"];
        let mut draft = ReverseDraft { items: names.map(|n| (OF_ENDPOINT, n.to_vec())).to_vec() };
        let entry = draft.encode(&[10, 0, 0, 1]).unwrap();
        assert_eq!(Reverse::at(&entry).targets().collect::<Vec<_>>(), names);
        assert_eq!(ReverseDraft::default().encode(&[1]), None);
    }
}
