//! The file system that pins live in.

use std::{io, path::Path};

use rustix::{
    fs::statfs,
    mount::{MountFlags, mount},
};

/// `BPF_FS_MAGIC` of `linux/magic.h`.
const MAGIC: u32 = 0xcafe_4a11;

/// Makes sure that this folder lies on a BPF file system: mounts one there if it does not. What is
/// mounted stays until it is unmounted, or until the mount namespace ends.
///
/// # Errors
/// What the kernel said, for example that the caller is not root.
pub fn mount_bpffs(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    if is_bpffs(folder)? {
        return Ok(());
    }
    Ok(mount("bpf", folder, "bpf", MountFlags::empty(), None)?)
}

/// Whether this folder lies on a BPF file system.
pub(super) fn is_bpffs(folder: &Path) -> io::Result<bool> {
    Ok(statfs(folder)?.f_type as u32 == MAGIC)
}
