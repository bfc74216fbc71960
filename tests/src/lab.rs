//! A lab that is up for a test, and gone after it.

use std::{
    ffi::OsStr,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, ensure};
use daymark_lab::{
    kubelet::{PodStatus, Status},
    layout::Layout,
    namespace,
};
use tempfile::TempDir;

use crate::peers;

/// See [the module](self).
pub struct Lab {
    folder: TempDir,
    status: Status,
}

impl Lab {
    /// Why no lab can be made here, if so.
    pub fn unavailable() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("a lab takes root".to_owned());
        }
        let beside = peers::daymark().with_file_name("daymark-cni");
        (!beside.is_file()).then(|| format!("no {}: cargo build", beside.display()))
    }

    /// Makes the lab that `definition`, the text of a file, describes.
    ///
    /// # Errors
    /// With what `daymark lab up` said.
    pub fn up(definition: &str) -> anyhow::Result<Self> {
        Self::up_with(definition, &[])
    }

    /// The same, with its nodes in an API server.
    ///
    /// # Errors
    /// With what `daymark lab up` said.
    pub fn up_on(definition: &str, kubeconfig: &Path) -> anyhow::Result<Self> {
        Self::up_with(definition, &["--kubeconfig".as_ref(), kubeconfig.as_os_str()])
    }

    fn up_with(definition: &str, flags: &[&OsStr]) -> anyhow::Result<Self> {
        // Short, for the names of unix sockets have 108 octets.
        let folder = tempfile::Builder::new().prefix("lab").tempdir()?;
        let file = folder.path().join("lab.yaml");
        std::fs::write(&file, definition)?;
        let labs = folder.path().join("labs");
        said(
            daymark()
                .args(["lab", "up"])
                .arg(&file)
                .args(flags)
                .arg("--labs")
                .arg(&labs)
                .output()?,
        )?;
        let status =
            said(daymark().args(["lab", "status", "-o", "json", "--labs"]).arg(&labs).output()?)?;
        Ok(Lab { status: serde_json::from_str(&status)?, folder })
    }

    /// Nodes and pods.
    pub fn status(&self) -> &Status {
        &self.status
    }

    fn labs(&self) -> PathBuf {
        self.folder.path().join("labs")
    }

    /// Where things lie.
    pub fn layout(&self) -> Layout {
        Layout::new(&self.labs(), &self.status.name)
    }

    /// The pod of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn pod(&self, name: &str) -> anyhow::Result<&PodStatus> {
        let found = self.status.pods.iter().find(|pod| pod.name == name);
        found.with_context(|| format!("the lab has a pod {name}"))
    }

    /// An address of a pod.
    ///
    /// # Errors
    /// If it has none of that family.
    pub fn address(&self, name: &str, ipv4: bool) -> anyhow::Result<IpAddr> {
        let found = self.pod(name)?.ips.iter().find(|address| address.is_ipv4() == ipv4);
        found.copied().with_context(|| format!("{name} has an address of each family"))
    }

    /// The network namespace of a place: a pod's name, `node/NODE` or `outside`.
    ///
    /// # Errors
    /// If there is no such place.
    pub fn namespace(&self, place: &str) -> anyhow::Result<PathBuf> {
        Ok(match place.strip_prefix("node/") {
            Some(node) => self.layout().node_namespace(node),
            None if place == "outside" => self.layout().wire(),
            None => {
                let pod = self.pod(place)?;
                self.layout().pod_namespace(&pod.namespace, &pod.name)
            }
        })
    }

    /// Does something on a thread in the network of a place.
    ///
    /// # Errors
    /// If there is no such place, or what `job` gives.
    pub fn inside<T: Send>(
        &self,
        place: &str,
        job: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        namespace::inside(&self.namespace(place)?, job)
    }

    /// Runs a command in the network of a place, and gives what it printed.
    ///
    /// # Errors
    /// With what it said, if it failed.
    pub fn run(&self, place: &str, words: &[&str]) -> anyhow::Result<String> {
        self.inside(place, || {
            said(Command::new(words[0]).args(&words[1..]).output()?)
                .with_context(|| format!("{} in {place}", words.join(" ")))
        })
    }

    /// What a node's agent has logged.
    pub fn log(&self, node: &str) -> String {
        std::fs::read_to_string(self.layout().node(node).log()).unwrap_or_default()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let down = daymark().args(["lab", "down", "--labs"]).arg(self.labs()).output();
        let gone = down.is_ok_and(|output| output.status.success());
        // While a test fails there is no second failure to tell of.
        assert!(gone || std::thread::panicking(), "the lab could not be taken away");
    }
}

fn daymark() -> Command {
    Command::new(peers::daymark())
}

fn said(output: Output) -> anyhow::Result<String> {
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    ensure!(output.status.success(), "{}: {out}{error}", output.status);
    Ok(out.into_owned())
}

/// Whether a folder is without entries, or not there.
pub fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}
