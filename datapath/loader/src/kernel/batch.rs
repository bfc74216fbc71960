//! Many entries with one system call (`BPF_MAP_*_BATCH`), which aya does not have.

#![allow(unsafe_code, reason = "bpf(2) takes pointers")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::Path,
};

use aya::maps::{MapData, MapInfo};
use daymark_abi::Shared;

/// `enum bpf_cmd`.
const LOOKUP_BATCH: u32 = 24;
const UPDATE_BATCH: u32 = 26;
const DELETE_BATCH: u32 = 27;

/// Entries for one call when a table is read: big enough for any bucket of a hash table.
const AT_ONCE: usize = 4096;

/// `union bpf_attr`, its part for batches.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Calls the kernel; gives how many entries were handled, and how it ended.
fn call(command: u32, attributes: &mut Attributes) -> (usize, io::Result<()>) {
    let size = size_of::<Attributes>();
    // SAFETY: the attributes are of this size and outlive the call; what they point to is vouched
    // for by the functions below.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size) };
    let ended = if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    (attributes.count as usize, ended)
}

/// Inserts or replaces all entries.
pub(super) fn update<K: Shared, V: Shared>(map: impl AsFd, entries: &[(K, V)]) -> io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let (keys, values): (Vec<K>, Vec<V>) = entries.iter().copied().unzip();
    let mut done = 0;
    while done < entries.len() {
        let mut attributes = Attributes {
            keys: keys[done..].as_ptr() as u64,
            values: values[done..].as_ptr() as u64,
            count: (entries.len() - done) as u32,
            map_fd: descriptor(&map),
            ..Attributes::default()
        };
        // Both arrays have `count` elements, of the map's sizes: `Shared` types are the map's.
        let (count, ended) = call(UPDATE_BATCH, &mut attributes);
        done += count;
        ended?;
    }
    Ok(())
}

/// Walks a hash table, some thousand entries at a time. What changes meanwhile may be missed or seen
/// twice.
pub(super) fn walk<K: Shared + Default, V: Shared + Default>(
    map: impl AsFd,
    mut each: impl FnMut(&K, &V),
) -> io::Result<()> {
    let mut keys = vec![K::default(); AT_ONCE];
    let mut values = vec![V::default(); AT_ONCE];
    let mut position = [0u64; 8];
    let mut started = false;
    loop {
        let mut next = position;
        let mut attributes = Attributes {
            in_batch: if started { position.as_ptr() as u64 } else { 0 },
            out_batch: next.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: AT_ONCE as u32,
            map_fd: descriptor(&map),
            ..Attributes::default()
        };
        // Both arrays have `count` elements of the map's sizes; a position is at most a key, and no
        // key is longer than `position`.
        let (count, ended) = call(LOOKUP_BATCH, &mut attributes);
        let over = match ended {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        for at in 0..count.min(AT_ONCE) {
            each(&keys[at], &values[at]);
        }
        if over {
            return Ok(());
        }
        (position, started) = (next, true);
    }
}

/// Removes all of these keys; those that are gone already are skipped.
pub(super) fn remove<K: Shared>(map: impl AsFd, keys: &[K]) -> io::Result<()> {
    let mut done = 0;
    while done < keys.len() {
        let mut attributes = Attributes {
            keys: keys[done..].as_ptr() as u64,
            count: (keys.len() - done) as u32,
            map_fd: descriptor(&map),
            ..Attributes::default()
        };
        // The array has `count` elements of the map's key size.
        let (count, ended) = call(DELETE_BATCH, &mut attributes);
        done += count;
        match ended {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => done += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Opens a pinned hash table and counts its entries by walking them.
pub(super) fn count<K: Shared + Default, V: Shared + Default>(pin: &Path) -> Option<usize> {
    let map = MapData::from_pin(pin).ok()?;
    let mut entries = 0;
    walk(map.fd(), |_: &K, _: &V| entries += 1).ok()?;
    Some(entries)
}

/// Octets of kernel memory that a map takes (`memlock` of its descriptor's `fdinfo`).
pub(super) fn memory(info: &MapInfo) -> Option<u64> {
    let map = info.fd().ok()?;
    let path = format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
}

fn descriptor(map: &impl AsFd) -> u32 {
    let descriptor: BorrowedFd<'_> = map.as_fd();
    descriptor.as_raw_fd() as u32
}
