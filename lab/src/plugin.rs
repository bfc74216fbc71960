//! Calls of the CNI plugin, as a container runtime makes them (CNI specification 1.1.0).

use std::{
    fs,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use crate::{definition::Pod, layout::NodeLayout};

/// Name of the interface in a pod.
pub const INTERFACE: &str = "eth0";
/// What the agent calls its configuration.
const CONFIGURATION: &str = "05-daymark.conflist";

/// The plugins of a node and how they are called.
#[derive(Clone, Debug)]
pub struct Plugins {
    /// Folders in which plugins lie, joined by colons.
    pub path: String,
    /// The network configuration list.
    configuration: PathBuf,
}

/// One attachment of a pod.
#[derive(Clone, Copy, Debug)]
pub struct Attachment<'a> {
    /// The container's id.
    pub container: &'a str,
    /// The file on which the pod's network namespace is mounted.
    pub namespace: &'a Path,
    /// Whose it is.
    pub pod: &'a Pod,
}

impl Plugins {
    /// The plugins in `path`, with the configuration that the node's agent writes.
    pub fn new(path: String, node: &NodeLayout) -> Self {
        Plugins { path, configuration: node.network_configurations().join(CONFIGURATION) }
    }

    /// Whether the agent has written the configuration: from then on pods can be added.
    pub fn configured(&self) -> bool {
        self.configuration.exists()
    }

    /// ADD by each plugin of the list in turn; gives the pod's addresses.
    ///
    /// # Errors
    /// What a plugin said; what the ones before it did is taken back then.
    pub fn add(&self, attachment: Attachment) -> anyhow::Result<Vec<IpAddr>> {
        let (list, plugins) = self.list()?;
        let mut result = Value::Null;
        for plugin in &plugins {
            match self.call("ADD", attachment, &list, plugin, &result) {
                Ok(next) => result = next,
                Err(error) => {
                    // As runtimes do; the first mistake is the one to tell.
                    let _ = self.delete(attachment);
                    return Err(error);
                }
            }
        }
        let addresses = result["ips"].as_array().into_iter().flatten();
        let addresses = addresses.filter_map(|ip| ip["address"].as_str()?.split('/').next());
        addresses.map(|text| text.parse().with_context(|| format!("address `{text}`"))).collect()
    }

    /// DEL by each plugin, the last one first.
    ///
    /// # Errors
    /// What a plugin said.
    pub fn delete(&self, attachment: Attachment) -> anyhow::Result<()> {
        let (list, plugins) = self.list()?;
        for plugin in plugins.iter().rev() {
            self.call("DEL", attachment, &list, plugin, &Value::Null)?;
        }
        Ok(())
    }

    fn list(&self) -> anyhow::Result<(Value, Vec<Value>)> {
        let file = self.configuration.display();
        let text = fs::read(&self.configuration).with_context(|| format!("reading {file}"))?;
        let list: Value = serde_json::from_slice(&text).with_context(|| format!("{file}"))?;
        let plugins = list["plugins"].as_array().cloned().unwrap_or_default();
        Ok((list, plugins))
    }

    fn call(
        &self,
        command: &str,
        attachment: Attachment,
        list: &Value,
        plugin: &Value,
        previous: &Value,
    ) -> anyhow::Result<Value> {
        let pod = attachment.pod;
        let kind = plugin["type"].as_str().context("a plugin without `type`")?;
        let program = self
            .path
            .split(':')
            .map(|folder| Path::new(folder).join(kind))
            .find(|file| file.is_file())
            .with_context(|| format!("no CNI plugin `{kind}` in {}", self.path))?;
        let mut child = Command::new(program)
            .env_clear()
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", attachment.container)
            .env("CNI_NETNS", attachment.namespace)
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_PATH", &self.path)
            .env(
                "CNI_ARGS",
                format!(
                    "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={}",
                    pod.namespace, pod.name, attachment.container
                ),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting the CNI plugin `{kind}`"))?;
        let configuration = configuration(list, plugin, previous, pod).to_string();
        let input = child.stdin.take().context("a piped input")?;
        { input }.write_all(configuration.as_bytes())?;
        let output = child.wait_with_output()?;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            let [what, details] =
                ["msg", "details"].map(|key| said[key].as_str().unwrap_or_default());
            bail!("{command} by {kind}: {what} {details} {complaint}");
        }
        Ok(said)
    }
}

