//! What the programs at a pod's device decide, once more in plain Rust, and both held to the same.
//!
//! The model is written from what the datapath promises, not from the programs: it has sets and maps
//! where they have tables, and no notion of how a packet is read.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use daymark_abi::{DropReason, flow};
use daymark_loader::{Datapath, NodeSettings};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use crate::{
    frame::{ACK, Body, Frame, SYN},
    lab::{Node, Pod},
};

/// What becomes of a packet that a pod sends.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Verdict {
    /// Goes on into the stack as it is.
    Stack,
    /// Goes into a pod of this node, as changed.
    Direct(Frame),
    /// Is dropped.
    Dropped(DropReason),
}

/// See [the module](self).
struct Model<'a> {
    pods: Vec<&'a Pod>,
    /// Connections that began past the stack, by protocol and ends.
    direct: HashMap<(u8, Ends), ()>,
}

/// Addresses and ports of a connection, in any fixed order.
type Ends = [(IpAddr, u16); 2];

impl<'a> Model<'a> {
    fn sent(&mut self, from: &Pod, frame: &Frame) -> Verdict {
        if frame.source_mac != from.endpoint.pod_mac {
            return Verdict::Dropped(DropReason::INVALID_SOURCE_MAC);
        }
        let own = if frame.source.is_ipv4() { from.v4 } else { from.v6 };
        let on_link = match frame.destination {
            IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] >= 240,
            IpAddr::V6(v6) => v6.is_multicast() || v6.is_unicast_link_local(),
        };
        let from_link = matches!(frame.source, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if frame.source != own && !(from_link && on_link) {
            return Verdict::Dropped(DropReason::INVALID_SOURCE_IP);
        }
        let target = self.pods.iter().find(|pod| [pod.v4, pod.v6].contains(&frame.destination));
        let Some(target) = target.filter(|_| !on_link) else { return Verdict::Stack };
        let v4 = frame.source.is_ipv4();
        let mut ends = match frame.body {
            Body::Tcp { source, destination, .. }
            | Body::Udp { source, destination }
            | Body::Sctp { source, destination } => {
                [(frame.source, source), (frame.destination, destination)]
            }
            // Both ends may ask with the same identifier: it goes with the one that asks.
            Body::Echo { identifier, reply: false } => {
                [(frame.source, identifier), (frame.destination, 0)]
            }
            Body::Echo { identifier, reply: true } => {
                [(frame.source, 0), (frame.destination, identifier)]
            }
            Body::Other => [(frame.source, 0), (frame.destination, 0)],
        };
        ends.sort();
        let key = (frame.body.protocol(v4), ends);
        let begins = match frame.body {
            Body::Tcp { flags, .. } => flags & (SYN | ACK) == SYN,
            _ => true,
        };
        // A hop is left only if the next one may have it.
        if frame.hops < 2 || !(begins || self.direct.contains_key(&key)) {
            return Verdict::Stack;
        }
        self.direct.insert(key, ());
        Verdict::Direct(Frame {
            source_mac: target.endpoint.host_mac,
            destination_mac: target.endpoint.pod_mac,
            hops: frame.hops - 1,
            ..frame.clone()
        })
    }
}

