//! How the agent is doing, whole: what it waits for, how the node's network is made, what the programs
//! count. Served as JSON at `/status`; `daymark status` puts it in words.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use daymark_abi::counter;
use daymark_cni::{
    attachments::Attachments,
    node::{Applied, NodePlan, Uplink},
};
use daymark_loader::{DatapathError, Kernel};
use ipnetwork::IpNetwork;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{foreign, serving::Readiness};

/// How an agent is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The node's name.
    pub node: String,
    /// The agent's version.
    pub version: String,
    /// Whether pods can be added.
    pub ready: bool,
    /// What it waits for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// What went wrong when the cluster's last change was to be made to hold. The state before it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// The node's network, once it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Pods that are attached.
    pub pods: usize,
    /// How full the pod ranges are.
    pub pod_ranges: Vec<PodRange>,
    /// Packets dropped, by reason and direction.
    pub drops: Vec<Drops>,
    /// How full the programs' tables are.
    pub tables: Vec<Table>,
    /// Programs of others at the uplink. They are left alone.
    pub foreign: Vec<String>,
}

/// How a node's network is made.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The device that has the node's addresses.
    pub uplink: String,
    /// The node's addresses.
    pub addresses: Vec<IpAddr>,
    /// MTU of pods' links, in octets.
    pub pod_mtu: u32,
    /// The other nodes.
    pub nodes: Vec<OtherNode>,
}

/// Another node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherNode {
    /// Its name.
    pub name: String,
    /// Its pod ranges, with the way to them: `native`, `vxlan to ADDRESS`, or why there is none.
    pub pod_ranges: BTreeMap<String, String>,
}

/// A pod range of this node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRange {
    /// Which.
    pub range: IpNetwork,
    /// Addresses that are handed out.
    pub taken: usize,
    /// Addresses that can be; the largest number there is where they are more.
    pub size: u64,
}

/// Packets dropped for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drops {
    /// Hubble's name of the reason.
    pub reason: String,
    /// `INGRESS` or `EGRESS`.
    pub direction: String,
    /// How many.
    pub packets: u64,
}

/// A table of the programs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// Its name.
    pub table: String,
    /// Entries in it.
    pub entries: u64,
    /// Entries that it has room for.
    pub limit: u32,
    /// Octets of kernel memory that it takes.
    pub memory: u64,
}

/// Where the agent notes what its status is made of.
pub struct Reporter {
    node: String,
    readiness: Readiness,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    waits_for: Option<String>,
    failed: Option<String>,
    /// With the uplink.
    network: Option<(Network, Uplink)>,
    datapath: Option<Arc<Kernel>>,
    attachments: Option<Arc<Attachments>>,
}

impl Reporter {
    /// Of a node's agent that has just started.
    pub(crate) fn new(node: String, readiness: Readiness) -> Self {
        Reporter { node, readiness, known: Mutex::default() }
    }

    pub(crate) fn waits_for(&self, what: Option<String>) {
        self.known.lock().waits_for = what;
    }

    pub(crate) fn failed(&self, why: Option<String>) {
        self.known.lock().failed = why;
    }

    pub(crate) fn made(&self, plan: &NodePlan, applied: &Applied) {
        let network = network(plan, applied);
        self.known.lock().network = Some((network, applied.uplink.clone()));
    }

    pub(crate) fn has_datapath(&self, datapath: Arc<Kernel>) {
        self.known.lock().datapath = Some(datapath);
    }

    pub(crate) fn has_attachments(&self, attachments: Arc<Attachments>) {
        self.known.lock().attachments = Some(attachments);
    }

