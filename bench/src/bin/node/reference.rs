//! The other side: nodes that the reference CNI plugins wire, with a bridge each, and the kernel's own
//! means between them.

use std::{net::IpAddr, path::PathBuf};

use anyhow::Context;
use daymark_tests::{namespace::Namespace, peers};
use serde_json::json;
use tempfile::TempDir;

use crate::runtime::{Runtime, address};

/// The device of a node that the wire is plugged into.
const UPLINK: &str = "uplink";

/// How packets get from node to node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Between {
    /// A route to the other node's pods.
    Routes,
    /// A VXLAN device with a fixed forwarding entry for the other node.
    Vxlan,
}

/// A node.
pub(crate) struct Node {
    pub(crate) network: Namespace,
    pub(crate) runtime: Runtime,
    _configurations: TempDir,
}

impl Node {
    /// Node `number` has pods in `10.55.NUMBER.0/24`; their devices get this MTU.
    ///
    /// # Errors
    /// If something can't be made.
    pub(crate) fn new(number: u8, mtu: u32) -> anyhow::Result<Self> {
        let network = Namespace::new()?;
        network.run(&["sysctl", "-qw", "net.ipv4.ip_forward=1"])?;
        // As on the nodes of tests/node.
        let list = json!({ "cniVersion": "1.0.0", "name": "reference", "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
                "ipMasq": false, "mtu": mtu,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": format!("10.55.{number}.0/24") }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ] });
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("10-reference.conflist"), list.to_string())?;
        let runtime = Runtime::new(&network.network(), folder.path(), "reference")?;
        Ok(Node { network, runtime, _configurations: folder })
    }

    /// Adds a pod; gives where it is and its address.
    ///
    /// # Errors
    /// What the plugins said.
    pub(crate) fn pod(&self) -> anyhow::Result<(Namespace, IpAddr)> {
        let pod = Namespace::new()?;
        let (_, result) = self.runtime.call("add", &pod, None)?;
        Ok((pod, address(&result)?))
    }
}

/// Two nodes on a wire.
pub(crate) struct Pair {
    pub(crate) nodes: [Node; 2],
    _wire: Namespace,
}

impl Pair {
    /// Makes them; their pods' devices get this MTU.
    ///
    /// # Errors
    /// If something can't be made.
    pub(crate) fn new(between: Between, mtu: u32) -> anyhow::Result<Self> {
        let wire = Namespace::new()?;
        wire.run(&["ip", "link", "add", "wire", "type", "bridge"])?;
        wire.run(&["ip", "link", "set", "wire", "up"])?;
        let nodes = [Node::new(1, mtu)?, Node::new(2, mtu)?];
        for (number, node) in [1u8, 2].into_iter().zip(&nodes) {
            let port = format!("to{number}");
            node.network.cable(UPLINK, &wire, &port)?;
            wire.run(&["ip", "link", "set", &port, "master", "wire"])?;
            node.network.address(UPLINK, &format!("192.0.2.{number}/24"))?;
            let other = 3 - number;
            let lines = match between {
                Between::Routes => {
                    vec![format!("ip route add 10.55.{other}.0/24 via 192.0.2.{other}")]
                }
                Between::Vxlan => tunnel(number, other),
            };
            for line in lines {
                node.network.run(&line.split(' ').collect::<Vec<_>>())?;
            }
        }
        Ok(Pair { nodes, _wire: wire })
    }
}

/// A tunnel with nothing to learn: addresses and MACs of its ends are written down.
fn tunnel(own: u8, other: u8) -> Vec<String> {
    let mac = |number| format!("02:00:00:00:55:0{number}");
    vec![
        format!(
            "ip link add vxlan1 address {} type vxlan id 1 dstport 8472 local 192.0.2.{own} dev {UPLINK} nolearning",
            mac(own)
        ),
        format!("ip address add 10.55.{own}.0/32 dev vxlan1"),
        "ip link set vxlan1 up".to_owned(),
        format!("ip neigh add 10.55.{other}.0 lladdr {} dev vxlan1 nud permanent", mac(other)),
        format!("bridge fdb add {} dev vxlan1 dst 192.0.2.{other} self permanent", mac(other)),
        format!("ip route add 10.55.{other}.0/24 via 10.55.{other}.0 dev vxlan1 onlink"),
    ]
}

/// Versions of the plugins and of cnitool, from where they are pinned.
///
/// # Errors
/// If that can't be read.
pub(crate) fn versions() -> anyhow::Result<Vec<(&'static str, String)>> {
    let file: PathBuf = peers::repository().join("tests/peers/cni/go.mod");
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let version = |module: &str| {
        let mut words = text.split_whitespace().skip_while(|word| *word != module);
        words.nth(1).unwrap_or("not pinned").to_owned()
    };
    Ok(vec![
        ("CNI plugins", version("github.com/containernetworking/plugins")),
        ("cnitool", version("github.com/containernetworking/cni")),
    ])
}
