//! A shard: an immutable run of encoded entries with a hash index, and the hash that spreads keys.
//!
//! Every entry begins with its key: one octet of length, then the key. What follows is the business
//! of [`super::group`] and [`super::reverse`].

use std::{
    hash::BuildHasher,
    sync::{Arc, LazyLock},
};

use foldhash::fast::FixedState;

/// Shards of a directory. A power of two: the hash's upper bits choose.
pub const SHARDS: usize = 1024;

/// Seeded once per process: names in the cluster are chosen by tenants.
static HASHER: LazyLock<FixedState> = LazyLock::new(|| FixedState::with_seed(rand::random()));

/// Hash of a folded key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The hash of `key`.
    pub fn of(key: &[u8]) -> Self {
        KeyHash(HASHER.hash_one(key))
    }

    /// Which shard the key belongs to.
    pub fn shard(self) -> usize {
        (self.0 >> 54) as usize
    }

    fn slot(self) -> u32 {
        self.0 as u32
    }
}

/// Entries whose keys hash to one shard.
#[derive(Clone, Debug, Default)]
pub struct Shard {
    /// Open addressing over (hash, offset + 1); empty slots are (0, 0). Length 0 or a power of two.
    index: Box<[(u32, u32)]>,
    octets: Box<[u8]>,
    len: usize,
}

/// A key and the encoded entry that it shall have, or none any more.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

impl Shard {
    /// The entry of `key`: its octets and, behind them, those of the entries that follow.
    pub fn get(&self, hash: KeyHash, key: &[u8]) -> Option<&[u8]> {
        let mask = self.index.len().checked_sub(1)?;
        let mut slot = hash.slot() as usize & mask;
        loop {
            let (tag, offset) = self.index[slot];
            let offset = offset.checked_sub(1)? as usize;
            if tag == hash.slot() {
                let entry = &self.octets[offset..];
                if key_of(entry) == key {
                    return Some(entry);
                }
            }
            slot = (slot + 1) & mask;
        }
    }

    /// All entries, in no order; each with the octets of those that follow.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.index
            .iter()
            .filter_map(|(_, offset)| offset.checked_sub(1))
            .map(|offset| &self.octets[offset as usize..])
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Octets it takes in memory, beside its own size.
    pub fn heap(&self) -> usize {
        self.octets.len() + self.index.len() * size_of::<(u32, u32)>()
    }

    /// A shard of this one's entries without those of `changes`' keys, and with those of `changes`
    /// that have an encoding. `scratch` is reused between calls.
    pub fn rebuilt<'c>(
        &self,
        changes: impl ExactSizeIterator<Item = &'c Change> + Clone,
        scratch: &mut Vec<u8>,
    ) -> Shard {
        scratch.clear();
        let mut offsets = Vec::with_capacity(self.len + changes.len());
        for entry in self.spans() {
            let key = key_of(entry);
            if !changes.clone().any(|(changed, _)| changed == key) {
                offsets.push((KeyHash::of(key), scratch.len() as u32));
                scratch.extend(entry);
            }
        }
        for (key, encoded) in changes {
            if let Some(encoded) = encoded {
                offsets.push((KeyHash::of(key), scratch.len() as u32));
                scratch.extend(encoded);
            }
        }
        Shard { index: index(&offsets), octets: scratch.as_slice().into(), len: offsets.len() }
    }

    /// Whether `key` has exactly this entry (or none).
    pub fn holds(&self, hash: KeyHash, key: &[u8], encoded: Option<&[u8]>) -> bool {
        match (self.get(hash, key), encoded) {
            (None, None) => true,
            // Encodings say their own length, so a prefix of equal octets is an equal entry.
            (Some(entry), Some(encoded)) => entry.starts_with(encoded),
            _ => false,
        }
    }

    /// Entries in the order they lie in, each with its own octets only.
    fn spans(&self) -> impl Iterator<Item = &[u8]> {
        let mut starts: Vec<usize> =
            self.index.iter().filter_map(|(_, o)| o.checked_sub(1)).map(|o| o as usize).collect();
        starts.sort_unstable();
        let ends: Vec<usize> = starts.iter().skip(1).copied().chain([self.octets.len()]).collect();
        starts.into_iter().zip(ends).map(|(start, end)| &self.octets[start..end])
    }
}

fn key_of(entry: &[u8]) -> &[u8] {
    &entry[1..1 + usize::from(entry[0])]
}

/// Shards of a branch, and branches.
const FAN: usize = 32;
const _: () = assert!(FAN * FAN == SHARDS);

type Branch = Arc<[Arc<Shard>; FAN]>;

/// A directory of [`SHARDS`] shards, shared between successive states. Two levels of it, because a
/// change copies the lists that it is in: twice 32 pointers whose counts have to be raised, and
/// lowered with the state before, are not noticed, but 1,024 took longer than the change itself.
#[derive(Clone, Debug)]
pub struct Shards(Arc<[Branch; FAN]>);

