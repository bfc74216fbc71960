//! The tables, typed, and the changes that take more than one entry.

use std::{collections::BTreeMap, path::Path};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, LpmTrie, MapData, MapError, MapInfo, PerCpuArray, lpm_trie::Key},
};
use daymark_abi::{
    Address, Prefix, Shared,
    counter::Count,
    endpoint::{Device, Endpoint, Peer},
    flow::{Flow, FlowKey, FragmentKey, FragmentPorts},
    host_port::{HostPortKey, SocketKey, Target},
    settings::Settings,
};

use super::{batch, kernel, object, transport};
use crate::{DatapathError, HostPort, address::ip};

/// A type of the abi, as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain<T>(pub(super) T);

#[allow(unsafe_code, reason = "aya can't know the types of the abi")]
// SAFETY: `Shared` types are `repr(C)` without padding, and every pattern of octets is valid.
unsafe impl<T: Shared> Pod for Plain<T> {}

impl<T> From<T> for Plain<T> {
    fn from(value: T) -> Self {
        Plain(value)
    }
}

/// How full a table is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fill {
    /// Name of the table.
    pub table: &'static str,
    /// Entries in it.
    pub entries: u64,
    /// Entries that it has room for.
    pub limit: u32,
    /// Octets of kernel memory that it takes now.
    pub memory: u64,
}

/// See [the module](self).
pub(super) struct Tables {
    pub(super) settings: Array<MapData, Plain<Settings>>,
    pub(super) devices: HashMap<MapData, u32, Plain<Device>>,
    pub(super) endpoints: HashMap<MapData, Plain<Address>, Plain<Endpoint>>,
    pub(super) peers: LpmTrie<MapData, Plain<Address>, Plain<Peer>>,
    pub(super) ranges: LpmTrie<MapData, Plain<Address>, u32>,
    pub(super) host_ports: HashMap<MapData, Plain<HostPortKey>, Plain<Target>>,
    pub(super) drops: PerCpuArray<MapData, Plain<Count>>,
    pub(super) traffic: PerCpuArray<MapData, Plain<Count>>,
    pub(super) causes: PerCpuArray<MapData, u64>,
}

impl Tables {
    /// Takes them out of what was loaded.
    pub(super) fn take(loaded: &mut Ebpf) -> Result<Tables, DatapathError> {
        let mut take = |name: &'static str| {
            loaded.take_map(name).ok_or_else(|| DatapathError::Kernel {
                what: name.to_owned(),
                cause: "the object has no such table".into(),
            })
        };
        Ok(Tables {
            settings: take("SETTINGS")?.try_into()?,
            devices: take("DEVICES")?.try_into()?,
            endpoints: take("ENDPOINTS")?.try_into()?,
            peers: take("PEERS")?.try_into()?,
            ranges: take("RANGES")?.try_into()?,
            host_ports: take("HOST_PORTS")?.try_into()?,
            drops: take("DROPS")?.try_into()?,
            traffic: take("TRAFFIC")?.try_into()?,
            causes: take("CAUSES")?.try_into()?,
        })
    }

    /// Takes back an address, unless another device has it by now.
    pub(super) fn remove_address(
        &mut self,
        address: Address,
        ifindex: u32,
    ) -> Result<(), DatapathError> {
        match self.endpoints.get(&address.into(), 0) {
            Ok(endpoint) if endpoint.0.ifindex == ifindex => {
                unless_missing(self.endpoints.remove(&address.into()))
            }
            _ => Ok(()),
        }
    }

    /// All host ports.
    pub(super) fn host_ports(&self) -> Result<Vec<HostPort>, DatapathError> {
        let mut ports = Vec::new();
        for entry in &self.host_ports {
            let (Plain(key), Plain(target)) = entry?;
            let Some(transport) = transport(key.protocol) else { continue };
            let mut host_address = ip(key.address);
            if key.address.is_none() {
                host_address = std::net::Ipv6Addr::UNSPECIFIED.into();
            }
            ports.push(HostPort {
                transport,
                host_address,
                host_port: key.port.get(),
                pod_address: ip(target.address),
                pod_port: target.port.get(),
            });
        }
        ports.sort();
        Ok(ports)
    }

    /// Makes the table of other nodes' ranges hold exactly these.
    pub(super) fn set_peers(
        &mut self,
        folder: &Path,
        wanted: &BTreeMap<Prefix, Peer>,
    ) -> Result<(), DatapathError> {
        let mut held = BTreeMap::new();
        for entry in &self.peers {
            let (key, peer) = entry?;
            held.insert(plain_prefix(&key), peer.0);
        }
        let changed: Vec<_> = wanted
            .iter()
            .filter(|(prefix, peer)| held.get(*prefix) != Some(*peer))
            .map(|(prefix, peer)| (*prefix, *peer))
            .collect();
        for prefix in held.keys().filter(|prefix| !wanted.contains_key(*prefix)) {
            unless_missing(self.peers.remove(&trie_key(*prefix)))?;
        }
        let map = MapData::from_pin(folder.join("PEERS"))?;
        batch::update(map.fd(), &changed).map_err(full_io("PEERS", object::PEERS))
    }

    /// Makes the table of ranges hold exactly these.
    pub(super) fn set_ranges(
        &mut self,
        wanted: &BTreeMap<Prefix, u32>,
    ) -> Result<(), DatapathError> {
        let mut held = BTreeMap::new();
        for entry in &self.ranges {
            let (key, flags) = entry?;
            held.insert(plain_prefix(&key), flags);
        }
        for (prefix, flags) in
            wanted.iter().filter(|(prefix, flags)| held.get(*prefix) != Some(*flags))
        {
            let inserted = self.ranges.insert(&trie_key(*prefix), flags, 0);
            inserted.map_err(full("RANGES", object::RANGES))?;
        }
        for prefix in held.keys().filter(|prefix| !wanted.contains_key(*prefix)) {
            unless_missing(self.ranges.remove(&trie_key(*prefix)))?;
        }
        Ok(())
    }
}

