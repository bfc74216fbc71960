//! What is an agent's own on a machine: no two agents share any of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};

/// Folders and files of one agent.
#[derive(Clone, Debug)]
pub struct Root {
    /// What has to survive a restart.
    pub state: PathBuf,
    /// Where the CNI plugin finds the agent.
    pub socket: PathBuf,
    /// Where maps and links are pinned, in a bpffs.
    pub bpffs: PathBuf,
    /// The cgroup2 that socket programs are attached to; `None` without.
    pub cgroup: Option<PathBuf>,
    /// Where the container runtime reads network configurations.
    pub cni_configurations: PathBuf,
    /// Octets of memory by which tables are sized; `None` for what the machine has.
    pub table_memory: Option<u64>,
}

/// Held while an agent runs on a root. The kernel lets go of it with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Root {
    /// Makes the state folder if need be, and takes it for this process.
    ///
    /// # Errors
    /// If another agent has it; its process is named.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        fs::create_dir_all(&self.state)
            .with_context(|| format!("making the state folder {}", self.state.display()))?;
        let path = self.state.join("agent.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            // Who it is only makes the message better.
            let _ = file.read_to_string(&mut holder);
            bail!(
                "another agent (process {}) runs on {}; stop it, or give this one folders of its \
                 own: --state-dir, --socket, --bpffs, --cgroup, --cni-conf-dir",
                holder.trim(),
                self.state.display()
            );
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Lock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_on_the_same_root_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root {
            state: folder.path().join("state"),
            socket: folder.path().join("sock"),
            bpffs: folder.path().join("bpf"),
            cgroup: None,
            cni_configurations: folder.path().join("net.d"),
            table_memory: None,
        };
        let held = root.lock().expect("the first");
        let refused = root.lock().expect_err("the second").to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(held);
        root.lock().expect("after the first");
    }
}
