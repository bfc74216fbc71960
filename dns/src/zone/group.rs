//! A group: all names of one Service, encoded in one run of octets.
//!
//! Layout (integers little-endian, offsets from the group's start):
//! `u8` key length, key (`\x03web\x04shop`) · `u8` flags · `u16` alias length, alias (wire) ·
//! `u32` number of nodes · an `u32` offset per node, sorted by node name · nodes. The first node is
//! the Service's own name (empty). A node is: `u8` name length, name (`\x05_http\x04_tcp`) · four
//! `u16` counts · IPv4 addresses · IPv6 addresses · SRV entries (`u16` weight, `u16` port, `u32`
//! offset of the target node) · glue (`u32` offset of the target node, `u8` length, address), unless
//! its count says that it is the targets' own addresses.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

const HEADLESS: u8 = 1;
const ALIAS: u8 = 2;

/// Names of one Service before encoding.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupDraft {
    /// Folded labels of Service and namespace in wire form, no root: `\x03web\x04shop`.
    pub key: Vec<u8>,
    /// A headless Service (zone-scoped names exist below it).
    pub headless: bool,
    /// ExternalName's target in wire form with root, case as written.
    pub alias: Option<Vec<u8>>,
    /// Names below (and at: the empty one) the Service, by folded relative wire name.
    pub nodes: BTreeMap<Vec<u8>, NodeDraft>,
}

/// Records of one name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeDraft {
    /// A records, each once, in order.
    pub v4: Vec<Ipv4Addr>,
    /// AAAA records, each once, in order.
    pub v6: Vec<Ipv6Addr>,
    /// SRV records, each (target, port) once.
    pub srv: Vec<SrvDraft>,
    /// Address records of the SRV targets, each once.
    pub glue: Vec<(Vec<u8>, IpAddr)>,
}

/// An SRV record; its target is another node of the group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SrvDraft {
    /// Weight; the priority is always 0.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Relative wire name of the target.
    pub target: Vec<u8>,
}

impl NodeDraft {
    /// Adds an address record unless it is there.
    pub fn add(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(a) if !self.v4.contains(&a) => self.v4.push(a),
            IpAddr::V6(a) if !self.v6.contains(&a) => self.v6.push(a),
            _ => {}
        }
    }
}

/// Most records of one kind at one name: more than fit any DNS message (65,535 octets).
pub const MAX_RECORDS: usize = u16::MAX as usize - 1;
/// Count of glue that is not stored: the addresses of each target in turn, as they nearly always are.
const OF_TARGETS: u16 = u16::MAX;

impl GroupDraft {
    /// The node of this relative name.
    pub fn node(&mut self, name: &[u8]) -> &mut NodeDraft {
        if !self.nodes.contains_key(name) {
            self.nodes.insert(name.to_vec(), NodeDraft::default());
        }
        self.nodes.get_mut(name).expect("just inserted")
    }

    /// Appends the encoded group to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(self.key.len() as u8);
        out.extend(&self.key);
        out.push(
            if self.headless { HEADLESS } else { 0 } | if self.alias.is_some() { ALIAS } else { 0 },
        );
        let alias = self.alias.as_deref().unwrap_or_default();
        out.extend((alias.len() as u16).to_le_bytes());
        out.extend(alias);
        out.extend((self.nodes.len() as u32).to_le_bytes());
        let mut offset = (out.len() - start + 4 * self.nodes.len()) as u32;
        let mut offsets = BTreeMap::new();
        let with_glue: Vec<bool> = self.nodes.values().map(|node| self.stores_glue(node)).collect();
        for ((name, node), with_glue) in self.nodes.iter().zip(&with_glue) {
            out.extend(offset.to_le_bytes());
            offsets.insert(name.as_slice(), offset);
            offset += node.encoded_len(name, *with_glue) as u32;
        }
        for ((name, node), with_glue) in self.nodes.iter().zip(&with_glue) {
            node.encode(name, &offsets, *with_glue, out);
        }
    }

    /// Whether a node's glue differs from what its SRV records' targets have.
    fn stores_glue(&self, node: &NodeDraft) -> bool {
        let runs = node.srv.chunk_by(|a, b| a.target == b.target);
        let of_targets = runs.flat_map(|run| {
            let target = self.nodes.get(&run[0].target).into_iter();
            let addresses = target.flat_map(|target| {
                let v4 = target.v4.iter().copied().map(IpAddr::V4);
                v4.chain(target.v6.iter().copied().map(IpAddr::V6))
            });
            addresses.map(|address| (&run[0].target, address))
        });
        !of_targets.eq(node.glue.iter().map(|(target, address)| (target, *address)))
    }
}

