//! Ports of a node that lead to its pods, from wherever they are asked.

use std::net::{SocketAddr, TcpStream, UdpSocket};

use daymark_loader::{Datapath, HostPort, Transport};

use crate::{
    lab::{Cgroup, Node, Pod},
    local::{PATIENCE, ask_tcp, ask_udp, is_refused, serve, unspecified},
    wire::{OUTSIDE, Wire, addresses, families, node_on, on_wire, route_natively, translate},
};

fn port(pod: &Pod, transport: Transport, v4: bool) -> HostPort {
    let pod_address = if v4 { pod.v4 } else { pod.v6 };
    HostPort {
        transport,
        host_address: unspecified(pod_address),
        host_port: 8080,
        pod_address,
        pod_port: 80,
    }
}

#[test]
fn a_port_of_the_node_leads_to_its_pod_from_everywhere() {
    if !crate::runs_here() {
        return;
    }
    let wire = Wire::new();
    let (one, other) = (node_on(&wire, 1), node_on(&wire, 2));
    route_natively(&one, &other);
    route_natively(&other, &one);
    let (pod, neighbour, remote) = (one.pod(5), one.pod(6), other.pod(7));
    let ports: Vec<HostPort> = [Transport::Tcp, Transport::Udp]
        .into_iter()
        .flat_map(|transport| [port(&pod, transport, true), port(&pod, transport, false)])
        .collect();
    one.kernel.open_host_ports(&ports).expect("open");
    let node = addresses(&one);
    for (own, to) in families(&pod).into_iter().zip(node) {
        serve(&pod.space, own, 80);
        let to = SocketAddr::new(to, 8080);
        let is_v4 = own.is_ipv4();
        let of = |pod: &Pod| if is_v4 { pod.v4 } else { pod.v6 };
        let outside = OUTSIDE[usize::from(!is_v4)].parse().expect("an address");
        // What each is seen as: a pod of another node as that node, for this is no pod's address.
        let remote_as = addresses(&other)[usize::from(!is_v4)];
        for (from, seen_as) in [
            (&wire.outside, outside),
            (&neighbour.space, of(&neighbour)),
            (&pod.space, to.ip()),
            (&remote.space, remote_as),
        ] {
            let udp = ask_udp(from, to).map(|seen| seen.ip());
            assert_eq!(udp, Some(seen_as), "UDP from {} to {to}", from.name);
            let tcp = ask_tcp(from, to).map(|seen| seen.ip());
            assert_eq!(tcp, Some(seen_as), "TCP from {} to {to}", from.name);
        }
    }
    // The next holder has the port's traffic at once, on the client's same socket too.
    one.kernel.close_host_ports(pod.v4).expect("closed");
    one.kernel.open_host_ports(&[port(&neighbour, Transport::Udp, true)]).expect("open");
    serve(&neighbour.space, neighbour.v4, 80);
    assert!(ask_udp(&wire.outside, SocketAddr::new(node[0], 8080)).is_some());
    assert_eq!(one.kernel.drops().expect("counters"), []);
}

#[test]
fn processes_of_the_node_reach_its_ports_through_127_0_0_1() {
    if !crate::runs_here() {
        return;
    }
    let Some(cgroup) = Cgroup::new() else {
        eprintln!("skipped: no cgroup v2 here");
        return;
    };
    let wire = Wire::new();
    let mut node = on_wire(&wire, Node::in_cgroup(1, Some(cgroup.path.clone())));
    let pod = node.pod(5);
    for transport in [Transport::Tcp, Transport::Udp] {
        let ports = [port(&pod, transport, true), port(&pod, transport, false)];
        node.kernel.open_host_ports(&ports).expect("open");
    }
    serve(&pod.space, pod.v4, 80);
    serve(&pod.space, pod.v6, 80);
    let check = |node: &Node| {
        let [node4, node6] = addresses(node);
        for to in [[127, 0, 0, 1].into(), "::1".parse().expect("loopback"), node4, node6] {
            let to = SocketAddr::new(to, 8080);
            assert!(ask_tcp(&node.space, to).is_some(), "TCP to {to}");
            assert!(ask_udp(&node.space, to).is_some(), "UDP to {to}");
            node.space.within(|| {
                let stream = TcpStream::connect(to).expect("connected");
                assert_eq!(stream.peer_addr().expect("a peer"), to, "the peer that was asked for");
                let socket = UdpSocket::bind((unspecified(to.ip()), 0)).expect("bound");
                socket.set_read_timeout(Some(PATIENCE)).expect("set");
                socket.send_to(b"?", to).expect("sent");
                let (_, from) = socket.recv_from(&mut [0; 100]).expect("answered");
                assert_eq!(from, to, "without a connection too");
            });
        }
    };
    check(&node);
    node.restart();
    check(&node);
    // In a pod it is the pod itself.
    let refused = pod.space.within(|| TcpStream::connect(("127.0.0.1", 8080)).is_err());
    assert!(refused);
}

#[test]
fn a_pod_that_does_not_listen_is_told_to_whoever_asked_the_port() {
    if !crate::runs_here() {
        return;
    }
    let wire = Wire::new();
    let (one, other) = (node_on(&wire, 1), node_on(&wire, 2));
    route_natively(&one, &other);
    route_natively(&other, &one);
    let (pod, neighbour, remote) = (one.pod(5), one.pod(6), other.pod(7));
    if crate::has_nft() {
        translate(&one, ["10.96.0.1", "fd00:96::1"], &remote);
    }
    let ports = [port(&pod, Transport::Udp, true), port(&pod, Transport::Udp, false)];
    one.kernel.open_host_ports(&ports).expect("open");
    for to in addresses(&one) {
        let to = SocketAddr::new(to, 8080);
        for from in [&wire.outside, &neighbour.space, &remote.space] {
            assert!(is_refused(from, to), "from {} to {to}", from.name);
        }
    }
    assert_eq!(one.kernel.drops().expect("counters"), []);
}

/// Connects from a certain port of this namespace and asks for the address that is seen.
fn ask_from(port: u16, to: SocketAddr) -> Option<SocketAddr> {
    use std::io::{Read, Write};
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    // The connection before this one may not be over yet.
    socket.set_reuse_address(true).expect("set");
    let from = SocketAddr::from(([0, 0, 0, 0], port));
    socket.bind(&from.into()).expect("bound");
    socket.connect_timeout(&to.into(), PATIENCE).ok()?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(b"?").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.parse().ok()
}

#[test]
fn the_nodes_own_connections_from_such_a_port_stay_its_own() {
    if !crate::runs_here() {
        return;
    }
    let wire = Wire::new();
    let node = node_on(&wire, 1);
    let (pod, probed) = (node.pod(5), node.pod(6));
    node.kernel.open_host_ports(&[port(&pod, Transport::Tcp, true)]).expect("open");
    serve(&probed.space, probed.v4, 80);
    let outside = SocketAddr::new(OUTSIDE[0].parse().expect("an address"), 80);
    serve(&wire.outside, outside.ip(), 80);
    for to in [SocketAddr::new(probed.v4, 80), outside] {
        let seen = node.space.within(|| ask_from(8080, to));
        assert_eq!(seen.map(|seen| seen.port()), Some(8080), "{to}");
    }
}
