//! Masquerade and the tables of connections, packet by packet: what goes out, what comes back, and
//! what happens when there is no room.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use daymark_abi::{
    DropReason,
    flow::{FIRST_PORT, PORTS},
};
use daymark_loader::{Datapath, HostPort, NodeSettings, Transport};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use crate::{
    frame::{ACK, Body, Frame, SYN},
    lab::{Node, Pod},
    local::PATIENCE,
};

const NODE: [&str; 2] = ["192.0.2.11", "2001:db8::11"];

/// Where nodes take each other's tunnels.
const TUNNEL_PORT: u16 = 8472;

fn node(number: u8, memory: u64) -> (Node, Pod) {
    let node = Node::with_memory(number, memory);
    let pod = node.pod(5);
    let settings = NodeSettings {
        // A device that is in every namespace.
        vxlan_ifindex: Some(1),
        vxlan_port: TUNNEL_PORT,
        node_addresses: NODE.map(|address| address.parse().expect("an address")).into(),
        masquerade: true,
        no_masquerade: vec!["10.0.0.0/8".parse().expect("a range")],
        ..NodeSettings::default()
    };
    node.space.within(|| node.kernel.configure(&settings).expect("configured"));
    (node, pod)
}

/// Runs a program and gives its action and the packet. The device is the pod's for all hooks: frames
/// are sent to its MAC.
fn run(node: &Node, hook: &str, frame: &Frame) -> (i32, Vec<u8>) {
    run_octets(node, hook, &frame.octets())
}

fn run_octets(node: &Node, hook: &str, octets: &[u8]) -> (i32, Vec<u8>) {
    let known = node.kernel.endpoints().expect("endpoints");
    let ifindex = known[0].host_ifindex;
    let outcome = node.kernel.try_packet(hook, ifindex, octets, 1).expect("run");
    (outcome.action, outcome.packet)
}

/// The ends' ports; the identifier of an echo is the port of the end that asks.
fn ports(body: Body) -> (u16, u16) {
    match body {
        Body::Tcp { source, destination, .. }
        | Body::Udp { source, destination }
        | Body::Sctp { source, destination } => (source, destination),
        Body::Echo { identifier, reply: false } => (identifier, 0),
        Body::Echo { identifier, reply: true } => (0, identifier),
        Body::Other => (0, 0),
    }
}

fn with_ports(body: Body, source: u16, destination: u16) -> Body {
    match body {
        Body::Tcp { flags, .. } => Body::Tcp { source, destination, flags },
        Body::Udp { .. } => Body::Udp { source, destination },
        Body::Sctp { .. } => Body::Sctp { source, destination },
        Body::Echo { reply, .. } => Body::Echo { identifier: source.max(destination), reply },
        Body::Other => Body::Other,
    }
}

/// What answers a packet.
fn reply(frame: &Frame) -> Frame {
    let (source, destination) = ports(frame.body);
    let body = match with_ports(frame.body, destination, source) {
        Body::Echo { identifier, .. } => Body::Echo { identifier, reply: true },
        Body::Tcp { source, destination, .. } => {
            Body::Tcp { source, destination, flags: SYN | ACK }
        }
        other => other,
    };
    Frame { source: frame.destination, destination: frame.source, body, ..frame.clone() }
}

