//! Network namespaces that a file keeps alive.

use std::{
    fs::{File, OpenOptions},
    os::fd::AsFd,
    path::Path,
};

use anyhow::Context;
use rustix::{
    mount::{UnmountFlags, mount_bind, unmount},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

/// Makes a network namespace with its loopback up, and mounts it on `file`, which is made as well.
///
/// # Errors
/// If it can't be made, which takes root.
pub fn make(file: &Path) -> anyhow::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .with_context(|| format!("making {}", file.display()))?;
    on_thread(|| {
        leave_network()?;
        mount_bind("/proc/thread-self/ns/net", file).context("mounting a network namespace")?;
        crate::wire::ip(&["link set lo up"])
    })
    .with_context(|| format!("making the network namespace {}", file.display()))
}

/// Moves this thread, which nobody else uses, into a network namespace of its own.
#[expect(unsafe_code, reason = "unshare has no other form")]
fn leave_network() -> anyhow::Result<()> {
    // SAFETY: only the network namespace is left, which no memory and no open file depends on; that
    // sockets opened later by this thread belong to another network is what is wanted.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("unshare (it takes root)")
}

/// Takes the namespace and its file away; it lives on while a process or a socket is in it. It is no
/// error if either is gone.
///
/// # Errors
/// If the system refuses.
pub fn remove(file: &Path) -> anyhow::Result<()> {
    match unmount(file, UnmountFlags::DETACH) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error).with_context(|| format!("unmounting {}", file.display())),
    }
    match std::fs::remove_file(file) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing {}", file.display())),
    }
}

/// Does something on a thread inside the namespace that is mounted on `file`: its sockets and the
/// processes that it starts are in there.
///
/// # Errors
/// If the namespace can't be entered, or what `job` gives.
pub fn inside<T: Send>(
    file: &Path,
    job: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    on_thread(|| {
        enter(file)?;
        job()
    })
}

/// Moves this thread into the namespace for good.
///
/// # Errors
/// If that can't be done.
pub fn enter(file: &Path) -> anyhow::Result<()> {
    let namespace = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("entering the network namespace {}", file.display()))
}

fn on_thread<T: Send>(job: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(job);
        thread.join().map_err(|_| anyhow::anyhow!("a thread in a namespace panicked"))?
    })
}