impl NodeDraft {
    fn encoded_len(&self, name: &[u8], with_glue: bool) -> usize {
        let glue = self.glue.iter().filter(|_| with_glue);
        let glue: usize = glue.map(|(_, a)| 5 + if a.is_ipv4() { 4 } else { 16 }).sum();
        9 + name.len() + 4 * self.v4.len() + 16 * self.v6.len() + 8 * self.srv.len() + glue
    }

    fn encode(
        &self,
        name: &[u8],
        offsets: &BTreeMap<&[u8], u32>,
        with_glue: bool,
        out: &mut Vec<u8>,
    ) {
        let target = |name: &Vec<u8>| {
            offsets.get(name.as_slice()).copied().unwrap_or_default().to_le_bytes()
        };
        out.push(name.len() as u8);
        out.extend(name);
        let glue = match with_glue || self.glue.is_empty() {
            true => self.glue.len(),
            false => usize::from(OF_TARGETS),
        };
        debug_assert!(self.glue.len() <= MAX_RECORDS);
        for count in [self.v4.len(), self.v6.len(), self.srv.len()] {
            debug_assert!(count <= MAX_RECORDS);
            out.extend((count as u16).to_le_bytes());
        }
        out.extend((glue as u16).to_le_bytes());
        out.extend(self.v4.iter().flat_map(Ipv4Addr::octets));
        out.extend(self.v6.iter().flat_map(Ipv6Addr::octets));
        for srv in &self.srv {
            out.extend(srv.weight.to_le_bytes());
            out.extend(srv.port.to_le_bytes());
            out.extend(target(&srv.target));
        }
        for (name, address) in self.glue.iter().filter(|_| with_glue) {
            out.extend(target(name));
            match address {
                IpAddr::V4(a) => {
                    out.push(4);
                    out.extend(a.octets());
                }
                IpAddr::V6(a) => {
                    out.push(16);
                    out.extend(a.octets());
                }
            }
        }
    }
}

/// An encoded group. Borrowed from a shard; every access is bounds-checked by slicing.
#[derive(Clone, Copy, Debug)]
pub struct Group<'t> {
    /// Octets from the group's first to the end of the shard.
    octets: &'t [u8],
    head: usize,
}

/// One name of a group.
#[derive(Clone, Copy, Debug)]
pub struct Node<'t> {
    group: Group<'t>,
    name: &'t [u8],
    counts: [u16; 4],
    records: &'t [u8],
}

/// An SRV record as stored.
#[derive(Clone, Copy, Debug)]
pub struct Srv<'t> {
    /// Weight.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// The target's relative wire name.
    pub target: &'t [u8],
}

fn u16_le(octets: &[u8], at: usize) -> u16 {
    octets.get(at..at + 2).map_or(0, |o| u16::from_le_bytes([o[0], o[1]]))
}

fn u32_le(octets: &[u8], at: usize) -> u32 {
    octets.get(at..at + 4).map_or(0, |o| u32::from_le_bytes([o[0], o[1], o[2], o[3]]))
}

impl<'t> Group<'t> {
    pub(crate) fn at(octets: &'t [u8]) -> Self {
        Group { head: 1 + usize::from(octets[0]), octets }
    }

