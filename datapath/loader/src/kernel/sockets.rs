//! Programs at the sockets of a cgroup: links, pinned.

use std::{fs::File, os::fd::AsFd, path::Path};

use aya::{
    Ebpf,
    programs::{CgroupAttachMode, CgroupSockAddr, links::FdLink},
};

use super::kernel;
use crate::DatapathError;

/// Names of the programs and of their hooks.
pub(super) const PROGRAMS: [&str; 8] = [
    "connect4",
    "connect6",
    "sendmsg4",
    "sendmsg6",
    "recvmsg4",
    "recvmsg6",
    "getpeername4",
    "getpeername6",
];

/// Attaches them to a cgroup, in place of those of an earlier process. For a moment both are there,
/// which does no harm: what one has led to a pod is none of the other's.
pub(super) fn attach(
    programs: &mut Ebpf,
    cgroup: &Path,
    links: &Path,
) -> Result<(), DatapathError> {
    // Links always share their cgroup with others; a mode is for what is no link.
    let folder = File::open(cgroup).map_err(kernel(cgroup.display()))?;
    for name in PROGRAMS {
        let what = format!("attaching {name} to {}", cgroup.display());
        let program = programs.program_mut(name).ok_or("the object does not have it");
        let program = program.map_err(kernel(&what))?;
        let program: &mut CgroupSockAddr = program.try_into().map_err(kernel(&what))?;
        let attached = program.attach(&folder, CgroupAttachMode::default());
        let link = program.take_link(attached.map_err(kernel(&what))?).map_err(kernel(&what))?;
        let link: FdLink = link.try_into().map_err(kernel(&what))?;
        let (pin, new) = (links.join(format!("cgroup-{name}")), links.join(format!("new-{name}")));
        // One that a process left which ended right here.
        let _ = std::fs::remove_file(&new);
        link.pin(&new).map_err(kernel(&what))?;
        let _ = std::fs::remove_file(&pin);
        std::fs::rename(&new, &pin).map_err(kernel(what))?;
    }
    Ok(())
}

/// Detaches them, if they are attached.
pub(super) fn detach(links: &Path) -> Result<(), DatapathError> {
    for name in PROGRAMS {
        let pin = links.join(format!("cgroup-{name}"));
        match std::fs::remove_file(&pin) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(kernel(pin.display())(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Cookie of this thread's network namespace, as programs see it.
#[allow(unsafe_code, reason = "no library knows this option yet")]
pub(super) fn namespace_cookie(socket: impl AsFd) -> std::io::Result<u64> {
    use std::os::fd::AsRawFd;
    const SO_NETNS_COOKIE: i32 = 71;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: both pointers are to values of this function, of the length that is given.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(std::io::Error::last_os_error()) }
}