/// The source port of a frame's octets.
fn source_port(octets: &[u8], v4: bool, echo: bool) -> u16 {
    let at = 14 + if v4 { 20 } else { 40 } + if echo { 4 } else { 0 };
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

fn frame(pod: &Pod, to: IpAddr, body: Body) -> Frame {
    let source = if to.is_ipv4() { pod.v4 } else { pod.v6 };
    Frame {
        source_mac: pod.endpoint.pod_mac,
        destination_mac: pod.endpoint.host_mac,
        source,
        destination: to,
        hops: 63,
        body,
    }
}

#[test]
fn what_goes_out_translated_comes_back_as_it_went() {
    if !crate::runs_here() {
        return;
    }
    let (node, pod) = node(1, 8 << 30);
    let outside = prop_oneof![
        (0u8..3).prop_map(|last| IpAddr::from([198, 51, 100, last])),
        (0u16..3).prop_map(|last| IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, last])),
    ];
    let port = || 1u16..200;
    let body = prop_oneof![
        (port(), port()).prop_map(|(source, destination)| Body::Tcp {
            source,
            destination,
            flags: SYN
        }),
        (port(), port()).prop_map(|(source, destination)| Body::Udp { source, destination }),
        (port(), port()).prop_map(|(source, destination)| Body::Sctp { source, destination }),
        port().prop_map(|identifier| Body::Echo { identifier, reply: false }),
        Just(Body::Other),
    ];
    let strategy = (outside, body);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let mut given: HashMap<(u8, SocketAddr, u16), u16> = HashMap::new();
    node.space.within(|| {
        for _ in 0..3000 {
            let (to, body) = strategy.new_tree(&mut runner).expect("a packet").current();
            let sent = frame(&pod, to, body);
            let (action, octets) = run(&node, "to_wire", &sent);
            if body == Body::Other {
                assert_eq!(action, 2, "{sent:?}");
                continue;
            }
            assert_eq!(action, -1, "{sent:?}");
            let v4 = to.is_ipv4();
            let port = source_port(&octets, v4, matches!(body, Body::Echo { .. }));
            let own = ports(body);
            if matches!(body, Body::Sctp { .. }) {
                assert_eq!(port, own.0, "SCTP keeps its port");
            } else {
                assert!((FIRST_PORT..FIRST_PORT + PORTS).contains(&port), "{port}");
            }
            let source = NODE[usize::from(!v4)].parse().expect("an address");
            let left = Frame { source, body: with_ports(body, port, own.1), ..sent.clone() };
            assert_eq!(octets, left.octets(), "{sent:?}");
            // The same connection has the same port each time, and no other one has it.
            let key = (body.protocol(v4), SocketAddr::new(to, own.1), port);
            assert_eq!(*given.entry(key).or_insert(own.0), own.0, "{sent:?}");

            let (action, octets) = run(&node, "from_wire", &reply(&left));
            assert_eq!((action, octets), (-1, reply(&sent).octets()), "{sent:?}");
        }
    });
    assert!(given.len() > 1000);
    assert!(node.dropped(DropReason::UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE) > 0);
    assert_eq!(node.dropped(DropReason::NO_MAPPING_FOR_NAT_MASQUERADE), 0);
}

#[test]
fn exclusions_others_traffic_and_replies_leave_as_they_are() {
    if !crate::runs_here() {
        return;
    }
    let (node, pod) = node(2, 1 << 28);
    let body = Body::Udp { source: 9, destination: 53 };
    node.space.within(|| {
        let excluded = frame(&pod, [10, 9, 8, 7].into(), body);
        assert_eq!(run(&node, "to_wire", &excluded), (-1, excluded.octets()));
        let outside = frame(&pod, [198, 51, 100, 1].into(), body);
        let host = Frame { source: [192, 0, 2, 11].into(), ..outside.clone() };
        assert_eq!(run(&node, "to_wire", &host), (-1, host.octets()));
        // Who reached the pod itself is answered by the pod.
        let came = reply(&outside);
        assert_eq!(run(&node, "to_pod", &came), (-1, came.octets()));
        assert_eq!(run(&node, "to_wire", &outside), (-1, outside.octets()));
    });
}

#[test]
fn both_ends_may_ask_for_echoes_with_the_same_identifier() {
    if !crate::runs_here() {
        return;
    }
    let (node, pod) = node(6, 1 << 28);
    let body = Body::Echo { identifier: 4242, reply: false };
    for (number, to) in ["198.51.100.7", "2001:db8:1::7"].into_iter().enumerate() {
        let sent = frame(&pod, to.parse().expect("an address"), body);
        let came = Frame { source: sent.destination, destination: sent.source, ..sent.clone() };
        node.space.within(|| {
            assert_eq!(run(&node, "to_pod", &came), (-1, came.octets()));
            // The pod's own question is none of the answers to it.
            let (action, octets) = run(&node, "to_wire", &sent);
            let identifier = source_port(&octets, to.contains('.'), true);
            let body = Body::Echo { identifier, reply: false };
            let source = NODE[number].parse().expect("an address");
            let left = Frame { source, body, ..sent.clone() };
            assert_eq!((action, octets), (-1, left.octets()));
            // What answers either finds its way, in any order.
            assert_eq!(run(&node, "from_wire", &reply(&left)), (-1, reply(&sent).octets()));
            assert_eq!(run(&node, "to_wire", &reply(&came)), (-1, reply(&came).octets()));
            assert_eq!(run(&node, "to_wire", &sent), (-1, left.octets()));

            // An error about it tells the pod of what the pod has sent. Only the quoted checksum stays.
            let (wanted, about) = (sent.octets(), left.octets());
            let at = wanted.len() - 14;
            let quoted = [&wanted[14..at], &about[at..at + 2], &wanted[at + 2..]].concat();
            let outcome = run_octets(&node, "from_wire", &reply(&left).error_octets(&about[14..]));
            assert_eq!(outcome, (-1, reply(&sent).error_octets(&quoted)));
        });
    }
    // Nobody has asked for this one.
    let unasked = frame(&pod, [198, 51, 100, 8].into(), Body::Echo { identifier: 7, reply: true });
    let outcome = node.space.within(|| run(&node, "to_wire", &unasked));
    assert_eq!(outcome.0, 2, "an answer without a question is not translated");
}

