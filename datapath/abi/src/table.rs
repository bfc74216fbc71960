//! The tables: what they are called, how they are made, and the hash over all that is shared.

use crate::{
    Address, Prefix, Shared,
    counter::{self, Count},
    endpoint::{Device, Endpoint, Peer},
    event::Event,
    flow::{Flow, FlowKey, FragmentKey, FragmentPorts},
    host_port::{HostPortKey, SocketKey, Target},
    layout::hashed,
    settings::Settings,
};

/// A table as the kernel makes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table {
    /// Name of the map.
    pub name: &'static str,
    /// `enum bpf_map_type`.
    pub kind: u32,
    /// Octets of a key.
    pub key_size: u32,
    /// Octets of a value; of the ring buffer none.
    pub value_size: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Layout of keys and values.
    layout: [&'static str; 2],
}

const HASH_TABLE: u32 = 1;
const ARRAY: u32 = 2;
const PER_CPU_ARRAY: u32 = 6;
const LRU_HASH: u32 = 9;
const LPM_TRIE: u32 = 11;
const RING_BUFFER: u32 = 27;

/// `BPF_F_NO_PREALLOC`: an element takes memory only while it is there.
pub const NO_PREALLOCATION: u32 = 1;

const fn table<K: Shared, V: Shared>(name: &'static str, kind: u32, flags: u32) -> Table {
    Table {
        name,
        kind,
        key_size: size_of::<K>() as u32,
        value_size: size_of::<V>() as u32,
        flags,
        layout: [K::LAYOUT, V::LAYOUT],
    }
}

/// Every table.
pub const ALL: &[Table] = &[
    table::<u32, Settings>("SETTINGS", ARRAY, 0),
    table::<u32, Device>("DEVICES", HASH_TABLE, NO_PREALLOCATION),
    table::<Address, Endpoint>("ENDPOINTS", HASH_TABLE, NO_PREALLOCATION),
    table::<Prefix, Peer>("PEERS", LPM_TRIE, NO_PREALLOCATION),
    table::<Prefix, u32>("RANGES", LPM_TRIE, NO_PREALLOCATION),
    table::<HostPortKey, Target>("HOST_PORTS", HASH_TABLE, NO_PREALLOCATION),
    table::<SocketKey, Target>("SOCKETS", LRU_HASH, 0),
    table::<FlowKey, Flow>("YOUNG", LRU_HASH, 0),
    table::<FlowKey, Flow>("ESTABLISHED", HASH_TABLE, 0),
    table::<FragmentKey, FragmentPorts>("FRAGMENTS", LRU_HASH, 0),
    table::<u32, Count>("DROPS", PER_CPU_ARRAY, 0),
    table::<u32, Count>("TRAFFIC", PER_CPU_ARRAY, 0),
    table::<u32, u64>("CAUSES", PER_CPU_ARRAY, 0),
    Table {
        name: "EVENTS",
        kind: RING_BUFFER,
        key_size: 0,
        value_size: 0,
        flags: 0,
        layout: ["", Event::LAYOUT],
    },
];

/// Octets of the ring buffer.
pub const EVENTS_SIZE: u32 = 1 << 20;

/// Stands for everything above: two builds with the same hash may share their tables. What values
/// mean is not in it; whoever changes a meaning changes `MEANING`.
pub const HASH: u64 = {
    let mut hash = hashed(0xcbf2_9ce4_8422_2325, MEANING);
    let mut at = 0;
    while at < ALL.len() {
        let table = &ALL[at];
        hash = hashed(hash, table.name);
        hash = hashed(hash, table.layout[0]);
        hash = hashed(hash, table.layout[1]);
        hash = (hash ^ table.kind as u64 ^ ((table.flags as u64) << 32))
            .wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    (hash ^ counter::HOOKS.len() as u64).wrapping_mul(0x0100_0000_01b3)
        ^ counter::CAUSES.len() as u64
};

/// Counts up when values get another meaning without another layout.
const MEANING: &str = "1";
