//! With other plugins before, behind and below ours.

use std::path::Path;

use anyhow::ensure;
use serde_json::json;

use crate::node::{Node, Pod, addresses, speak, text};

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:10:244:1::/64";

/// The reference portmap gets our result, and its rules come and go with the pod.
pub(crate) fn portmap_behind(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    let portmap = json!({
        "type": "portmap", "backend": "nftables", "capabilities": { "portMappings": true },
    });
    node.configure("1.0.0", &[node.plugin(json!({})), portmap])?;
    let pod = Pod::new()?;
    let ports = json!({ "portMappings": [
        { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" },
    ] });
    let ports = [("CAP_ARGS", ports.to_string())];
    let result = node.done(tool, "add", &pod, &ports)?;
    ensure!(result["interfaces"][1]["name"] == "eth0", "our result is the chain's: {result}");
    let rules = node.namespace.run(&["nft", "list", "ruleset"])?;
    let mine = addresses(&result)?[0];
    ensure!(rules.contains(&format!("{mine}:80")), "{rules}");
    node.done(tool, "check", &pod, &ports)?;
    node.done(tool, "del", &pod, &ports)?;
    let rules = node.namespace.run(&["nft", "list", "ruleset"])?;
    ensure!(!rules.contains(&mine.to_string()), "{rules}");
    node.holds_nothing()
}

/// The reference bandwidth plugin finds our link on the host and limits it.
pub(crate) fn bandwidth_behind(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    let bandwidth =
        json!({ "type": "bandwidth", "ingressRate": 8_000_000, "ingressBurst": 800_000 });
    node.configure("1.0.0", &[node.plugin(json!({})), bandwidth])?;
    let pod = Pod::new()?;
    node.done(tool, "add", &pod, &[])?;
    let limits = node.namespace.run(&["tc", "qdisc"])?;
    ensure!(limits.contains("tbf") && limits.contains("8Mbit"), "{limits}");
    node.done(tool, "check", &pod, &[])?;
    node.done(tool, "del", &pod, &[])?;
    node.holds_nothing()
}

/// Later in a chain we change nothing, tell the datapath, and hand the result on.
pub(crate) fn behind_bridge(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true,
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.99.0.0/24" }]] },
    });
    node.configure("1.0.0", &[bridge, node.plugin(json!({}))])?;
    let pod = Pod::new()?;
    let result = node.done(tool, "add", &pod, &[])?;
    ensure!(result["interfaces"][0]["name"] == "cni0", "bridge's result: {result}");
    let endpoints = node.memory.state().endpoints;
    let told: Vec<_> = endpoints.values().flat_map(|endpoint| endpoint.addresses.clone()).collect();
    ensure!(told == addresses(&result)?, "{endpoints:?}");
    node.done(tool, "check", &pod, &[])?;
    node.done(tool, "del", &pod, &[])?;
    node.holds_nothing()
}

/// `ipam.type` names who gives addresses, and gets them back.
pub(crate) fn host_local(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4, V6])?;
    let resolver = folder.join("resolv.conf");
    std::fs::write(&resolver, "nameserver 192.0.2.53\n")?;
    let ipam = json!({
        "type": "host-local", "dataDir": folder.join("host-local"), "resolvConf": resolver,
        "ranges": [[{ "subnet": "10.98.0.0/29" }], [{ "subnet": "fd00:98::/64" }]],
    });
    node.configure("1.1.0", &[node.plugin(json!({ "ipam": &ipam }))])?;
    let [one, other] = [Pod::new()?, Pod::new()?];
    node.done(tool, "status", &one, &[])?;
    let result = node.done(tool, "add", &one, &[])?;
    let mine = addresses(&result)?;
    ensure!(mine.len() == 2 && mine[0].to_string().starts_with("10.98.0."), "{result}");
    ensure!(result["dns"]["nameservers"] == json!(["192.0.2.53"]), "host-local's DNS: {result}");
    ensure!(result["ips"][0]["gateway"] == "10.98.0.1", "host-local's gateway: {result}");
    let theirs = addresses(&node.done(tool, "add", &other, &[])?)?;
    for (mine, theirs) in mine.iter().zip(theirs) {
        ensure!(speak(&one.namespace, &other.namespace, theirs)? == *mine);
    }
    node.done(tool, "check", &one, &[])?;
    let held = || -> anyhow::Result<usize> {
        let files = std::fs::read_dir(folder.join("host-local/pods"))?;
        let names = files.map(|file| Ok(text(file?.file_name().as_encoded_bytes())));
        let names: Vec<String> = names.collect::<anyhow::Result<_>>()?;
        Ok(names.iter().filter(|name| name.starts_with("10.") || name.contains(':')).count())
    };
    ensure!(held()? == 4, "host-local holds {}", held()?);
    let own = json!({ "nameservers": ["192.0.2.54"] });
    node.configure("1.1.0", &[node.plugin(json!({ "ipam": ipam, "dns": own }))])?;
    node.done(tool, "del", &other, &[])?;
    let result = node.done(tool, "add", &other, &[])?;
    ensure!(result["dns"] == own, "the configuration's DNS wins: {result}");
    // An ADD that fails behind host-local gives back what it took.
    let output = node.tool(tool, "add", &one, &[("CNI_IFNAME", "lo".to_owned())])?;
    ensure!(!output.status.success() && held()? == 4, "host-local holds {}", held()?);
    node.done(tool, "del", &one, &[])?;
    // cnitool calls for nothing to be valid; host-local is asked too, and does what it can.
    node.done(tool, "gc", &other, &[])?;
    ensure!(held()? == 0, "host-local holds {}", held()?);
    node.holds_nothing()
}

/// Static rates win over the runtime's; both directions are limited, and CHECK is content.
pub(crate) fn own_limits(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    let rates = json!({
        "capabilities": { "bandwidth": true },
        "ingressRate": 8_000_000, "ingressBurst": 800_000,
        "egressRate": 16_000_000, "egressBurst": 800_000,
    });
    node.configure("1.0.0", &[node.plugin(rates)])?;
    let pod = Pod::new()?;
    let asked = json!({ "bandwidth": { "ingressRate": 1_000_000, "ingressBurst": 80_000 } });
    let result = node.done(tool, "add", &pod, &[("CAP_ARGS", asked.to_string())])?;
    let into = node.namespace.run(&["tc", "qdisc"])?;
    ensure!(into.contains("tbf") && into.contains("rate 8Mbit"), "{into}");
    let out = pod.namespace.run(&["tc", "qdisc"])?;
    ensure!(out.contains("tbf") && out.contains("rate 16Mbit"), "{out}");
    let endpoints = node.memory.state().endpoints;
    let told = endpoints.values().next().map(|endpoint| endpoint.bandwidth);
    ensure!(told.is_some_and(|told| told.ingress == Some(8_000_000)), "{told:?}");
    speak(&node.namespace, &pod.namespace, addresses(&result)?[0])?;
    node.done(tool, "check", &pod, &[])?;
    node.done(tool, "del", &pod, &[])?;
    node.holds_nothing()
}