/// Brings a connection of the pod to the outside into the protected table; gives what the outside
/// answers to.
fn establish(node: &Node, pod: &Pod, source: u16) -> (Frame, Frame) {
    let body = Body::Tcp { source, destination: 443, flags: SYN };
    let sent = frame(pod, [198, 51, 100, 99].into(), body);
    let (_, octets) = run(node, "to_wire", &sent);
    let port = source_port(&octets, true, false);
    let left = Frame {
        source: NODE[0].parse().expect("an address"),
        body: with_ports(body, port, 443),
        ..sent.clone()
    };
    let data = Frame { body: Body::Tcp { source, destination: 443, flags: ACK }, ..sent.clone() };
    let promoted = || {
        let causes = node.kernel.causes().expect("counters");
        causes.iter().find(|(cause, _)| *cause == "flow_promoted").expect("a cause").1
    };
    let before = promoted();
    let deadline = Instant::now() + PATIENCE;
    // Both of its entries move in the first moment after they were answered.
    while promoted() < before + 2 {
        let ifindex = pod.endpoint.host_ifindex;
        node.kernel.try_packet("from_pod", ifindex, &data.octets(), 1).expect("run");
        run(node, "to_wire", &data);
        run(node, "from_wire", &reply(&left));
        let to_pod = reply(&sent);
        run(node, "to_pod", &to_pod);
        assert!(Instant::now() < deadline, "it never counted as established");
        std::thread::sleep(Duration::from_millis(20));
    }
    (data, left)
}

#[test]
fn the_tunnels_have_their_port_whatever_else_it_would_lead_to() {
    if !crate::runs_here() {
        return;
    }
    let (node, pod) = node(5, 1 << 28);
    let [own, _] = NODE.map(|address| address.parse().expect("an address"));
    let open = [TUNNEL_PORT, TUNNEL_PORT + 1].map(|host_port| HostPort {
        transport: Transport::Udp,
        host_address: Ipv4Addr::UNSPECIFIED.into(),
        host_port,
        pod_address: pod.v4,
        pod_port: 53,
    });
    node.kernel.open_host_ports(&open).expect("open");
    node.space.within(|| {
        for (destination, is_tunnel) in [(TUNNEL_PORT, true), (TUNNEL_PORT + 1, false)] {
            let asked = Frame {
                source: [198, 51, 100, 7].into(),
                ..frame(&pod, own, Body::Udp { source: 4000, destination })
            };
            let (_, octets) = run(&node, "from_wire", &asked);
            assert_eq!(octets == asked.octets(), is_tunnel, "{destination}");
        }
    });
}

#[test]
fn a_flood_of_new_connections_costs_no_established_one_its_place() {
    if !crate::runs_here() {
        return;
    }
    let (node, pod) = node(3, 1 << 28);
    node.space.within(|| {
        let (data, left) = establish(&node, &pod, 7);
        for number in 0..60_000u32 {
            let to = Ipv4Addr::from(u32::from(Ipv4Addr::new(203, 0, 0, 0)) + number);
            let body = Body::Udp { source: (number % 60_000) as u16, destination: 53 };
            let (action, _) = run(&node, "to_wire", &frame(&pod, to.into(), body));
            assert_eq!(action, -1, "a new one takes the place of another new one");
        }
        let (_, octets) = run(&node, "to_wire", &data);
        assert_eq!(source_port(&octets, true, false), ports(left.body).0, "the same port");
        let (_, octets) = run(&node, "from_wire", &reply(&left));
        let back = Frame { body: reply(&data).body, ..reply(&data) };
        assert_eq!(octets, back.octets());
    });
}

#[test]
fn without_a_free_port_new_connections_are_refused_and_old_ones_live() {
    if !crate::runs_here() {
        return;
    }
    let (node, pod) = node(4, 16 << 30);
    node.space.within(|| {
        let (data, left) = establish(&node, &pod, 7);
        let mut refused = 0;
        for source in 1000..60_000 {
            let body = Body::Tcp { source, destination: 443, flags: SYN };
            let (action, octets) = run(&node, "to_wire", &frame(&pod, data.destination, body));
            assert_ne!(source_port(&octets, true, false), TUNNEL_PORT);
            refused += u64::from(action == 2);
        }
        assert!(refused > 0, "there are more connections than ports");
        assert_eq!(node.dropped(DropReason::NO_MAPPING_FOR_NAT_MASQUERADE), refused);
        let causes: HashMap<_, _> = node.kernel.causes().expect("counters").into_iter().collect();
        assert_eq!(causes["nat_port_exhausted"], refused);
        // Nine ports of ten are used before any connection to one place is refused in earnest.
        assert!(causes["nat_port_taken"] > u64::from(PORTS) * 9 / 10, "{causes:?}");
        let (_, octets) = run(&node, "from_wire", &reply(&left));
        assert_eq!(octets, reply(&data).octets());
    });
}
