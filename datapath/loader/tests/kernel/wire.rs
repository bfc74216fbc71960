//! Between nodes and to the outside: native routes, VXLAN, masquerade.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use daymark_abi::DropReason;
use daymark_loader::{Datapath, NodeSettings, Peer};

use crate::{
    lab::{Node, Pod, Space, run},
    local::{PATIENCE, ask_tcp, ask_udp, ask_udp_within, is_refused, serve, unspecified},
};

/// A segment that nodes are on; its own namespace is the outside.
pub(crate) struct Wire {
    pub(crate) outside: Space,
}

pub(crate) const OUTSIDE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

impl Wire {
    pub(crate) fn new() -> Wire {
        let outside = Space::new("out");
        outside.set(&[("ipv6/conf/default/accept_dad", "0")]);
        outside.ip("link add br0 type bridge\nlink set br0 up\n\
             addr add 192.0.2.1/24 dev br0\naddr add 2001:db8::1/64 dev br0 nodad\n");
        Wire { outside }
    }

    /// Joins a node to it; gives the index of the node's uplink.
    fn join(&self, node: &Node) -> u32 {
        let number = node.number;
        node.space.set(&[("ipv6/conf/default/accept_dad", "0")]);
        self.outside.ip(&format!(
            "link add port{number} type veth peer name up0 netns {}\n\
             link set port{number} master br0\nlink set port{number} up\n",
            node.space.name
        ));
        node.space.ip(&format!(
            "link set up0 up\naddr add 192.0.2.{host}/24 dev up0\n\
             addr add 2001:db8::{host}/64 dev up0 nodad\n\
             route add default via 192.0.2.1\nroute add default via 2001:db8::1\n",
            host = 10 + number
        ));
        node.space.device("up0").0
    }
}

pub(crate) fn addresses(node: &Node) -> [IpAddr; 2] {
    let host = 10 + node.number;
    [
        format!("192.0.2.{host}").parse().expect("v4"),
        format!("2001:db8::{host}").parse().expect("v6"),
    ]
}

fn settings(node: &Node, uplink: u32) -> NodeSettings {
    NodeSettings {
        uplink_ifindex: uplink,
        vxlan_ifindex: None,
        vni: 1,
        vxlan_port: 8472,
        node_addresses: addresses(node).to_vec(),
        pod_ranges: ranges(node.number),
        masquerade: true,
        no_masquerade: ["10.244.0.0/16", "fd00:244::/32"].map(|r| r.parse().expect("range")).into(),
    }
}

fn ranges(number: u8) -> Vec<ipnetwork::IpNetwork> {
    [format!("10.244.{number}.0/24"), format!("fd00:244:{number}::/64")]
        .map(|range| range.parse().expect("a range"))
        .into()
}

/// A node on a wire, with masquerade.
pub(crate) fn node_on(wire: &Wire, number: u8) -> Node {
    on_wire(wire, Node::new(number))
}

pub(crate) fn on_wire(wire: &Wire, node: Node) -> Node {
    let uplink = wire.join(&node);
    let settings = settings(&node, uplink);
    node.space.within(|| node.kernel.configure(&settings).expect("configured"));
    node
}

pub(crate) fn route_natively(from: &Node, to: &Node) {
    let [v4, v6] = addresses(to);
    let [pods4, pods6] = ranges(to.number).try_into().expect("two");
    from.space.ip(&format!("route add {pods4} via {v4}\nroute add {pods6} via {v6}\n"));
    let peers: Vec<Peer> =
        ranges(to.number).into_iter().map(|pods| Peer { pods, tunnel: None }).collect();
    from.kernel.set_peers(&peers).expect("peers");
}

pub(crate) fn families(pod: &Pod) -> [IpAddr; 2] {
    [pod.v4, pod.v6]
}