/// What a plugin reads on its standard input.
fn configuration(list: &Value, plugin: &Value, previous: &Value, pod: &Pod) -> Value {
    let mut own = plugin.as_object().cloned().unwrap_or_default();
    own.insert("cniVersion".to_owned(), list["cniVersion"].clone());
    own.insert("name".to_owned(), list["name"].clone());
    let capabilities = own.remove("capabilities").unwrap_or_default();
    let mut runtime = Map::new();
    let ports = port_mappings(pod);
    if capabilities["portMappings"] == true && !ports.is_empty() {
        runtime.insert("portMappings".to_owned(), ports.into());
    }
    if let Some(limits) = bandwidth(pod).filter(|_| capabilities["bandwidth"] == true) {
        runtime.insert("bandwidth".to_owned(), limits);
    }
    if !runtime.is_empty() {
        own.insert("runtimeConfig".to_owned(), runtime.into());
    }
    if !previous.is_null() {
        own.insert("prevResult".to_owned(), previous.clone());
    }
    own.into()
}

fn port_mappings(pod: &Pod) -> Vec<Value> {
    let open = pod.ports.iter().filter_map(|port| Some((port, port.host_port?)));
    open.map(|(port, host_port)| {
        json!({
            "hostPort": host_port,
            "containerPort": port.container_port,
            "protocol": port.protocol.to_lowercase(),
            "hostIP": port.host_ip.clone().unwrap_or_default(),
        })
    })
    .collect()
}

/// The pod's limits as runtimes give them: bits per second, from quantities such as `10M`.
fn bandwidth(pod: &Pod) -> Option<Value> {
    /// Runtimes allow any burst; this is containerd's.
    const BURST: u64 = u32::MAX as u64;
    let mut limits = Map::new();
    for way in ["ingress", "egress"] {
        let limit = pod.annotations.get(&format!("kubernetes.io/{way}-bandwidth"));
        if let Some(rate) = limit.and_then(|text| quantity(text)) {
            limits.insert(format!("{way}Rate"), rate.into());
            limits.insert(format!("{way}Burst"), BURST.into());
        }
    }
    (!limits.is_empty()).then(|| limits.into())
}

/// A whole quantity with the suffixes that rates have.
fn quantity(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match &text[digits.len()..] {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::ContainerPort;

    #[test]
    fn capabilities_become_what_the_pod_asks_for() {
        let pod = Pod {
            namespace: "shop".into(),
            name: "web".into(),
            labels: Default::default(),
            annotations: [("kubernetes.io/egress-bandwidth".into(), "10M".into())].into(),
            node: "n1".into(),
            ports: vec![ContainerPort {
                name: None,
                container_port: 80,
                protocol: "UDP".into(),
                host_port: Some(8080),
                host_ip: None,
            }],
        };
        let list = json!({ "cniVersion": "1.1.0", "name": "daymark" });
        let plugin =
            json!({ "type": "x", "capabilities": { "portMappings": true, "bandwidth": true } });
        let made = configuration(&list, &plugin, &Value::Null, &pod);
        assert_eq!(
            made,
            json!({
                "cniVersion": "1.1.0", "name": "daymark", "type": "x", "runtimeConfig": {
                    "portMappings": [
                        { "hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "" }
                    ],
                    "bandwidth": { "egressRate": 10_000_000, "egressBurst": 4_294_967_295_u64 },
                }
            })
        );
        let made = configuration(&list, &json!({ "type": "x" }), &json!({ "ips": [] }), &pod);
        assert_eq!(made["runtimeConfig"], Value::Null);
        assert_eq!(made["prevResult"]["ips"], json!([]));
    }
}
