//! Edits of a table by address: what comes to and goes from each, made all at once.

use std::net::IpAddr;

use super::{
    reverse::{self, Reverse, ReverseDraft},
    shard::{Change, KeyHash, Shards},
};

/// Edits that were noted. Flat, so that those of a whole cluster are three allocations.
#[derive(Default)]
pub(super) struct Edits {
    edits: Vec<Edit>,
    /// Names of the edits, one behind the other.
    names: Vec<u8>,
}

struct Edit {
    address: IpAddr,
    rank: u8,
    adds: bool,
    name_len: u8,
    name_at: usize,
}

impl Edits {
    /// Notes that a name comes to an address. Names have at most 255 octets; a longer one has no
    /// place in a table.
    pub(super) fn add(&mut self, address: IpAddr, rank: u8, name: &[u8]) {
        self.note(address, rank, name, true);
    }

    /// Notes that a name goes from an address.
    pub(super) fn remove(&mut self, address: IpAddr, rank: u8, name: &[u8]) {
        self.note(address, rank, name, false);
    }

    fn note(&mut self, address: IpAddr, rank: u8, name: &[u8], adds: bool) {
        let Ok(name_len) = u8::try_from(name.len()) else { return };
        self.edits.push(Edit { address, rank, adds, name_len, name_at: self.names.len() });
        self.names.extend_from_slice(name);
    }

    /// Makes the edits in `table`, in the order in which they were noted; tells whether anything
    /// differs now.
    pub(super) fn apply(mut self, table: &mut Shards) -> bool {
        self.edits.sort_by_key(|edit| edit.address);
        let of_addresses: Vec<&[Edit]> =
            self.edits.chunk_by(|a, b| a.address == b.address).collect();
        let key = |edits: &[Edit]| reverse::key(edits[0].address);
        table.apply(
            &of_addresses,
            |edits| Some(KeyHash::of(key(edits).as_slice())),
            |edits, table| {
                let key = key(edits);
                let held = table.get(key.as_slice());
                Some(self.edited(edits, key.as_slice(), held))
            },
        )
    }

    fn edited(&self, edits: &[Edit], key: &[u8], held: Option<&[u8]>) -> Change {
        let mut draft = held.map_or_else(ReverseDraft::default, |entry| Reverse::at(entry).draft());
        for Edit { rank, adds, name_len, name_at, .. } in edits {
            let name = &self.names[*name_at..name_at + usize::from(*name_len)];
            if *adds {
                draft.items.push((*rank, name.to_vec()));
            } else if let Some(at) = draft.items.iter().position(|(r, n)| r == rank && n == name) {
                draft.items.swap_remove(at);
            }
        }
        (key.to_vec(), draft.encode(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(table: &Shards, address: IpAddr) -> Vec<Vec<u8>> {
        let entry = table.get(reverse::key(address).as_slice());
        let items = entry.into_iter().flat_map(|entry| Reverse::at(entry).items());
        items.map(|(_, name)| name.to_vec()).collect()
    }

    #[test]
    fn edits_are_made_in_their_order_and_tell_whether_they_changed_anything() {
        let (one, two) = ("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
        let mut table = Shards::default();
        let mut edits = Edits::default();
        edits.add(one, 1, b"a");
        edits.add(two, 1, b"a");
        edits.add(one, 1, b"b");
        edits.remove(two, 1, b"a");
        assert!(edits.apply(&mut table));
        assert_eq!(
            (names(&table, one), names(&table, two)),
            (vec![b"a".into(), b"b".into()], vec![])
        );

        let mut same = Edits::default();
        same.add(one, 1, b"b");
        same.remove(one, 1, b"b");
        same.remove(one, 2, b"a");
        assert!(!same.apply(&mut table));

        let mut gone = Edits::default();
        gone.remove(one, 1, b"a");
        gone.remove(one, 1, b"b");
        assert!(gone.apply(&mut table));
        assert!(table.is_empty());
    }
}
