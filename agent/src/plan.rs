//! From the cluster's Nodes to what is to hold on this one.

use std::{collections::BTreeSet, net::IpAddr};

use daymark_cluster::{Node, Snapshot};
use daymark_cni::node::{Applied, Mode, NodePlan, PeerNode, Switches};
use daymark_loader::NodeSettings;
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

/// How the operator wants it.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// This node's name.
    pub node_name: String,
    /// How packets get to other nodes.
    pub mode: Mode,
    /// UDP port of the tunnel.
    pub vxlan_port: u16,
    /// VXLAN network identifier.
    pub vni: u32,
    /// Whether what pods send out of the cluster leaves from the node's address.
    pub masquerade: bool,
    /// Ranges to which pods send with their own addresses, beside the cluster's own.
    pub native_ranges: Vec<IpNetwork>,
    /// Where the kernel's switches are.
    pub switches: Switches,
}

/// What is missing before there can be a plan.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Missing {
    /// No such Node.
    #[error("the cluster has no Node `{0}`; is --node-name (NODE_NAME) right?")]
    Node(String),
    /// No addresses.
    #[error("Node `{0}` has no address of type InternalIP in its status yet")]
    Address(String),
    /// No ranges.
    #[error(
        "Node `{0}` has no spec.podCIDRs yet; kube-controller-manager gives them with \
         --allocate-node-cidrs and --cluster-cidr"
    )]
    PodRanges(String),
}

/// The plan for this node.
///
/// # Errors
/// [`Missing`], which may come later.
pub fn plan(snapshot: &Snapshot, wishes: &Wishes) -> Result<NodePlan, Missing> {
    let name = &wishes.node_name;
    let own = snapshot.nodes.values().find(|node| node.name.as_str() == name);
    let own = own.ok_or_else(|| Missing::Node(name.clone()))?;
    if own.addresses.is_empty() {
        return Err(Missing::Address(name.clone()));
    }
    if own.pod_ranges.is_empty() {
        return Err(Missing::PodRanges(name.clone()));
    }
    let mut peers: Vec<PeerNode> = snapshot
        .nodes
        .values()
        .filter(|node| node.name != own.name)
        .map(|node| PeerNode {
            name: node.name.to_string(),
            addresses: one_of_each(&node.addresses, IpAddr::is_ipv4),
            pod_ranges: node.pod_ranges.to_vec(),
        })
        .collect();
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(NodePlan {
        node_addresses: one_of_each(&own.addresses, IpAddr::is_ipv4),
        pod_ranges: one_of_each(&own.pod_ranges, IpNetwork::is_ipv4),
        peers,
        mode: wishes.mode,
        vxlan_port: wishes.vxlan_port,
        switches: wishes.switches.clone(),
    })
}

/// The first of each family, as the API orders them by preference.
fn one_of_each<T: Clone>(all: &[T], is_ipv4: fn(&T) -> bool) -> Vec<T> {
    let first = |ipv4: bool| all.iter().find(|one| is_ipv4(one) == ipv4).cloned();
    let [v4, v6] = [first(true), first(false)];
    match all.first().is_none_or(is_ipv4) {
        true => v4.into_iter().chain(v6).collect(),
        false => v6.into_iter().chain(v4).collect(),
    }
}

/// What the programs have to know once a plan holds.
pub fn settings(
    plan: &NodePlan,
    applied: &Applied,
    wishes: &Wishes,
    nodes: &[Node],
) -> NodeSettings {
    let mut keep: BTreeSet<IpNetwork> = never_translated().into_iter().collect();
    keep.extend(&wishes.native_ranges);
    keep.extend(&plan.pod_ranges);
    keep.extend(plan.peers.iter().flat_map(|peer| &peer.pod_ranges));
    // Nodes have routes to pods, and are to see who asks. Not where there is a tunnel between them: the
    // network below it knows no pods, and what they send to a node itself goes through no tunnel.
    let tunnelled = |node: &&Node| {
        let mut ends = applied.peers.iter().filter_map(|peer| peer.tunnel);
        ends.any(|end| node.addresses.contains(&end))
    };
    let seen = nodes.iter().filter(|node| !tunnelled(node));
    keep.extend(seen.flat_map(|node| node.addresses.iter().copied()).map(IpNetwork::from));
    NodeSettings {
        uplink_ifindex: applied.uplink.index,
        vxlan_ifindex: applied.vxlan_ifindex,
        vni: wishes.vni,
        vxlan_port: plan.vxlan_port,
        node_addresses: plan.node_addresses.clone(),
        pod_ranges: plan.pod_ranges.clone(),
        masquerade: wishes.masquerade,
        no_masquerade: keep.into_iter().collect(),
    }
}

