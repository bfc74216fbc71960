//! Pods of one node.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use daymark_abi::DropReason;
use daymark_loader::{Attachment, Bandwidth, Datapath, Endpoint, Kernel};

use crate::lab::{Node, Pod, Space};

/// Long enough that only what is lost runs into it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A server in a namespace that answers each UDP datagram and each TCP connection with the address
/// that it sees. It ends with the test's process.
pub(crate) fn serve(space: &Space, address: IpAddr, port: u16) {
    space.within(|| {
        let at = SocketAddr::new(address, port);
        let udp = UdpSocket::bind(at).expect("bound");
        let tcp = TcpListener::bind(at).expect("bound");
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((_, from)) = udp.recv_from(&mut buffer) {
                let _ = udp.send_to(from.to_string().as_bytes(), from);
            }
        });
        std::thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                answer(stream);
            }
        });
    });
}

fn answer(mut stream: TcpStream) {
    let mut octet = [0];
    if stream.read_exact(&mut octet).is_ok() {
        let peer = stream.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
        let _ = stream.write_all(peer.as_bytes());
    }
}

/// Asks a server over UDP which address it sees.
pub(crate) fn ask_udp(space: &Space, to: SocketAddr) -> Option<SocketAddr> {
    ask_udp_within(space, to, PATIENCE)
}

pub(crate) fn ask_udp_within(
    space: &Space,
    to: SocketAddr,
    patience: Duration,
) -> Option<SocketAddr> {
    space.within(|| {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
        let socket = UdpSocket::bind((any, 0)).expect("bound");
        socket.connect(to).expect("connected");
        socket.set_read_timeout(Some(patience)).expect("set");
        socket.send(b"?").ok()?;
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).ok()?;
        String::from_utf8_lossy(&buffer[..length]).parse().ok()
    })
}

/// The same over TCP.
pub(crate) fn ask_tcp(space: &Space, to: SocketAddr) -> Option<SocketAddr> {
    space.within(|| {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.write_all(b"?").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.parse().ok()
    })
}

/// Whether a datagram to this address is answered by an ICMP error, as the sender's socket sees it.
pub(crate) fn is_refused(from: &Space, to: SocketAddr) -> bool {
    from.within(|| {
        let socket = UdpSocket::bind((unspecified(to.ip()), 0)).expect("bound");
        socket.connect(to).expect("connected");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        socket.send(b"?").expect("sent");
        let refused = std::io::ErrorKind::ConnectionRefused;
        socket.recv(&mut [0; 10]).is_err_and(|error| error.kind() == refused)
    })
}

pub(crate) fn unspecified(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() }
}

fn both(pod: &Pod) -> [IpAddr; 2] {
    [pod.v4, pod.v6]
}

#[test]
fn pods_of_a_node_reach_each_other_past_the_stack() {
    if !crate::runs_here() {
        return;
    }
    let node = Node::new(1);
    let (one, other) = (node.pod(5), node.pod(6));
    for (from, to) in both(&one).into_iter().zip(both(&other)) {
        serve(&other.space, to, 80);
        let to = SocketAddr::new(to, 80);
        assert_eq!(ask_udp(&one.space, to).map(|seen| seen.ip()), Some(from), "UDP");
        assert_eq!(ask_tcp(&one.space, to).map(|seen| seen.ip()), Some(from), "TCP");
    }
    assert_eq!(node.seen("to_pod"), 0, "nothing went through the stack");
    assert!(node.seen("direct") > 0);
    assert_eq!(node.kernel.drops().expect("counters"), []);
}

#[test]
fn what_came_through_the_stack_is_answered_there() {
    if !crate::runs_here() {
        return;
    }
    let node = Node::new(2);
    let pod = node.pod(5);
    serve(&pod.space, pod.v4, 80);
    serve(&pod.space, pod.v6, 80);
    for address in both(&pod) {
        assert!(ask_tcp(&node.space, SocketAddr::new(address, 80)).is_some());
        assert!(ask_udp(&node.space, SocketAddr::new(address, 80)).is_some());
    }
    assert_eq!(node.seen("direct"), 0);
    // A rate limit is a queue of the device, which a packet must not pass by.
    let slow = node.pod_with(6, Bandwidth { ingress: Some(1_000_000_000), egress: None });
    serve(&slow.space, slow.v4, 80);
    assert!(ask_tcp(&pod.space, SocketAddr::new(slow.v4, 80)).is_some());
    assert_eq!(node.seen("direct"), 0);
}

#[test]
fn a_pod_that_lies_about_its_address_is_dropped_with_its_reason() {
    if !crate::runs_here() {
        return;
    }
    let node = Node::new(3);
    let (one, other) = (node.pod(5), node.pod(6));
    let mut events = node.kernel.events().expect("events");
    one.space.ip("addr add 10.244.3.77/32 dev eth0\naddr add fd00:244:3::77/128 dev eth0 nodad\n");
    one.space.within(|| {
        for (from, to) in [("10.244.3.77", other.v4), ("fd00:244:3::77", other.v6)] {
            let socket = UdpSocket::bind((from, 4000)).expect("bound");
            socket.send_to(b"liar", (to, 53)).expect("sent");
        }
    });
    assert_eq!(node.dropped(DropReason::INVALID_SOURCE_IP), 2);
    let told = events.next_event().expect("an event");
    assert_eq!(told.drop_reason(), Some(DropReason::INVALID_SOURCE_IP));
    assert_eq!(told.event.ifindex, one.endpoint.host_ifindex);
    assert_eq!(told.event.destination_port.get(), 53);

    one.space.ip("link set eth0 address 02:00:00:00:00:99\n");
    one.space.ip(&format!(
        "neigh replace 10.244.3.1 lladdr {} dev eth0 nud permanent\n",
        crate::lab::mac(one.endpoint.host_mac)
    ));
    one.space.within(|| {
        let socket = UdpSocket::bind((one.v4, 4000)).expect("bound");
        socket.send_to(b"liar", (other.v4, 53)).expect("sent");
    });
    assert!(node.dropped(DropReason::INVALID_SOURCE_MAC) >= 1);
}