    /// Folded labels of Service and namespace.
    pub fn key(&self) -> &'t [u8] {
        &self.octets[1..self.head]
    }

    /// Whether the Service is headless.
    pub fn headless(&self) -> bool {
        self.octets[self.head] & HEADLESS != 0
    }

    /// ExternalName's target in wire form.
    pub fn alias(&self) -> Option<&'t [u8]> {
        let len = usize::from(u16_le(self.octets, self.head + 1));
        (self.octets[self.head] & ALIAS != 0)
            .then(|| &self.octets[self.head + 3..self.head + 3 + len])
    }

    /// The node of this folded relative name.
    pub fn node(&self, name: &[u8]) -> Option<Node<'t>> {
        let (mut low, mut high) = (0, self.len());
        if name.is_empty() {
            // The Service's own name sorts first: the common question needs no search.
            high = high.min(1);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            let node = self.nth(middle);
            match node.name.cmp(name) {
                std::cmp::Ordering::Equal => return Some(node),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        u32_le(self.octets, self.table()) as usize
    }

    /// Whether the group has no names (an alias has none of its own).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'t>> + use<'t> {
        let group = *self;
        (0..self.len()).map(move |index| group.nth(index))
    }

    fn table(&self) -> usize {
        self.head + 3 + usize::from(u16_le(self.octets, self.head + 1))
    }

    fn nth(&self, index: usize) -> Node<'t> {
        self.node_at(u32_le(self.octets, self.table() + 4 + 4 * index) as usize)
    }

    fn node_at(&self, at: usize) -> Node<'t> {
        let name = self.name_at(at);
        let counts = at + 1 + name.len();
        Node {
            group: *self,
            name,
            counts: [0, 2, 4, 6].map(|i| u16_le(self.octets, counts + i)),
            records: &self.octets[counts + 8..],
        }
    }

    fn name_at(&self, at: usize) -> &'t [u8] {
        &self.octets[at + 1..at + 1 + usize::from(self.octets[at])]
    }
}

impl<'t> Node<'t> {
    /// Relative wire name.
    pub fn name(&self) -> &'t [u8] {
        self.name
    }

    /// The group it belongs to.
    pub fn group(&self) -> Group<'t> {
        self.group
    }

    /// A records, four octets each.
    pub fn v4(&self) -> &'t [[u8; 4]] {
        self.records[..4 * usize::from(self.counts[0])].as_chunks().0
    }

    /// AAAA records, sixteen octets each.
    pub fn v6(&self) -> &'t [[u8; 16]] {
        let from = 4 * usize::from(self.counts[0]);
        self.records[from..from + 16 * usize::from(self.counts[1])].as_chunks().0
    }

    /// SRV records.
    pub fn srv(&self) -> impl ExactSizeIterator<Item = Srv<'t>> + use<'t> {
        let group = self.group;
        self.srv_entries().iter().map(move |entry| Srv {
            weight: u16_le(entry, 0),
            port: u16_le(entry, 2),
            target: group.name_at(u32_le(entry, 4) as usize),
        })
    }

    /// Addresses of the SRV targets: target's relative name, address octets (4 or 16).
    pub fn glue(&self) -> impl Iterator<Item = (&'t [u8], &'t [u8])> + use<'t> {
        let group = self.group;
        let (stored, of_targets) = match self.counts[3] {
            OF_TARGETS => (0, self.srv_entries()),
            stored => (stored, &[][..]),
        };
        let mut rest = &self.records[self.srv_start() + 8 * usize::from(self.counts[2])..];
        let stored = (0..stored).map(move |_| {
            let target = group.name_at(u32_le(rest, 0) as usize);
            let size = usize::from(rest[4]);
            let address = &rest[5..5 + size];
            rest = &rest[5 + size..];
            (target, address)
        });
        let of_targets = of_targets.chunk_by(|a, b| a[4..] == b[4..]).flat_map(move |run| {
            let target = group.node_at(u32_le(&run[0], 4) as usize);
            let v4 = target.v4().iter().map(<[u8; 4]>::as_slice);
            let all = v4.chain(target.v6().iter().map(<[u8; 16]>::as_slice));
            all.map(move |address| (target.name, address))
        });
        stored.chain(of_targets)
    }

    fn srv_entries(&self) -> &'t [[u8; 8]] {
        let from = self.srv_start();
        self.records[from..from + 8 * usize::from(self.counts[2])].as_chunks().0
    }

    /// Whether the name has no records: an empty non-terminal (RFC 8020).
    pub fn is_bare(&self) -> bool {
        self.counts == [0; 4]
    }

    fn srv_start(&self) -> usize {
        4 * usize::from(self.counts[0]) + 16 * usize::from(self.counts[1])
    }
}

#[cfg(test)]
mod tests;