/// A frame that a pod may send, honest or not, to all kinds of places.
fn frames(from: &Pod, to: &Pod) -> impl Strategy<Value = Frame> + use<> {
    let macs = prop_oneof![9 => Just(from.endpoint.pod_mac), 1 => any::<[u8; 6]>()];
    let gateway = from.endpoint.host_mac;
    let v4 = |pod: &Pod| match pod.v4 {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(_) => unreachable!("an IPv4 address"),
    };
    let v6 = |pod: &Pod| match pod.v6 {
        IpAddr::V6(v6) => v6,
        IpAddr::V4(_) => unreachable!("an IPv6 address"),
    };
    let addresses4 = (
        prop_oneof![9 => Just(v4(from)), 1 => any::<u32>().prop_map(Ipv4Addr::from)],
        prop_oneof![
            6 => Just(v4(to)),
            1 => Just(v4(from)),
            1 => Just(Ipv4Addr::new(224, 0, 0, 251)),
            1 => Just(Ipv4Addr::BROADCAST),
            2 => any::<u32>().prop_map(Ipv4Addr::from)
        ],
    );
    let link: Ipv6Addr = "fe80::5".parse().expect("an address");
    let group: Ipv6Addr = "ff02::2".parse().expect("an address");
    let addresses6 = (
        prop_oneof![
            8 => Just(v6(from)),
            1 => Just(link),
            1 => any::<u128>().prop_map(Ipv6Addr::from)
        ],
        prop_oneof![
            6 => Just(v6(to)),
            1 => Just(v6(from)),
            1 => Just(link),
            1 => Just(group),
            2 => any::<u128>().prop_map(Ipv6Addr::from)
        ],
    );
    let addresses = prop_oneof![
        addresses4.prop_map(|(from, to)| (IpAddr::V4(from), IpAddr::V4(to))),
        addresses6.prop_map(|(from, to)| (IpAddr::V6(from), IpAddr::V6(to))),
    ];
    let port = || 1u16..6;
    let body = prop_oneof![
        4 => (port(), port(), prop_oneof![Just(SYN), Just(SYN | ACK), Just(ACK)]).prop_map(
            |(source, destination, flags)| Body::Tcp { source, destination, flags }
        ),
        2 => (port(), port()).prop_map(|(source, destination)| Body::Udp { source, destination }),
        1 => (port(), port()).prop_map(|(source, destination)| Body::Sctp { source, destination }),
        1 => (port(), any::<bool>()).prop_map(|(identifier, reply)| Body::Echo { identifier, reply }),
        1 => Just(Body::Other),
    ];
    let hops = prop_oneof![8 => Just(64u8), 1 => 0u8..4];
    (macs, addresses, hops, body).prop_map(
        move |(source_mac, (source, destination), hops, body)| Frame {
            source_mac,
            destination_mac: gateway,
            source,
            destination,
            hops,
            body,
        },
    )
}

#[test]
fn programs_and_model_decide_alike() {
    if !crate::runs_here() {
        return;
    }
    let node = Node::new(10);
    let (one, other) = (node.pod(5), node.pod(6));
    let pods = [&one, &other];
    node.space.within(|| node.kernel.configure(&NodeSettings::default()).expect("configured"));
    let mut model = Model { pods: pods.to_vec(), direct: HashMap::new() };
    let strategy = prop::bool::ANY.prop_flat_map(|turned| {
        let (from, to) = if turned { (&other, &one) } else { (&one, &other) };
        (Just(turned), frames(from, to))
    });
    // One long sequence: each packet meets what those before have left in the tables.
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let mut decided = [0; 3];
    for number in 0..5000 {
        let (turned, frame) = strategy.new_tree(&mut runner).expect("a frame").current();
        let from = pods[usize::from(turned)];
        let wanted = model.sent(from, &frame);
        let octets = frame.octets();
        let drops = |reason| node.dropped(reason);
        let before = match wanted {
            Verdict::Dropped(reason) => drops(reason),
            _ => 0,
        };
        let outcome = node
            .space
            .within(|| node.kernel.try_packet("from_pod", from.endpoint.host_ifindex, &octets, 1));
        let outcome = outcome.expect("run");
        let what = format!("packet {number}: {frame:?}");
        match wanted {
            Verdict::Stack => {
                decided[0] += 1;
                assert_eq!(outcome.action, -1, "{what}");
                assert_eq!(outcome.packet, octets, "{what}");
            }
            Verdict::Direct(changed) => {
                decided[1] += 1;
                assert_eq!(outcome.action, 7, "{what}");
                assert_eq!(outcome.packet, changed.octets(), "{what}");
            }
            Verdict::Dropped(reason) => {
                decided[2] += 1;
                assert_eq!(outcome.action, 2, "{what}");
                assert_eq!(drops(reason), before + 1, "{what}: {}", reason.name());
            }
        }
    }
    assert!(decided.iter().all(|count| *count > 200), "all kinds were tried: {decided:?}");
}