#[test]
fn what_is_pinned_outlives_its_process_and_is_taken_over() {
    if !crate::runs_here() {
        return;
    }
    let mut node = Node::new(4);
    let (one, other) = (node.pod(5), node.pod(6));
    serve(&other.space, other.v4, 80);
    let to = SocketAddr::new(other.v4, 80);
    assert!(ask_udp(&one.space, to).is_some());
    node.restart();
    assert!(ask_udp(&one.space, to).is_some(), "the pinned links work without their loader");
    let mut known = node.kernel.endpoints().expect("endpoints");
    known.sort_by_key(|endpoint| endpoint.host_ifindex);
    assert_eq!(known, [one.endpoint.clone(), other.endpoint.clone()]);
    node.space.within(|| {
        for endpoint in &known {
            node.kernel.add_endpoint(endpoint).expect("taken over");
        }
    });
    assert!(ask_udp(&one.space, to).is_some());
    let foreign = node.space.within(|| node.kernel.foreign(one.endpoint.host_ifindex));
    assert_eq!(foreign.expect("asked"), [], "its own programs are exchanged, not joined");
    node.space.within(|| {
        node.kernel.remove_endpoint(other.endpoint.host_ifindex).expect("removed");
        node.kernel.remove_endpoint(other.endpoint.host_ifindex).expect("no error twice");
        node.kernel.add_endpoint(&other.endpoint).expect("added again at once");
        node.kernel.remove_endpoint(other.endpoint.host_ifindex).expect("removed");
    });
    assert_eq!(node.kernel.endpoints().expect("endpoints"), std::slice::from_ref(&one.endpoint));
}

#[test]
fn a_device_keeps_the_way_in_which_programs_are_at_it() {
    if !crate::runs_here() {
        return;
    }
    let mut node = Node::new(15);
    let (linked, filtered) = (node.pod(5), node.pod(6));
    let as_filters = Endpoint { attachment: Attachment::Filters, ..filtered.endpoint.clone() };
    let as_links = Endpoint { attachment: Attachment::Best, ..as_filters.clone() };
    // What is there stays as it is, whatever is asked for.
    node.space.within(|| {
        node.kernel.remove_endpoint(as_filters.host_ifindex).expect("removed");
        node.kernel.add_endpoint(&as_filters).expect("added");
        node.kernel.add_endpoint(&as_links).expect("exchanged");
    });
    node.restart();
    serve(&filtered.space, filtered.v4, 80);
    let to = SocketAddr::new(filtered.v4, 80);
    node.space.within(|| {
        let known = node.kernel.endpoints().expect("endpoints");
        let attachment = |pod: &Pod| {
            let of = |known: &&Endpoint| known.host_ifindex == pod.endpoint.host_ifindex;
            known.iter().find(of).map(|known| known.attachment)
        };
        assert_eq!(attachment(&linked), Some(Attachment::Best));
        assert_eq!(attachment(&filtered), Some(Attachment::Filters));
    });
    assert!(ask_tcp(&linked.space, to).is_some());
    // Nobody else can have an ingress qdisc where there are filters, and anybody where there are links.
    let ingress = |device: &str| {
        let mut tc = std::process::Command::new("tc");
        tc.args(["-n", &node.space.name, "qdisc", "add", "dev", device, "ingress"]);
        tc.status().expect("tc runs").success()
    };
    assert!(ingress("veth5") && !ingress("veth6"));
}

#[test]
fn filters_do_where_there_are_no_links() {
    if !crate::runs_here() {
        return;
    }
    let node = Node::with_filters(12);
    let (one, other) = (node.pod(5), node.pod(6));
    serve(&other.space, other.v4, 80);
    let to = SocketAddr::new(other.v4, 80);
    assert!(ask_tcp(&one.space, to).is_some());
    assert_eq!((node.seen("to_pod"), node.seen("direct") > 0), (0, true));
    node.space.within(|| {
        node.kernel.add_endpoint(&one.endpoint).expect("exchanged");
    });
    assert!(ask_tcp(&one.space, to).is_some());
    let filters = |node: &Node| {
        let mut tc = std::process::Command::new("tc");
        tc.args(["-n", &node.space.name, "filter", "show", "dev", "veth5", "ingress"]);
        String::from_utf8(tc.output().expect("tc runs").stdout).expect("text")
    };
    assert_eq!(filters(&node).matches("handle 0x").count(), 1, "exchanged, not joined");
    node.space.within(|| {
        Kernel::remove_all(&node.bpffs.path.join("daymark")).expect("removed");
    });
    assert_eq!(filters(&node), "");
}