#[test]
fn pods_reach_the_outside_from_the_nodes_address() {
    if !crate::runs_here() {
        return;
    }
    let wire = Wire::new();
    let node = node_on(&wire, 1);
    let pod = node.pod(5);
    for (outside, seen_as) in OUTSIDE.into_iter().zip(addresses(&node)) {
        let to = SocketAddr::new(outside.parse().expect("an address"), 80);
        serve(&wire.outside, to.ip(), 80);
        let udp = ask_udp(&pod.space, to).expect("UDP is answered");
        let tcp = ask_tcp(&pod.space, to).expect("TCP is answered");
        assert_eq!([udp.ip(), tcp.ip()], [seen_as; 2]);
        assert!(udp.port() >= 1024 && udp.port() < 1024 + 28_672);

        // A closed port is told by an ICMP error about what the outside has seen.
        assert!(is_refused(&pod.space, SocketAddr::new(to.ip(), 9)));
    }
    assert_eq!(node.kernel.drops().expect("counters"), []);
}

#[test]
fn whoever_reaches_a_pod_is_answered_from_the_pods_address() {
    if !crate::runs_here() {
        return;
    }
    let wire = Wire::new();
    let node = node_on(&wire, 1);
    let pod = node.pod(5);
    wire.outside
        .ip("route add 10.244.1.0/24 via 192.0.2.11\nroute add fd00:244:1::/64 via 2001:db8::11\n");
    for (address, outside) in families(&pod).into_iter().zip(OUTSIDE) {
        serve(&pod.space, address, 80);
        let to = SocketAddr::new(address, 80);
        let outside: IpAddr = outside.parse().expect("an address");
        // A connected socket takes answers from no other address.
        assert_eq!(ask_udp(&wire.outside, to).map(|seen| seen.ip()), Some(outside));
        assert_eq!(ask_tcp(&wire.outside, to).map(|seen| seen.ip()), Some(outside));
    }
}

#[test]
fn pods_of_two_nodes_see_each_others_addresses() {
    if !crate::runs_here() {
        return;
    }
    let wire = Wire::new();
    let (one, other) = (node_on(&wire, 1), node_on(&wire, 2));
    route_natively(&one, &other);
    route_natively(&other, &one);
    check_pods(&one, &other);
    assert_eq!(one.seen("from_overlay"), 0);
    assert!(one.seen("from_wire") > 0);
}

fn check_pods(one: &Node, other: &Node) {
    let (client, server) = (one.pod(5), other.pod(6));
    for (from, to) in families(&client).into_iter().zip(families(&server)) {
        serve(&server.space, to, 80);
        let to = SocketAddr::new(to, 80);
        assert_eq!(ask_udp(&client.space, to).map(|seen| seen.ip()), Some(from), "UDP");
        assert_eq!(ask_tcp(&client.space, to).map(|seen| seen.ip()), Some(from), "TCP");
    }
    for node in [one, other] {
        assert_eq!(node.kernel.drops().expect("counters"), []);
        assert_eq!(node.seen("to_pod"), 0, "nothing went through the stack");
    }
}

/// Has a node's stack translate a Service's address to a pod, as kube-proxy's rules do, and drop
/// what its connection tracking finds invalid.
pub(crate) fn translate(node: &Node, service: [&str; 2], to: &Pod) {
    let rules = format!(
        "table inet test {{
            chain pre {{
                type nat hook prerouting priority dstnat
                ip daddr {} meta l4proto {{ tcp, udp }} dnat ip to {}
                ip6 daddr {} meta l4proto {{ tcp, udp }} dnat ip6 to {}
            }}
            chain forward {{
                type filter hook forward priority filter
                ct state invalid drop
            }}
        }}",
        service[0], to.v4, service[1], to.v6
    );
    node.space.within(|| {
        let mut nft = std::process::Command::new("nft");
        nft.args(["-f", "-"]).stdin(std::process::Stdio::piped());
        let mut child = nft.spawn().expect("nft starts");
        let mut input = child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut input, rules.as_bytes()).expect("written");
        drop(input);
        assert!(child.wait().expect("waited").success());
    });
}