#[test]
fn packets_cut_anywhere_are_dropped_or_passed_and_never_sent_on() {
    if !crate::runs_here() {
        return;
    }
    let node = Node::new(11);
    let (one, other) = (node.pod(5), node.pod(6));
    for (source, destination) in [(one.v4, other.v4), (one.v6, other.v6)] {
        let body = Body::Tcp { source: 1, destination: 2, flags: SYN };
        let whole = Frame {
            source_mac: one.endpoint.pod_mac,
            destination_mac: one.endpoint.host_mac,
            source,
            destination,
            hops: 64,
            body,
        };
        let octets = whole.octets();
        // Shorter ones the kernel itself refuses to run.
        for length in 34..octets.len() {
            let run = || {
                node.kernel.try_packet("from_pod", one.endpoint.host_ifindex, &octets[..length], 1)
            };
            if let Ok(outcome) = node.space.within(run) {
                assert_eq!(outcome.action, 2, "{length} of {} octets", octets.len());
            }
        }
    }
    assert!(node.dropped(DropReason::INVALID_PACKET_DROPPED) > 0);
}

/// States of a TCP connection, once more: by who has said what.
#[derive(Default)]
struct Connection {
    replied: bool,
    open: bool,
    /// Whether the originator, the responder has closed its side.
    closed: [bool; 2],
    reset: bool,
}

impl Connection {
    fn saw(&mut self, flags: u8, is_reply: bool) {
        if self.is_over() {
            return;
        }
        if flags & RST != 0 {
            self.reset = true;
        } else if flags & FIN != 0 {
            self.closed[usize::from(is_reply)] = true;
        } else if !is_reply && self.replied {
            self.open = true;
        }
        self.replied |= is_reply;
    }

    fn is_over(&self) -> bool {
        self.reset || self.closed == [true; 2]
    }

    fn state(&self) -> u8 {
        match (self.is_over(), self.closed) {
            (true, _) => flow::CLOSED,
            (_, [true, _]) => flow::ORIGINATOR_CLOSED,
            (_, [_, true]) => flow::RESPONDER_CLOSED,
            _ if self.open => flow::OPEN,
            _ => flow::NEW,
        }
    }
}

const FIN: u8 = 1;
const RST: u8 = 4;

#[test]
fn tcp_connections_are_followed_through_their_states() {
    if !crate::runs_here() {
        return;
    }
    let node = Node::new(13);
    let (one, other) = (node.pod(5), node.pod(6));
    let flags = prop_oneof![
        8 => Just(ACK),
        1 => Just(FIN | ACK),
        1 => Just(RST),
        1 => Just(SYN | ACK),
    ];
    let strategy = prop::collection::vec((any::<bool>(), flags), 0..8);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let mut wanted = HashMap::new();
    node.space.within(|| {
        for port in 1..=2000u16 {
            let mut connection = Connection::default();
            let packets = strategy.new_tree(&mut runner).expect("packets").current();
            let first = (false, SYN);
            for (is_reply, flags) in std::iter::once(first).chain(packets) {
                let (from, to) = if is_reply { (&other, &one) } else { (&one, &other) };
                let (source, destination) = if is_reply { (80, port) } else { (port, 80) };
                let frame = Frame {
                    source_mac: from.endpoint.pod_mac,
                    destination_mac: from.endpoint.host_mac,
                    source: from.v4,
                    destination: to.v4,
                    hops: 64,
                    body: Body::Tcp { source, destination, flags },
                };
                let ifindex = from.endpoint.host_ifindex;
                node.kernel.try_packet("from_pod", ifindex, &frame.octets(), 1).expect("run");
                connection.saw(flags, is_reply);
            }
            wanted.insert(port, connection.state());
        }
    });
    let mut found = HashMap::new();
    for (key, flow) in node.kernel.connections().expect("connections") {
        let ports = [key.first_port.get(), key.second_port.get()];
        found.insert(if ports[0] == 80 { ports[1] } else { ports[0] }, flow.state);
    }
    assert_eq!(found, wanted);
    assert!((0..=flow::CLOSED).all(|state| wanted.values().any(|wanted| *wanted == state)));
}