impl Default for Shards {
    fn default() -> Self {
        let empty = Arc::new(Shard::default());
        let branch: Branch = Arc::new(std::array::from_fn(|_| Arc::clone(&empty)));
        Shards(Arc::new(std::array::from_fn(|_| Arc::clone(&branch))))
    }
}

impl Shards {
    /// The entry of `key`, see [`Shard::get`].
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let hash = KeyHash::of(key);
        self.at(hash.shard()).get(hash, key)
    }

    fn at(&self, shard: usize) -> &Shard {
        &self.0[shard / FAN][shard % FAN]
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.0.iter().flat_map(|branch| branch.iter().map(Arc::as_ref))
    }

    /// All entries, see [`Shard::entries`].
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.shards().flat_map(Shard::entries)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.shards().map(Shard::len).sum()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.shards().all(Shard::is_empty)
    }

    /// Octets of heap that the entries take.
    pub fn heap(&self) -> usize {
        self.shards().map(Shard::heap).sum()
    }

    /// Makes the change of each item, rebuilding the shards they touch; tells whether anything
    /// differs now. An item says by its key's hash to which shard it belongs (`None`: to none), and
    /// its change is made when that shard's turn comes: what is drafted of many items at a time
    /// would leave holes in the heap. No two items may have the same key.
    pub fn apply<T>(
        &mut self,
        items: &[T],
        hash: impl Fn(&T) -> Option<KeyHash>,
        change: impl Fn(&T, &Self) -> Option<Change>,
    ) -> bool {
        let placed = |(index, item)| Some((hash(item)?.shard(), index));
        let mut order: Vec<(usize, usize)> = items.iter().enumerate().filter_map(placed).collect();
        order.sort_unstable();
        let (mut changes, mut scratch, mut differs) = (Vec::new(), Vec::new(), false);
        for run in order.chunk_by(|(a, _), (b, _)| a == b) {
            let place = run[0].0;
            let shard = self.at(place);
            let made = run.iter().filter_map(|(_, index)| change(&items[*index], self));
            changes.clear();
            changes.extend(
                made.filter(|(key, encoded)| {
                    !shard.holds(KeyHash::of(key), key, encoded.as_deref())
                }),
            );
            if !changes.is_empty() {
                let rebuilt = Arc::new(shard.rebuilt(changes.iter(), &mut scratch));
                let branch = &mut Arc::make_mut(&mut self.0)[place / FAN];
                Arc::make_mut(branch)[place % FAN] = rebuilt;
                differs = true;
            }
        }
        differs
    }
}

/// At most half full, so that a miss ends soon.
fn index(offsets: &[(KeyHash, u32)]) -> Box<[(u32, u32)]> {
    if offsets.is_empty() {
        return Box::default();
    }
    let size = (offsets.len() * 2).next_power_of_two();
    let mut index = vec![(0, 0); size].into_boxed_slice();
    for (hash, offset) in offsets {
        let mut slot = hash.slot() as usize & (size - 1);
        while index[slot].1 != 0 {
            slot = (slot + 1) & (size - 1);
        }
        index[slot] = (hash.slot(), offset + 1);
    }
    index
}

#[cfg(test)]
mod tests {
    use super::{
        super::group::{Group, GroupDraft},
        *,
    };

    fn encoded(key: &[u8], mark: u8) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut draft = GroupDraft { key: key.to_vec(), ..GroupDraft::default() };
        draft.node(b"").add([10, 0, 0, mark].into());
        let mut octets = Vec::new();
        draft.encode(&mut octets);
        (key.to_vec(), Some(octets))
    }

    fn mark(shard: &Shard, key: &[u8]) -> Option<u8> {
        shard.get(KeyHash::of(key), key).map(|entry| Group::at(entry).node(b"").unwrap().v4()[0][3])
    }

    #[test]
    fn a_rebuilt_shard_has_what_changed_and_what_did_not() {
        let mut scratch = Vec::new();
        let keys: Vec<Vec<u8>> = (0..40).map(|i| format!("\x03a{i:02}").into_bytes()).collect();
        let all: Vec<_> = keys.iter().map(|key| encoded(key, 1)).collect();
        let shard = Shard::default().rebuilt(all.iter(), &mut scratch);
        assert_eq!(shard.len(), 40);
        let gone = (keys[3].clone(), None);
        let shard = shard.rebuilt([gone, encoded(&keys[5], 2)].iter(), &mut scratch);
        assert_eq!((shard.len(), shard.entries().count()), (39, 39));
        assert_eq!(mark(&shard, &keys[3]), None);
        assert_eq!(mark(&shard, &keys[5]), Some(2));
        assert!(keys[6..].iter().all(|key| mark(&shard, key) == Some(1)));
        assert_eq!(mark(&Shard::default(), &keys[0]), None);
    }
}