    /// The status now. It walks tables, and blocks.
    ///
    /// # Errors
    /// If the kernel does not tell what is in a table.
    pub fn status(&self) -> Result<Status, DatapathError> {
        let (mut status, uplink, datapath, attachments) = {
            let known = self.known.lock();
            let (network, uplink) = known.network.clone().unzip();
            let status = Status {
                node: self.node.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ready: self.readiness.get(),
                waits_for: known.waits_for.clone(),
                failed: known.failed.clone(),
                network,
                ..Status::default()
            };
            (status, uplink, known.datapath.clone(), known.attachments.clone())
        };
        if let Some(attachments) = attachments {
            let (count, fill) = attachments.fill();
            status.pods = count;
            let range = |fill: daymark_cni::ipam::Fill| PodRange {
                range: fill.range,
                taken: fill.taken,
                size: fill.size.try_into().unwrap_or(u64::MAX),
            };
            status.pod_ranges = fill.into_iter().map(range).collect();
        }
        if let Some(datapath) = datapath {
            status.drops = drops(&datapath)?;
            let table = |fill: daymark_loader::kernel::Fill| Table {
                table: fill.table.to_owned(),
                entries: fill.entries,
                limit: fill.limit,
                memory: fill.memory,
            };
            status.tables = datapath.tables()?.into_iter().map(table).collect();
            if let Some(uplink) = uplink {
                status.foreign = foreign::programs(&datapath, &uplink);
            }
        }
        Ok(status)
    }
}

fn drops(datapath: &Kernel) -> Result<Vec<Drops>, DatapathError> {
    let drops = datapath.drops()?.into_iter().map(|dropped| Drops {
        reason: dropped.reason.name().to_owned(),
        direction: if dropped.direction == counter::INGRESS { "INGRESS" } else { "EGRESS" }.into(),
        packets: dropped.count.packets,
    });
    Ok(drops.collect())
}

fn network(plan: &NodePlan, applied: &Applied) -> Network {
    let way = |range: &IpNetwork| {
        let unreachable = applied.unreachable.iter().find(|(unreachable, _)| unreachable == range);
        let peer = applied.peers.iter().find(|peer| peer.pods == *range);
        match (unreachable, peer.and_then(|peer| peer.tunnel)) {
            (Some((_, why)), _) => why.clone(),
            (None, Some(tunnel)) => format!("vxlan to {tunnel}"),
            (None, None) => "native".to_owned(),
        }
    };
    let nodes = plan.peers.iter().map(|peer| OtherNode {
        name: peer.name.clone(),
        pod_ranges: peer.pod_ranges.iter().map(|range| (range.to_string(), way(range))).collect(),
    });
    Network {
        uplink: applied.uplink.name.clone(),
        addresses: plan.node_addresses.clone(),
        pod_mtu: applied.pod_mtu,
        nodes: nodes.collect(),
    }
}

#[cfg(test)]
mod tests {
    use daymark_cni::node::PeerNode;
    use daymark_loader::Peer;

    use super::*;

    #[test]
    fn the_way_to_each_range_is_told() {
        let range = |text: &str| text.parse::<IpNetwork>().expect("a range");
        let ranges = ["10.244.2.0/24", "10.244.3.0/24", "fd00:3::/64"].map(range);
        let plan = NodePlan {
            peers: vec![
                PeerNode {
                    name: "n2".to_owned(),
                    pod_ranges: vec![ranges[0]],
                    ..PeerNode::default()
                },
                PeerNode {
                    name: "n3".to_owned(),
                    pod_ranges: ranges[1..].to_vec(),
                    ..PeerNode::default()
                },
            ],
            ..NodePlan::default()
        };
        let applied = Applied {
            uplink: Uplink { name: "eth0".to_owned(), index: 2, mtu: 1500, ..Uplink::default() },
            vxlan_ifindex: Some(9),
            pod_mtu: 1450,
            peers: vec![
                Peer { pods: ranges[0], tunnel: None },
                Peer { pods: ranges[1], tunnel: "192.0.2.3".parse().ok() },
            ],
            unreachable: vec![(ranges[2], "no IPv6 between the nodes".to_owned())],
        };
        let told = network(&plan, &applied);
        let ways: Vec<&str> = told
            .nodes
            .iter()
            .flat_map(|node| node.pod_ranges.values().map(String::as_str))
            .collect();
        assert_eq!(ways, ["native", "vxlan to 192.0.2.3", "no IPv6 between the nodes"]);
        let whole = Status { network: Some(told), ..Status::default() };
        let text = serde_json::to_string(&whole).expect("JSON");
        assert_eq!(serde_json::from_str::<Status>(&text).expect("read back"), whole);
    }
}
