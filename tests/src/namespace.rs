//! Network and mount namespaces of a test's own, gone when it ends, however it ends.

use std::{
    fs::File,
    net::Ipv4Addr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::PATIENCE;

/// A network namespace with a mount namespace. A process holds them, and dies with the test.
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    /// Why no namespace can be made here, if so: it takes root and some tools.
    pub fn unavailable() -> Option<String> {
        let needed = ["ip", "nsenter", "setpriv", "sleep"];
        if let Some(tool) = needed.into_iter().find(|tool| tool_path(tool).is_none()) {
            return Some(format!("{tool} is not installed"));
        }
        let made = Command::new("unshare").args(["--net", "--mount", "true"]).output();
        match made {
            Ok(output) if output.status.success() => None,
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                Some(format!("namespaces can't be made (not root?): {}", said.trim()))
            }
            Err(error) => Some(format!("unshare: {error}")),
        }
    }

    /// Makes one, with its loopback up.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn new() -> anyhow::Result<Self> {
        let holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "sleep", "infinity"])
            .stdin(Stdio::null())
            .spawn()
            .context("starting a namespace's holder")?;
        let namespace = Namespace { holder };
        let name = format!("/proc/{}/comm", namespace.holder.id());
        let start = Instant::now();
        while std::fs::read_to_string(&name)?.trim() != "sleep" {
            ensure!(start.elapsed() < PATIENCE, "no namespace within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        namespace.run(&["ip", "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Lays a cable to another namespace; its two ends get these names.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn cable(&self, own: &str, other: &Namespace, others: &str) -> anyhow::Result<()> {
        let there = other.holder.id().to_string();
        self.run(&[
            "ip", "link", "add", own, "type", "veth", "peer", "name", others, "netns", &there,
        ])?;
        self.run(&["ip", "link", "set", own, "up"])?;
        other.run(&["ip", "link", "set", others, "up"])?;
        Ok(())
    }

    /// Gives a link an address (with its prefix length), usable at once.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn address(&self, link: &str, address: &str) -> anyhow::Result<()> {
        let mut words = vec!["ip", "address", "add", address, "dev", link];
        if address.parse::<Ipv4Addr>().is_err() && address.contains(':') {
            words.push("nodad");
        }
        self.run(&words).map(drop)
    }

    /// Puts a file in the place of another, here only. Later writes to it show.
    ///
    /// # Errors
    /// What `mount` said.
    pub fn put(&self, file: &Path, place: &str) -> anyhow::Result<()> {
        self.run(&["mount", "--bind", &file.display().to_string(), place]).map(drop)
    }

    /// Path of the network namespace, good for as long as this is held.
    pub fn network(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.id()).into()
    }

    /// The command line that runs something here: a program and arguments that come before it.
    pub fn enter(&self) -> (PathBuf, Vec<String>) {
        let nsenter = tool_path("nsenter").unwrap_or_else(|| "nsenter".into());
        let target = self.holder.id().to_string();
        let words = ["--target", &target, "--net", "--mount", "--"];
        (nsenter, words.map(str::to_owned).to_vec())
    }

    /// Runs a command here to its end and gives what it printed.
    ///
    /// # Errors
    /// With what it printed, if it fails.
    pub fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        let (nsenter, arguments) = self.enter();
        let output = Command::new(nsenter).args(arguments).args(words).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{}: {}\n{said}{complaint}",
            words.join(" "),
            output.status
        );
        Ok(said)
    }

    /// Does something in a thread whose sockets are this network's.
    ///
    /// # Errors
    /// If the namespace can't be entered, or what `job` gives.
    pub fn inside<T: Send>(
        &self,
        job: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let network = File::open(self.network())?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
                job()
            });
            thread.join().map_err(|_| anyhow::anyhow!("panicked in a namespace"))?
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It can't have ended by itself; there is nobody to tell at this point.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A tool of the system, if it is installed.
pub fn tool_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists())
}
