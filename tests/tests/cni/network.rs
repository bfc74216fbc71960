//! Between nodes: routes, the tunnel's device, and what stays of them.

use std::{net::IpAddr, path::Path};

use anyhow::{Context, ensure};
use daymark_cni::node::{self, Applied, Mode, NodePlan, PeerNode, VXLAN_DEVICE, VXLAN_PORT};
use daymark_loader::Peer;
use daymark_tests::namespace::Namespace;
use serde_json::json;

use crate::node::{Node, Pod, addresses, speak, text};

/// Pod ranges and addresses of two nodes on one wire.
const RANGES: [[&str; 2]; 2] =
    [["10.244.1.0/24", "fd00:10:244:1::/64"], ["10.244.2.0/24", "fd00:10:244:2::/64"]];
const ADDRESSES: [[&str; 2]; 2] =
    [["198.51.100.1", "2001:db8:1::1"], ["198.51.100.2", "2001:db8:1::2"]];

fn parsed<T: std::str::FromStr>(texts: &[&str]) -> Vec<T>
where
    T::Err: std::fmt::Debug,
{
    texts.iter().map(|text| text.parse().expect("well-formed")).collect()
}

fn peer(name: &str, addresses: &[&str], ranges: &[&str]) -> PeerNode {
    let (addresses, pod_ranges) = (parsed(addresses), parsed(ranges));
    PeerNode { name: name.to_owned(), addresses, pod_ranges }
}

fn plan(at: usize, mode: Mode, peers: Vec<PeerNode>) -> NodePlan {
    NodePlan {
        node_addresses: parsed(&ADDRESSES[at]),
        pod_ranges: parsed(&RANGES[at]),
        peers,
        mode,
        vxlan_port: VXLAN_PORT,
        ..Default::default()
    }
}

fn apply(namespace: &Namespace, plan: &NodePlan) -> anyhow::Result<Applied> {
    namespace.inside(|| Ok(node::apply(plan)?))
}

/// A wire between two namespaces, with the nodes' addresses.
fn wire(namespaces: [&Namespace; 2]) -> anyhow::Result<()> {
    namespaces[0].cable("uplink", namespaces[1], "uplink")?;
    for (namespace, addresses) in namespaces.into_iter().zip(ADDRESSES) {
        for address in addresses {
            let length = if address.contains(':') { 64 } else { 24 };
            namespace.address("uplink", &format!("{address}/{length}"))?;
        }
    }
    Ok(())
}

/// Both families, by native routes.
pub(crate) fn native(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let nodes = [0, 1].map(|at: usize| Node::new(&folder.join(at.to_string()), &RANGES[at]));
    let [one, other] = nodes;
    let (one, other) = (one?, other?);
    wire([&one.namespace, &other.namespace])?;
    let peers = [1, 0].map(|at: usize| vec![peer("peer", &ADDRESSES[at], &RANGES[at])]);
    for ((at, node), peers) in [&one, &other].into_iter().enumerate().zip(peers) {
        let applied = apply(&node.namespace, &plan(at, Mode::Auto, peers))?;
        ensure!(applied.unreachable.is_empty() && applied.vxlan_ifindex.is_none(), "{applied:?}");
        ensure!(applied.uplink.name == "uplink" && applied.pod_mtu == 1450, "{applied:?}");
        ensure!(applied.peers.iter().all(|peer| peer.tunnel.is_none()), "{applied:?}");
    }
    let pods = [Pod::new()?, Pod::new()?];
    let mut given = Vec::new();
    for (node, pod) in [&one, &other].into_iter().zip(&pods) {
        let output = node.call("ADD", "pod", Some(pod), json!({}))?;
        ensure!(output.status.success(), "{}", text(&output.stdout));
        given.push(addresses(&serde_json::from_slice(&output.stdout)?)?);
    }
    for (mine, theirs) in given[0].iter().zip(&given[1]) {
        let seen = speak(&pods[0].namespace, &pods[1].namespace, *theirs)?;
        ensure!(seen == *mine, "{theirs} saw {seen}, not {mine}");
    }
    Ok(())
}