/// How full the pinned tables are, by walking those that have no fixed number of entries. It needs
/// no lock: what changes meanwhile is counted or not.
pub(super) fn fill(folder: &Path) -> Result<Vec<Fill>, DatapathError> {
    let mut fills = Vec::new();
    for table in daymark_abi::table::ALL {
        let pin = folder.join(table.name);
        let info = MapInfo::from_pin(&pin).map_err(kernel(pin.display()))?;
        let entries = match table.name {
            "DEVICES" => batch::count::<u32, Device>(&pin),
            "ENDPOINTS" => batch::count::<Address, Endpoint>(&pin),
            "PEERS" => batch::count::<Prefix, Peer>(&pin),
            "RANGES" => batch::count::<Prefix, u32>(&pin),
            "HOST_PORTS" => batch::count::<HostPortKey, Target>(&pin),
            "SOCKETS" => batch::count::<SocketKey, Target>(&pin),
            "YOUNG" | "ESTABLISHED" => batch::count::<FlowKey, Flow>(&pin),
            "FRAGMENTS" => batch::count::<FragmentKey, FragmentPorts>(&pin),
            _ => None,
        };
        fills.push(Fill {
            table: table.name,
            entries: entries.map_or(u64::from(info.max_entries()), |entries| entries as u64),
            limit: info.max_entries(),
            memory: batch::memory(&info).unwrap_or(0),
        });
    }
    Ok(fills)
}

fn trie_key(prefix: Prefix) -> Key<Plain<Address>> {
    Key::new(prefix.length, Plain(prefix.address))
}

fn plain_prefix(key: &Key<Plain<Address>>) -> Prefix {
    Prefix { length: key.prefix_len(), address: key.data().0 }
}

/// A missing entry is no error of who removes it.
pub(super) fn unless_missing(removed: Result<(), MapError>) -> Result<(), DatapathError> {
    match removed {
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        Err(MapError::KeyNotFound) => Ok(()),
        other => Ok(other?),
    }
}

/// Tells a full table from other failures.
pub(super) fn full(table: &'static str, limit: u32) -> impl FnOnce(MapError) -> DatapathError {
    move |error| match error {
        MapError::SyscallError(error) => full_io(table, limit)(error.io_error),
        other => other.into(),
    }
}

/// The same for a call of our own.
pub(super) fn full_io(
    table: &'static str,
    limit: u32,
) -> impl FnOnce(std::io::Error) -> DatapathError {
    move |error| match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::TOOBIG | rustix::io::Errno::NOSPC) => {
            DatapathError::Full { table, limit }
        }
        _ => kernel(table)(error),
    }
}

/// Moments of 2^30 ns since boot, as programs count them.
pub(super) fn moment() -> u32 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let nanoseconds = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    (nanoseconds >> 30) as u32
}
