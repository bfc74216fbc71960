//! The tables, as `daymark_abi::table` describes them. Sizes are set when they are loaded.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
};
use daymark_abi::{
    Address,
    counter::{self, Count},
    endpoint::{Device, Endpoint, Peer},
    flow::{Flow, FlowKey, FragmentKey, FragmentPorts},
    host_port::{HostPortKey, SocketKey, Target},
    settings::Settings,
    table::{EVENTS_SIZE, NO_PREALLOCATION},
};

use crate::packet::Packet;

/// A size that the loader replaces.
const SET_AT_LOAD: u32 = 1;

#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map]
pub static DEVICES: HashMap<u32, Device> = HashMap::with_max_entries(SET_AT_LOAD, NO_PREALLOCATION);
#[map]
pub static ENDPOINTS: HashMap<Address, Endpoint> =
    HashMap::with_max_entries(SET_AT_LOAD, NO_PREALLOCATION);
#[map]
pub static PEERS: LpmTrie<Address, Peer> = LpmTrie::with_max_entries(SET_AT_LOAD, NO_PREALLOCATION);
#[map]
pub static RANGES: LpmTrie<Address, u32> = LpmTrie::with_max_entries(SET_AT_LOAD, NO_PREALLOCATION);
#[map]
pub static HOST_PORTS: HashMap<HostPortKey, Target> =
    HashMap::with_max_entries(SET_AT_LOAD, NO_PREALLOCATION);
#[map]
pub static SOCKETS: LruHashMap<SocketKey, Target> = LruHashMap::with_max_entries(SET_AT_LOAD, 0);
#[map]
pub static YOUNG: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(SET_AT_LOAD, 0);
#[map]
pub static ESTABLISHED: HashMap<FlowKey, Flow> = HashMap::with_max_entries(SET_AT_LOAD, 0);
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentPorts> =
    LruHashMap::with_max_entries(SET_AT_LOAD, 0);
#[map]
pub static DROPS: PerCpuArray<Count> = PerCpuArray::with_max_entries(counter::DROP_PLACES, 0);
#[map]
pub static TRAFFIC: PerCpuArray<Count> =
    PerCpuArray::with_max_entries(counter::HOOKS.len() as u32, 0);
#[map]
pub static CAUSES: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(counter::CAUSES.len() as u32, 0);
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_SIZE, 0);

/// The packet at hand, one for each CPU: programs of one CPU do not interrupt each other. It is no
/// variable, because the verifier walks every way through a program once for each set of values
/// that it knows of the variables, and what lies in a table it does not know.
#[map]
pub static PACKET: PerCpuArray<Packet> = PerCpuArray::with_max_entries(1, 0);
