//! One state of a zone: immutable, a few runs of octets whatever the number of records, swapped whole.
//!
//! Nodes are sorted by their keys, so that a name is found by halving and what is below it follows it. A key has
//! the labels between name and zone in reverse, folded, each ended by a zero octet (0 and 1 within labels are
//! written 1 1 and 1 2): octet order is the canonical order of RFC 4034 §6.1, and a name's key begins with the
//! keys of all names above it.

use std::ops::Range;

use hickory_proto::{
    rr::{
        Name, RData, Record, RecordType,
        rdata::{NULL, SOA},
    },
    serialize::binary::{BinDecoder, Restrict},
};

use crate::wire::name::labels;

/// A zone.
#[derive(Clone, PartialEq, Debug)]
pub struct ZoneData {
    pub(super) origin: Name,
    pub(super) soa: SOA,
    pub(super) soa_ttl: u32,
    /// Keys of all nodes.
    pub(super) keys: Box<[u8]>,
    /// Labels of all nodes left of the zone in wire form, as written.
    pub(super) names: Box<[u8]>,
    /// By key, with one behind the last.
    pub(super) nodes: Box<[NodeAt]>,
    /// By node and type, with one behind the last.
    pub(super) sets: Box<[SetAt]>,
    /// Records: TTL and length of data (big-endian, 4 and 2 octets), data. Names in data point back within it at
    /// most.
    pub(super) records: Box<[u8]>,
    pub(super) count: usize,
    pub(super) signed: bool,
}

/// Where a node begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NodeAt {
    pub(super) key: u32,
    pub(super) name: u32,
    pub(super) set: u32,
}

/// Where a set of records begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SetAt {
    pub(super) rtype: u16,
    pub(super) record: u32,
}

/// A name with records.
#[derive(Clone, Copy, Debug)]
pub struct Node<'z> {
    zone: &'z ZoneData,
    index: usize,
}

/// The records of one type at a name.
#[derive(Clone, Copy, Debug)]
pub struct Set<'z> {
    /// Their type.
    pub rtype: RecordType,
    records: &'z [u8],
}

impl ZoneData {
    /// The zone's name.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// Its SOA record's data.
    pub fn soa(&self) -> &SOA {
        &self.soa
    }

    /// Its SOA record with this name.
    pub fn soa_record(&self, owner: Name) -> Record {
        Record::from_rdata(owner, self.soa_ttl, RData::SOA(self.soa.clone()))
    }

    /// Records in it.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has no record. Never: it has a SOA record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it has NSEC records (RFC 4034).
    pub fn is_signed(&self) -> bool {
        self.signed
    }

