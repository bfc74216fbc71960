//! The committed object: its tables made or found, its programs loaded.

use std::path::Path;

use aya::{Ebpf, EbpfLoader, maps::MapInfo, programs::Program};
use daymark_abi::{flow, table};

use super::{kernel, tables::Tables};
use crate::DatapathError;

/// What `cargo xtask ebpf` built.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/objects/daymark.o"));

/// Pods of a node, at most: eight times what the kubelet allows for by default.
pub(super) const ENDPOINTS: u32 = 1024;
/// Pod ranges of other nodes, at most: Kubernetes' 5,000 nodes in both families, and some.
pub(super) const PEERS: u32 = 16_384;
/// Ranges that are not masqueraded.
pub(super) const RANGES: u32 = 4096;
/// Ports of the node.
pub(super) const HOST_PORTS: u32 = 16_384;
/// Moments after which a connection that no packet was seen of is gone, whatever protocol it has
/// whose packets do not show where they stand.
pub(super) const LONGEST_UNSEEN: u32 = flow::lifetime(flow::protocol::UDP, flow::OPEN);

/// How many entries tables have that grow with traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sizes {
    /// Of each of the two tables of connections.
    pub(super) flows: u32,
}

impl Sizes {
    /// Some 1/512 of the memory for each table of connections (an entry takes about 128 octets),
    /// between 16,384 and 524,288 entries.
    pub(super) fn for_memory(memory: Option<u64>) -> Sizes {
        let memory = memory.unwrap_or_else(machine_memory);
        let flows = (memory / 512 / 128).clamp(1 << 14, 1 << 19);
        Sizes { flows: 1 << flows.ilog2() }
    }

    fn of(self, name: &str) -> u32 {
        match name {
            "DEVICES" => ENDPOINTS,
            "ENDPOINTS" => 2 * ENDPOINTS,
            "PEERS" => PEERS,
            "RANGES" => RANGES,
            "HOST_PORTS" => HOST_PORTS,
            "SOCKETS" => self.flows / 4,
            "FRAGMENTS" => 8192,
            _ => self.flows,
        }
    }
}

/// Octets of memory that this machine has; as of `/proc/meminfo`, or a gigabyte.
fn machine_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.map_or(1 << 30, |kibibytes| kibibytes * 1024)
}

/// What was loaded.
pub(super) struct Loaded {
    /// The programs, in the kernel.
    pub(super) programs: Ebpf,
    /// The tables.
    pub(super) tables: Tables,
    /// Whether the tables are new.
    pub(super) fresh: bool,
}

/// Loads the object on the tables pinned in a folder; those that are missing are made.
pub(super) fn load(folder: &Path, sizes: &Sizes) -> Result<Loaded, DatapathError> {
    let mut fresh = false;
    let mut loader = EbpfLoader::new();
    // Nothing in the programs depends on the layout of the kernel's own types.
    loader.btf(None);
    for table in table::ALL {
        let pin = folder.join(table.name);
        fresh |= !keep_if_fit(&pin, table)?;
        loader.map_pin_path(table.name, pin);
        if !matches!(table.name, "SETTINGS" | "DROPS" | "TRAFFIC" | "CAUSES" | "EVENTS") {
            loader.map_max_entries(table.name, sizes.of(table.name));
        }
    }
    let mut programs = loader.load(OBJECT).map_err(kernel("loading the eBPF object"))?;
    for (name, program) in programs.programs_mut() {
        into_kernel(name, program)?;
    }
    let tables = Tables::take(&mut programs)?;
    Ok(Loaded { programs, tables, fresh })
}

fn into_kernel(name: &str, program: &mut Program) -> Result<(), DatapathError> {
    let loaded = match program {
        Program::SchedClassifier(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        _ => return Err(kernel(name)("the object has a program of an unknown kind")),
    };
    loaded.map_err(kernel(format!("loading the program {name}")))
}

/// Loads every program on tables of its own, which go again, and gives how many instructions the
/// verifier looked at.
///
/// # Errors
/// [`DatapathError::Kernel`], with the verifier's words.
pub fn verified_instructions() -> Result<Vec<(String, u32)>, DatapathError> {
    let mut loader = EbpfLoader::new();
    let mut programs = loader.btf(None).load(OBJECT).map_err(kernel("loading the eBPF object"))?;
    let mut counts = Vec::new();
    for (name, program) in programs.programs_mut() {
        into_kernel(name, program)?;
        let info = program.info().map_err(kernel(name))?;
        counts.push((name.to_owned(), info.verified_instruction_count().unwrap_or(0)));
    }
    counts.sort();
    Ok(counts)
}

/// Tells whether there is a pinned table that is what the programs take it for. Another one under
/// its name is unpinned: who runs on it goes on doing so.
fn keep_if_fit(pin: &Path, table: &table::Table) -> Result<bool, DatapathError> {
    if !pin.exists() {
        return Ok(false);
    }
    if let Ok(info) = MapInfo::from_pin(pin) {
        let kind = info.map_type().map(|kind| kind as u32).unwrap_or_default();
        // The ring buffer has neither keys nor values, and says so.
        let found = (kind, info.key_size(), info.value_size(), info.map_flags());
        if found == (table.kind, table.key_size, table.value_size, table.flags) {
            return Ok(true);
        }
    }
    std::fs::remove_file(pin).map_err(kernel(pin.display()))?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_names_no_path_of_the_machine_that_built_it() {
        for place in ["/home/", "/root/", "/tmp/", "/work/", "/build/", "/Users/"] {
            let found = OBJECT.windows(place.len()).any(|octets| octets == place.as_bytes());
            assert!(!found, "{place}");
        }
    }

    #[test]
    fn tables_of_connections_grow_with_memory_within_bounds() {
        assert_eq!(Sizes::for_memory(Some(1 << 28)).flows, 1 << 14);
        assert_eq!(Sizes::for_memory(Some(8 << 30)).flows, 1 << 17);
        assert_eq!(Sizes::for_memory(Some(1 << 42)).flows, 1 << 19);
    }
}