/// Nodes come, move away and go; the mode changes; routes of others stay as they are.
pub(crate) fn plans(_: &Path, _: &Path) -> anyhow::Result<()> {
    let [node, wired] = [Namespace::new()?, Namespace::new()?];
    wire([&node, &wired])?;
    node.run(&["ip", "route", "add", "10.99.0.0/16", "via", "198.51.100.9"])?;
    let near = peer("near", &ADDRESSES[1], &RANGES[1]);
    let far = peer("far", &["203.0.113.3"], &["10.244.3.0/24"]);
    let ours = || node.run(&["sh", "-c", "ip -4 route show proto 68; ip -6 route show proto 68"]);
    // What has no pod in the node's own ranges has no way, whoever the others are.
    let routes = || -> anyhow::Result<String> {
        let all = ours()?;
        let (nowhere, ways): (Vec<&str>, Vec<&str>) =
            all.lines().partition(|route| route.starts_with("unreachable "));
        let own = ["10.244.1.0/24", "fd00:10:244:1::/64"];
        let told = nowhere.iter().zip(own).all(|(route, range)| route.contains(range));
        ensure!(nowhere.len() == own.len() && told, "{all}");
        Ok(ways.join("\n"))
    };
    let applied = apply(&node, &plan(0, Mode::Auto, vec![near.clone(), far.clone()]))?;
    let told = routes()?;
    ensure!(told.contains("10.244.2.0/24 via 198.51.100.2 dev uplink"), "{told}");
    ensure!(told.contains("fd00:10:244:2::/64 via 2001:db8:1::2 dev uplink"), "{told}");
    ensure!(told.contains(&format!("10.244.3.0/24 dev {VXLAN_DEVICE}")), "{told}");
    // From an address that is answered through the tunnel too.
    ensure!(told.contains("src 10.244.1.1"), "{told}");
    let end: IpAddr = "203.0.113.3".parse()?;
    let tunnel = Peer { pods: "10.244.3.0/24".parse()?, tunnel: Some(end) };
    ensure!(applied.peers.contains(&tunnel), "{applied:?}");
    let device = node.run(&["ip", "-d", "link", "show", VXLAN_DEVICE])?;
    ensure!(device.contains("external") && device.contains("dstport 8472"), "{device}");
    ensure!(device.contains("NOARP") && device.contains("mtu 1450"), "{device}");
    let again = apply(&node, &plan(0, Mode::Auto, vec![near.clone(), far.clone()]))?;
    ensure!(again == applied && routes()? == told, "the same plan changes nothing");
    // All by the tunnel, on another port.
    let mut tunnelled = plan(0, Mode::Vxlan, vec![near.clone(), far.clone()]);
    tunnelled.vxlan_port = 4789;
    let applied = apply(&node, &tunnelled)?;
    let told = routes()?;
    ensure!(told.lines().all(|route| route.contains(VXLAN_DEVICE)), "{told}");
    ensure!(told.lines().count() == 3 && applied.peers.len() == 3, "{told}");
    let device = node.run(&["ip", "-d", "link", "show", VXLAN_DEVICE])?;
    ensure!(device.contains("dstport 4789"), "{device}");
    // None by the tunnel: one node is out of reach, and that is said.
    let applied = apply(&node, &plan(0, Mode::Native, vec![near, far]))?;
    let told = routes()?;
    ensure!(told.lines().count() == 2 && !told.contains(VXLAN_DEVICE), "{told}");
    let reason = &applied.unreachable.first().context("one is out of reach")?.1;
    ensure!(reason.contains("far (203.0.113.3) is on no network of uplink"), "{reason}");
    ensure!(applied.pod_mtu == 1500, "{applied:?}");
    ensure!(node.run(&["ip", "link", "show", VXLAN_DEVICE]).is_err(), "the device is not needed");
    apply(&node, &plan(0, Mode::Native, Vec::new()))?;
    ensure!(routes()?.is_empty(), "{}", routes()?);
    let others = node.run(&["ip", "route"])?;
    ensure!(others.contains("10.99.0.0/16"), "a route of others is gone: {others}");
    let gateways = node.run(&["ip", "-o", "address", "show", "dev", "lo"])?;
    ensure!(gateways.contains("10.244.1.1/32") && gateways.contains("fd00:10:244:1::1/128"));
    let lost = NodePlan { node_addresses: parsed(&["192.0.2.99"]), ..Default::default() };
    let error = apply(&node, &lost).expect_err("nobody has the address");
    ensure!(error.to_string().contains("192.0.2.99"), "{error}");
    Ok(())
}

/// With pods attached and tunnels up, as an uninstall finds it.
pub(crate) fn cleaned(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &RANGES[0])?;
    let wired = Namespace::new()?;
    wire([&node.namespace, &wired])?;
    node.namespace.run(&["ip", "route", "add", "10.99.0.0/16", "via", "198.51.100.9"])?;
    // Without those that the harness gave it.
    node.namespace.run(&["ip", "address", "flush", "dev", "lo", "scope", "global"])?;
    let everything = || -> anyhow::Result<String> {
        let shown = [&["ip", "-o", "link"][..], &["ip", "address"], &["ip", "route"]];
        let shown = shown.map(|words| node.namespace.run(words));
        Ok(shown.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat())
    };
    // Which an address is until nobody has claimed it for a second.
    let settled = |text: &str| text.replace("tentative ", "");
    let before = everything()?;
    let peers = vec![peer("far", &["203.0.113.3"], &["10.244.3.0/24"])];
    apply(&node.namespace, &plan(0, Mode::Auto, peers))?;
    node.namespace.address("lo", "192.0.2.1")?;
    node.namespace.address("lo", "2001:db8::1")?;
    let pod = Pod::new()?;
    let output = node.call("ADD", "pod", Some(&pod), json!({}))?;
    ensure!(output.status.success(), "{}", text(&output.stdout));
    for address in ["192.0.2.1/32", "2001:db8::1/128"] {
        node.namespace.run(&["ip", "address", "del", address, "dev", "lo"])?;
    }
    let records = folder.join("attachments");
    let removed = node.namespace.inside(|| Ok(node::cleanup(&[&records])?))?;
    ensure!(removed >= 6 && !records.exists(), "{removed}");
    let after = everything()?;
    ensure!(settled(&after) == settled(&before), "before:\n{before}\nafter:\n{after}");
    let removed = node.namespace.inside(|| Ok(node::cleanup(&[&records])?))?;
    ensure!(removed == 0, "{removed} things were left the first time");
    Ok(())
}