    /// All names, in canonical order. The zone's own is the first.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = Node<'_>> {
        (0..self.nodes.len() - 1).map(|index| Node { zone: self, index })
    }

    /// The name at this place among all.
    pub fn nth(&self, index: usize) -> Option<Node<'_>> {
        (index < self.nodes.len() - 1).then_some(Node { zone: self, index })
    }

    /// The name with this key.
    pub fn node(&self, key: &[u8]) -> Option<Node<'_>> {
        self.place(key).ok().map(|index| Node { zone: self, index })
    }

    /// Whether there are names below the one with this key, which may have no records itself.
    pub fn has_below(&self, key: &[u8]) -> bool {
        let next = match self.place(key) {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        next < self.nodes.len() - 1 && self.key(next).starts_with(key)
    }

    /// The last name before or at this key that has an NSEC record.
    pub fn covering(&self, key: &[u8]) -> Option<Node<'_>> {
        if !self.signed {
            return None;
        }
        let behind = match self.place(key) {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        let mut before = (0..behind).rev().map(|index| Node { zone: self, index });
        before.find(|node| node.set(RecordType::NSEC).is_some())
    }

    fn place(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.nodes.len() - 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    fn key(&self, index: usize) -> &[u8] {
        &self.keys[self.nodes[index].key as usize..self.nodes[index + 1].key as usize]
    }
}

impl<'z> Node<'z> {
    /// The name's key.
    pub fn key(&self) -> &'z [u8] {
        self.zone.key(self.index)
    }

    /// Whether it is the zone's own name.
    pub fn is_apex(&self) -> bool {
        self.key().is_empty()
    }

    /// The name as it was written.
    pub fn name(&self) -> Name {
        let nodes = &self.zone.nodes;
        let range = nodes[self.index].name as usize..nodes[self.index + 1].name as usize;
        let own = labels(&self.zone.names[range]);
        let all = own.into_iter().chain(self.zone.origin.iter());
        // It was a name when it was put in.
        Name::from_labels(all).unwrap_or_else(|_| self.zone.origin.clone())
    }

    /// Records by type.
    pub fn sets(&self) -> impl Iterator<Item = Set<'z>> + use<'z> {
        let zone = self.zone;
        self.range().map(move |index| zone.set_at(index))
    }

    /// The records of this type.
    pub fn set(&self, rtype: RecordType) -> Option<Set<'z>> {
        let wanted = u16::from(rtype);
        let range = self.range();
        let sets = &self.zone.sets[range.clone()];
        let at = sets.iter().position(|set| set.rtype == wanted)?;
        Some(self.zone.set_at(range.start + at))
    }

    /// The signatures (RRSIG) over the records of this type.
    pub fn signatures(&self, rtype: RecordType) -> impl Iterator<Item = (u32, RData)> + use<'z> {
        let covered = u16::from(rtype).to_be_bytes();
        let all = self.set(RecordType::RRSIG).into_iter().flat_map(|set| set.raw());
        all.filter(move |(_, data)| data.starts_with(&covered))
            .map(|(ttl, data)| (ttl, decoded(RecordType::RRSIG, data)))
    }

    fn range(&self) -> Range<usize> {
        let nodes = &self.zone.nodes;
        nodes[self.index].set as usize..nodes[self.index + 1].set as usize
    }
}

impl ZoneData {
    fn set_at(&self, index: usize) -> Set<'_> {
        let range = self.sets[index].record as usize..self.sets[index + 1].record as usize;
        let rtype = RecordType::from(self.sets[index].rtype);
        Set { rtype, records: &self.records[range] }
    }
}

impl<'z> Set<'z> {
    /// TTL and data of each record.
    pub fn records(&self) -> impl Iterator<Item = (u32, RData)> + use<'z> {
        let rtype = self.rtype;
        self.raw().map(move |(ttl, data)| (ttl, decoded(rtype, data)))
    }

    fn raw(&self) -> impl Iterator<Item = (u32, &'z [u8])> + use<'z> {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            let (head, behind) = rest.split_first_chunk::<6>()?;
            let len = usize::from(u16::from_be_bytes([head[4], head[5]]));
            let (data, behind) = behind.split_at(len);
            rest = behind;
            Some((u32::from_be_bytes([head[0], head[1], head[2], head[3]]), data))
        })
    }
}

/// Data off the wire. The builder lets in only what can be decoded.
fn decoded(rtype: RecordType, data: &[u8]) -> RData {
    decode(rtype, data)
        .unwrap_or_else(|| RData::Unknown { code: rtype, rdata: NULL::with(data.to_vec()) })
}

/// Data off the wire, if it is of the type.
pub(super) fn decode(rtype: RecordType, data: &[u8]) -> Option<RData> {
    if data.is_empty() {
        return Some(RData::Unknown { code: rtype, rdata: NULL::new() });
    }
    let len = u16::try_from(data.len()).ok()?;
    RData::read(&mut BinDecoder::new(data), rtype, Restrict::new(len)).ok()
}

/// Adds a label to a key.
pub fn push_key(key: &mut Vec<u8>, label: &[u8]) {
    for octet in label {
        match octet.to_ascii_lowercase() {
            low @ 0..=1 => key.extend([1, low + 1]),
            other => key.push(other),
        }
    }
    key.push(0);
}

/// The key of a name in the zone; `None` if it is outside.
pub fn key_of(name: &Name, origin: &Name) -> Option<Vec<u8>> {
    if !origin.zone_of(name) {
        return None;
    }
    let above = name.iter().len() - origin.iter().len();
    let labels: Vec<&[u8]> = name.iter().take(above).collect();
    let mut key = Vec::with_capacity(name.len());
    labels.iter().rev().for_each(|label| push_key(&mut key, label));
    Some(key)
}
