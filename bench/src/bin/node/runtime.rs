//! cnitool in the place of a container runtime.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use daymark_tests::{namespace::Namespace, peers};
use serde_json::Value;

/// Calls the plugins of one network on one node.
pub(crate) struct Runtime {
    /// Whose mounts it has: a /var/lib of its own, where cnitool and host-local keep their notes.
    mounts: Namespace,
    /// The node's network.
    network: PathBuf,
    /// Folder with the network's configuration.
    configurations: PathBuf,
    /// The network's name in there.
    name: String,
}

impl Runtime {
    /// For a node whose network namespace is mounted on `network`.
    ///
    /// # Errors
    /// If the namespace for its mounts can't be made.
    pub(crate) fn new(network: &Path, configurations: &Path, name: &str) -> anyhow::Result<Self> {
        let mounts = Namespace::new()?;
        mounts.run(&["mount", "-t", "tmpfs", "none", "/var/lib"])?;
        Ok(Runtime {
            mounts,
            network: network.to_owned(),
            configurations: configurations.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Runs a verb for a pod to its end; gives how long that took, with the start of all programs, and
    /// the result. `ports` are port mappings as runtimes give them.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub(crate) fn call(
        &self,
        verb: &str,
        pod: &Namespace,
        ports: Option<&Value>,
    ) -> anyhow::Result<(Duration, Value)> {
        let (nsenter, mut enter) = self.mounts.enter();
        let network = format!("--net={}", self.network.display());
        let place = enter.iter_mut().find(|word| *word == "--net").context("a network to enter")?;
        *place = network;
        let own = peers::plugin();
        let own = own.parent().context("a folder of the plugin")?.display().to_string();
        let mut command = Command::new(nsenter);
        command
            .args(enter)
            .arg(peers::program("cnitool").map_err(anyhow::Error::msg)?)
            .args([verb, &self.name])
            .arg(pod.network())
            .env("NETCONFPATH", &self.configurations)
            .env("CNI_PATH", format!("{own}:{}", peers::folder().display()))
            .stdin(Stdio::null());
        if let Some(ports) = ports {
            command.env("CAP_ARGS", serde_json::json!({ "portMappings": ports }).to_string());
        }
        let start = Instant::now();
        let output = command.output()?;
        let took = start.elapsed();
        let [said, complaint] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        ensure!(output.status.success(), "{verb} in {}: {said}{complaint}", self.name);
        Ok((took, serde_json::from_str(&said).unwrap_or_default()))
    }
}

/// The first address of a result.
///
/// # Errors
/// If there is none.
pub(crate) fn address(result: &Value) -> anyhow::Result<std::net::IpAddr> {
    let text = result["ips"][0]["address"].as_str().context("a result has an address")?;
    Ok(text.split('/').next().unwrap_or_default().parse()?)
}