#[test]
fn what_the_stack_has_translated_is_answered_through_it() {
    if !crate::runs_here() || !crate::has_nft() {
        return;
    }
    for tunnelled in [false, true] {
        let wire = Wire::new();
        let (one, other) = (node_on(&wire, 1), node_on(&wire, 2));
        if tunnelled {
            tunnel(&one, &other, 1);
            tunnel(&other, &one, 1);
        } else {
            route_natively(&one, &other);
            route_natively(&other, &one);
        }
        let (client, near, far) = (one.pod(5), one.pod(6), other.pod(7));
        for (target, service) in
            [(&near, ["10.96.0.1", "fd00:96::1"]), (&far, ["10.96.0.2", "fd00:96::2"])]
        {
            translate(&one, service, target);
            for (own, virtual_address) in families(target).into_iter().zip(service) {
                serve(&target.space, own, 80);
                let service = SocketAddr::new(virtual_address.parse().expect("an address"), 80);
                // Several times, and straight to the pod in between: each way has its own answer.
                for _ in 0..3 {
                    assert!(ask_udp(&client.space, service).is_some(), "UDP to {service}");
                    assert!(ask_tcp(&client.space, service).is_some(), "TCP to {service}");
                    assert!(ask_udp(&client.space, SocketAddr::new(own, 80)).is_some());
                    assert!(ask_tcp(&client.space, SocketAddr::new(own, 80)).is_some());
                    assert!(is_refused(&client.space, SocketAddr::new(own, 9)), "{own}");
                }
            }
        }
        assert_eq!(one.kernel.drops().expect("counters"), []);
    }
}

/// Makes the tunnel device and what leads into it.
fn tunnel(from: &Node, to: &Node, vni: u32) {
    tunnel_over(from, to, vni, 0);
}

/// Over the addresses of the first or the second family.
fn tunnel_over(from: &Node, to: &Node, vni: u32, family: usize) {
    let number = to.number;
    from.space.ip(&format!(
        "link add daymark_vxlan type vxlan external dstport 8472\nlink set daymark_vxlan up\n\
         route add 10.244.{number}.0/24 dev daymark_vxlan src 10.244.{own}.1\n\
         route add fd00:244:{number}::/64 dev daymark_vxlan src fd00:244:{own}::1\n",
        own = from.number
    ));
    run(std::process::Command::new("ip").args(["-n", &from.space.name, "link", "set"]).args([
        "daymark_vxlan",
        "arp",
        "off",
    ]));
    let uplink = from.space.device("up0").0;
    let vxlan = from.space.device("daymark_vxlan").0;
    let settings = NodeSettings { vxlan_ifindex: Some(vxlan), vni, ..settings(from, uplink) };
    from.space.within(|| from.kernel.configure(&settings).expect("configured"));
    let end = addresses(to)[family];
    let peers: Vec<Peer> =
        ranges(number).into_iter().map(|pods| Peer { pods, tunnel: Some(end) }).collect();
    from.kernel.set_peers(&peers).expect("peers");
}

#[test]
fn tunnels_run_over_ipv6_too_and_lead_from_a_node_to_pods_of_the_other() {
    if !crate::runs_here() {
        return;
    }
    let wire = Wire::new();
    let (one, other) = (node_on(&wire, 1), node_on(&wire, 2));
    tunnel_over(&one, &other, 7, 1);
    tunnel_over(&other, &one, 7, 1);
    check_pods(&one, &other);
    assert!(one.seen("from_overlay") > 0 && one.seen("to_overlay") > 0);
    // A node is seen as its gateway, to which there is a way back through the tunnel.
    let pod = other.pod(9);
    for (own, gateway) in families(&pod).into_iter().zip(["10.244.1.1", "fd00:244:1::1"]) {
        serve(&pod.space, own, 80);
        let gateway: IpAddr = gateway.parse().expect("an address");
        let to = SocketAddr::new(own, 80);
        assert_eq!(ask_tcp(&one.space, to).map(|seen| seen.ip()), Some(gateway));
        assert_eq!(ask_udp(&one.space, to).map(|seen| seen.ip()), Some(gateway));
    }
}