/// Link-local addresses (RFC 3927, RFC 4291 §2.5.6) and groups (RFC 5771, RFC 4291 §2.7): what is sent
/// there does not go beyond the wire.
fn never_translated() -> [IpNetwork; 4] {
    let v4 = |a, b, length| Ipv4Network::new([a, b, 0, 0].into(), length).map(IpNetwork::V4);
    let v6 =
        |a, length| Ipv6Network::new([a, 0, 0, 0, 0, 0, 0, 0].into(), length).map(IpNetwork::V6);
    [v4(169, 254, 16), v4(224, 0, 4), v6(0xfe80, 10), v6(0xff00, 8)]
        // Lengths that are written here are lengths of prefixes.
        .map(|range| range.unwrap_or_else(|_| unreachable!("a constant")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use daymark_cluster::{Event, Kind, KindSet, Name, Writer, event::Object};
    use daymark_loader::Peer;

    use super::*;

    fn node(name: &str, addresses: &[&str], ranges: &[&str]) -> Node {
        Node {
            name: Name::new(name),
            addresses: addresses.iter().map(|text| text.parse().expect("an address")).collect(),
            zone: None,
            pod_ranges: ranges.iter().map(|text| text.parse().expect("a range")).collect(),
        }
    }

    fn snapshot(nodes: &[Node]) -> Arc<Snapshot> {
        let kinds: KindSet = [Kind::Node].into_iter().collect();
        let mut writer = Writer::new(kinds);
        let events = nodes.iter().enumerate().map(|(version, node)| Event::Apply {
            object: Object::Node(Arc::new(node.clone())),
            version: version as u64 + 1,
        });
        writer.apply(events);
        writer.reader().snapshot()
    }

    fn wishes() -> Wishes {
        Wishes {
            node_name: "n1".to_owned(),
            mode: Mode::Auto,
            vxlan_port: 8472,
            vni: 1,
            masquerade: true,
            native_ranges: vec!["192.168.0.0/16".parse().expect("a range")],
            switches: Switches::default(),
        }
    }

    #[test]
    fn a_node_needs_an_object_an_address_and_ranges() {
        for (nodes, missing) in [
            (vec![], Missing::Node("n1".into())),
            (vec![node("n1", &[], &["10.244.1.0/24"])], Missing::Address("n1".into())),
            (vec![node("n1", &["192.0.2.1"], &[])], Missing::PodRanges("n1".into())),
        ] {
            assert_eq!(plan(&snapshot(&nodes), &wishes()), Err(missing));
        }
    }

    #[test]
    fn nothing_inside_the_cluster_is_translated() {
        let nodes = [
            node("n2", &["192.0.2.2"], &["10.244.2.0/24"]),
            node("n1", &["192.0.2.1", "192.0.2.99", "2001:db8::1"], &["10.244.1.0/24"]),
        ];
        let made = plan(&snapshot(&nodes), &wishes()).expect("a plan");
        assert_eq!(made.node_addresses.len(), 2, "one of each family");
        assert_eq!(made.peers[0].name, "n2");
        let mut applied = Applied {
            uplink: Default::default(),
            vxlan_ifindex: None,
            pod_mtu: 1500,
            peers: Vec::new(),
            unreachable: Vec::new(),
        };
        let told = settings(&made, &applied, &wishes(), &nodes);
        let kept: Vec<String> = told.no_masquerade.iter().map(ToString::to_string).collect();
        for range in [
            "10.244.1.0/24",
            "10.244.2.0/24",
            "192.0.2.2/32",
            "192.0.2.99/32",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "2001:db8::1/128",
        ] {
            assert!(kept.iter().any(|kept| kept == range), "{range} in {kept:?}");
        }
        let tunnel = "192.0.2.2".parse().ok();
        applied.peers = vec![Peer { pods: nodes[0].pod_ranges[0], tunnel }];
        let told = settings(&made, &applied, &wishes(), &nodes);
        let kept: Vec<String> = told.no_masquerade.iter().map(ToString::to_string).collect();
        assert!(
            kept.contains(&"10.244.2.0/24".to_owned())
                && !kept.contains(&"192.0.2.2/32".to_owned())
        );
    }
}
