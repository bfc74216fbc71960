//! A pod's network namespace, as the plugin handed it over. No thread of the agent's stays in one:
//! what has to be opened inside is opened by a thread that lives for nothing else.

use std::os::fd::BorrowedFd;

use daymark_cni_spec::{CniError, code};
use rustix::{
    fs::{fstat, fstatfs, stat},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{netlink::Connection, node::Switches, wiring};

/// What fstatfs(2) tells of a namespace's file (`NSFS_MAGIC`, linux/magic.h).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// See [the module](self).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Namespace<'a> {
    file: BorrowedFd<'a>,
}

impl<'a> Namespace<'a> {
    /// Checks that it is a namespace, and not the node's own, which a pod on the host's network has.
    pub(crate) fn of_pod(file: BorrowedFd<'a>) -> Result<Self, CniError> {
        let bad = |message: &str| CniError::new(code::NAMESPACE, message);
        let failed = |error: rustix::io::Errno| bad("looking at CNI_NETNS").because(error);
        // Its type differs between architectures and C libraries.
        #[allow(clippy::unnecessary_cast, reason = "the type differs between platforms")]
        let is_namespace = fstatfs(file).map_err(failed)?.f_type as i64 == NSFS_MAGIC;
        if !is_namespace {
            return Err(bad("CNI_NETNS is no namespace"));
        }
        let (theirs, ours) = (fstat(file), stat("/proc/thread-self/ns/net"));
        let (theirs, ours) = (theirs.map_err(failed)?, ours.map_err(failed)?);
        match (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) {
            true => Err(bad("CNI_NETNS is the node's own network namespace")),
            false => Ok(Namespace { file }),
        }
    }

    pub(crate) fn file(&self) -> BorrowedFd<'a> {
        self.file
    }

    /// A socket to the kernel inside.
    pub(crate) fn netlink(&self) -> Result<Connection, CniError> {
        self.inside(|| Connection::open().map_err(wiring::refused))
    }

    /// Switches IPv6 on for a link if the runtime switched it off for new ones.
    pub(crate) fn enable_ipv6(&self, switches: &Switches, ifname: &str) -> Result<(), CniError> {
        self.inside(|| {
            switches.enable_ipv6(ifname).map_err(|error| {
                let message = format!("IPv6 can't be switched on for {ifname}");
                CniError::new(code::WIRING, message).because(error)
            })
        })
    }

    fn inside<T: Send>(
        &self,
        job: impl FnOnce() -> Result<T, CniError> + Send,
    ) -> Result<T, CniError> {
        let enter = || {
            move_into_link_name_space(self.file, Some(LinkNameSpaceType::Network)).map_err(
                |error| CniError::new(code::NAMESPACE, "CNI_NETNS can't be entered").because(error),
            )?;
            job()
        };
        std::thread::scope(|scope| {
            let thread =
                std::thread::Builder::new().name("pod".to_owned()).spawn_scoped(scope, enter);
            let thread = thread.map_err(|error| {
                CniError::new(code::TRY_AGAIN, "no thread to enter CNI_NETNS with").because(error)
            })?;
            thread.join().unwrap_or_else(|_| {
                Err(CniError::new(code::WIRING, "the thread in CNI_NETNS panicked"))
            })
        })
    }
}
