use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn range(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn way(mode: Mode, node: &[&str], peer: &[&str], pods: &str) -> Result<Option<IpAddr>, String> {
    let uplink = Uplink {
        index: 2,
        name: "eth0".to_owned(),
        mtu: 1500,
        networks: vec![range("192.0.2.1/24"), range("2001:db8::1/64")],
    };
    let peer = PeerNode {
        name: "other".to_owned(),
        addresses: peer.iter().map(|text| ip(text)).collect(),
        pod_ranges: vec![range(pods)],
    };
    let node_addresses = node.iter().map(|text| ip(text)).collect();
    let plan = NodePlan { node_addresses, peers: vec![peer], mode, ..NodePlan::default() };
    let (peers, unreachable) = routes::choose(&plan, &uplink).told();
    match unreachable.into_iter().next() {
        Some((_, reason)) => Err(reason),
        None => Ok(peers[0].tunnel),
    }
}

#[test]
fn each_mode_has_its_way_to_near_and_far_nodes() {
    let both = ["192.0.2.1", "2001:db8::1"];
    let near = ["192.0.2.2", "2001:db8::2"];
    let far = ["203.0.113.2", "2001:db8:9::2"];
    for pods in ["10.244.2.0/24", "fd00::/64"] {
        assert_eq!(way(Mode::Native, &both, &near, pods), Ok(None));
        assert_eq!(way(Mode::Auto, &both, &near, pods), Ok(None));
        assert_eq!(way(Mode::Vxlan, &both, &near, pods), Ok(Some(ip("192.0.2.2"))), "IPv4 first");
        assert_eq!(way(Mode::Auto, &both, &far, pods), Ok(Some(ip("203.0.113.2"))));
        assert!(way(Mode::Native, &both, &far, pods).unwrap_err().contains("on no network"));
    }
    // Pods of a family that the nodes don't have travel in the other one's tunnels.
    assert_eq!(way(Mode::Auto, &both[..1], &near[..1], "fd00::/64"), Ok(Some(ip("192.0.2.2"))));
    assert_eq!(way(Mode::Vxlan, &both[1..], &far[1..], "10.0.0.0/24"), Ok(Some(ip(far[1]))));
    assert!(way(Mode::Native, &both, &near[..1], "fd00::/64").unwrap_err().contains("family"));
    assert!(way(Mode::Auto, &both[..1], &far[1..], "fd00::/64").is_err(), "no common family");
}

#[test]
fn a_range_has_one_node() {
    let peer = |name: &str, last: u8| PeerNode {
        name: name.to_owned(),
        addresses: vec![[192, 0, 2, last].into()],
        pod_ranges: vec![range("10.244.2.0/24")],
    };
    let uplink = Uplink { networks: vec![range("192.0.2.1/24")], ..Uplink::default() };
    let peers = vec![peer("one", 2), peer("two", 3)];
    let plan = NodePlan { node_addresses: vec![ip("192.0.2.1")], peers, ..NodePlan::default() };
    let ways = routes::choose(&plan, &uplink);
    let routes = ways.routes(&uplink, None, &plan.node_addresses);
    assert_eq!(routes.into_iter().map(|r| r.gateway).collect::<Vec<_>>(), [Some(ip("192.0.2.2"))]);
    let (_, unreachable) = ways.told();
    assert!(unreachable[0].1.contains("two"), "{unreachable:?}");
}