#[test]
fn tunnels_carry_both_families_and_refuse_other_networks() {
    if !crate::runs_here() {
        return;
    }
    let wire = Wire::new();
    let (one, other) = (node_on(&wire, 1), node_on(&wire, 2));
    tunnel(&one, &other, 7);
    tunnel(&other, &one, 7);
    check_pods(&one, &other);
    assert!(one.seen("from_overlay") > 0 && one.seen("to_overlay") > 0);

    let client = one.pod(8);
    let to = SocketAddr::new("10.244.2.6".parse().expect("an address"), 80);
    let uplink = one.space.device("up0").0;
    let vxlan = one.space.device("daymark_vxlan").0;
    let wrong = NodeSettings { vxlan_ifindex: Some(vxlan), vni: 8, ..settings(&one, uplink) };
    one.space.within(|| one.kernel.configure(&wrong).expect("configured"));
    assert_eq!(ask_udp_within(&client.space, to, Duration::from_millis(200)), None);
    assert_eq!(other.dropped(DropReason::INVALID_VNI), 1);
    one.kernel.set_peers(&[]).expect("peers");
    assert_eq!(ask_udp_within(&client.space, to, Duration::from_millis(200)), None);
    assert_eq!(one.dropped(DropReason::NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT), 1);
}

/// A datagram that takes several packets, and its echo.
fn echo_in_pieces(from: &Space, server: &Space, to: SocketAddr) -> bool {
    let socket = server.within(|| UdpSocket::bind(to).expect("bound"));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = vec![0; 10_000];
            socket.set_read_timeout(Some(PATIENCE)).expect("set");
            if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], peer);
            }
        });
        from.within(|| {
            let socket = UdpSocket::bind((unspecified(to.ip()), 0)).expect("bound");
            socket.connect(to).expect("connected");
            socket.set_read_timeout(Some(PATIENCE)).expect("set");
            let sent: Vec<u8> = (0..8000u32).map(|n| n as u8).collect();
            socket.send(&sent).expect("sent");
            let mut buffer = vec![0; 10_000];
            socket.recv(&mut buffer).is_ok_and(|length| buffer[..length] == sent)
        })
    })
}

#[test]
fn datagrams_in_pieces_arrive_everywhere() {
    if !crate::runs_here() {
        return;
    }
    for tunnelled in [false, true] {
        let wire = Wire::new();
        let (one, other) = (node_on(&wire, 1), node_on(&wire, 2));
        if tunnelled {
            tunnel(&one, &other, 1);
            tunnel(&other, &one, 1);
        } else {
            route_natively(&one, &other);
            route_natively(&other, &one);
        }
        let (client, near, far) = (one.pod(5), one.pod(6), other.pod(7));
        let outside = OUTSIDE.map(|address| address.parse().expect("an address"));
        for (port, (space, addresses)) in
            [(&near.space, families(&near)), (&far.space, families(&far)), (&wire.outside, outside)]
                .into_iter()
                .enumerate()
        {
            for address in addresses {
                let to = SocketAddr::new(address, 7000 + port as u16);
                assert!(echo_in_pieces(&client.space, space, to), "{to}");
            }
        }
        assert_eq!(one.kernel.drops().expect("counters"), []);
    }
}

#[test]
fn thousands_of_peers_are_set_and_too_many_refused() {
    if !crate::runs_here() {
        return;
    }
    let node = Node::new(1);
    let peers = |count: u32| -> Vec<Peer> {
        let range = |number: u32| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + (number << 8));
            ipnetwork::IpNetwork::new(address.into(), 24).expect("a range")
        };
        let tunnel = Some("192.0.2.77".parse().expect("an address"));
        (0..count).map(|number| Peer { pods: range(number), tunnel }).collect()
    };
    let entries = || {
        let tables = node.kernel.tables().expect("tables");
        tables.into_iter().find(|fill| fill.table == "PEERS").expect("a table").entries
    };
    for count in [5000, 5000, 4000, 0, 7000] {
        node.kernel.set_peers(&peers(count)).expect("set");
        assert_eq!(entries(), u64::from(count));
    }
    let full = node.kernel.set_peers(&peers(20_000)).expect_err("refused");
    assert_eq!(full.to_string(), "the table PEERS is full: it holds 16384 entries");
    node.kernel.set_peers(&peers(1)).expect("set");
    assert_eq!(entries(), 1);
}
