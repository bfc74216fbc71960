//! What happens when things end, change or are full.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use aya::maps::{HashMap, Map, MapData};
use daymark_loader::{Datapath, Kernel, Root};

use crate::{
    lab::{Node, Pod},
    local::{PATIENCE, ask_tcp, ask_udp, serve},
};

/// Numbered datagrams from one pod to another until told to stop; gives the numbers that are missing
/// between the first and the last, and how many came.
fn numbered(from: &Pod, to: &Pod, stop: &AtomicBool) -> (Vec<u32>, usize) {
    let receiver = to.space.within(|| UdpSocket::bind((to.v4, 9000)).expect("bound"));
    receiver.set_read_timeout(Some(Duration::from_millis(500))).expect("set");
    // Room for all that comes while this process waits for a processor.
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&receiver, 1 << 26).expect("set");
    std::thread::scope(|scope| {
        let received = scope.spawn(|| {
            let mut buffer = [0; 4];
            let mut numbers = Vec::new();
            while receiver.recv(&mut buffer).is_ok() {
                numbers.push(u32::from_be_bytes(buffer));
            }
            numbers
        });
        from.space.within(|| {
            let socket = UdpSocket::bind((from.v4, 9001)).expect("bound");
            let began = Instant::now();
            let mut number = 0u32;
            while !stop.load(Ordering::Relaxed) {
                socket.send_to(&number.to_be_bytes(), (to.v4, 9000)).expect("sent");
                number += 1;
                // 10,000 in a second.
                let due = began + Duration::from_micros(100) * number;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        let numbers = received.join().expect("received");
        let all: std::collections::BTreeSet<u32> = numbers.iter().copied().collect();
        let last = all.last().copied().unwrap_or_default();
        ((0..last).filter(|number| !all.contains(number)).collect(), numbers.len())
    })
}

#[test]
fn an_agent_that_is_killed_and_restarted_loses_no_packet() {
    if !crate::runs_here() {
        return;
    }
    let mut node = Node::new(5);
    let (one, other) = (node.pod(5), node.pod(6));
    let endpoints = [one.endpoint.clone(), other.endpoint.clone()];
    let stop = AtomicBool::new(false);
    let sent_again = || [retransmitted(&one), retransmitted(&other)];
    let before = sent_again();
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| numbered(&one, &other, &stop));
        let asked = scope.spawn(|| asks(&one, &other, &stop));
        for _ in 0..10 {
            node.restart();
            node.space.within(|| {
                for endpoint in &endpoints {
                    node.kernel.add_endpoint(endpoint).expect("taken over");
                }
            });
        }
        stop.store(true, Ordering::Relaxed);
        let (missing, received) = sent.join().expect("sent");
        assert_eq!(missing, Vec::<u32>::new());
        assert!(received > 1000, "{received} datagrams were too few to tell");
        assert!(asked.join().expect("asked") > 100);
    });
    assert_eq!(sent_again(), before, "no segment was sent twice");
}

/// Octets to and fro over one TCP connection until told to stop; gives how many.
fn asks(from: &Pod, to: &Pod, stop: &AtomicBool) -> u32 {
    let listener = to.space.within(|| TcpListener::bind((to.v6, 9002)).expect("bound"));
    let mut client = from.space.within(|| TcpStream::connect((to.v6, 9002)).expect("connected"));
    let (mut server, _) = listener.accept().expect("accepted");
    let mut octet = [0];
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        client.write_all(&octet).expect("written");
        server.read_exact(&mut octet).expect("read");
        server.write_all(&octet).expect("written");
        client.read_exact(&mut octet).expect("read");
        count += 1;
    }
    count
}

/// TCP segments that a pod has sent again (`RetransSegs`).
fn retransmitted(pod: &Pod) -> u64 {
    let text = pod.space.within(|| std::fs::read_to_string("/proc/thread-self/net/snmp"));
    let text = text.expect("counters");
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let place = names.split(' ').position(|name| name == "RetransSegs").expect("a counter");
    values.split(' ').nth(place).and_then(|value| value.parse().ok()).expect("a number")
}

#[test]
fn an_agent_with_another_layout_takes_over_without_a_lost_packet() {
    if !crate::runs_here() {
        return;
    }
    let mut node = Node::new(6);
    let (one, other) = (node.pod(5), node.pod(6));
    let endpoints = [one.endpoint.clone(), other.endpoint.clone()];
    serve(&other.space, other.v4, 80);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| numbered(&one, &other, &stop));
        // The tables of the layout before: under another name they are what an older agent left.
        let folder = node.bpffs.path.join("daymark");
        let tables = std::fs::read_dir(&folder).expect("a root").flatten().map(|e| e.path());
        let own = tables.into_iter().find(|path| !path.ends_with("links")).expect("tables");
        std::fs::rename(&own, folder.join("0123456789abcdef")).expect("renamed");
        node.restart();
        assert_eq!(node.kernel.endpoints().expect("endpoints"), [], "new tables");
        node.space.within(|| {
            for endpoint in &endpoints {
                node.kernel.add_endpoint(endpoint).expect("added again");
            }
        });
        node.kernel.remove_older().expect("removed");
        assert!(!folder.join("0123456789abcdef").exists());
        assert!(ask_tcp(&one.space, SocketAddr::new(other.v4, 80)).is_some());
        stop.store(true, Ordering::Relaxed);
        let (missing, received) = sent.join().expect("sent");
        assert_eq!(missing, Vec::<u32>::new());
        assert!(received > 0);
    });
}

#[test]
fn a_pin_that_is_no_table_of_ours_is_replaced() {
    if !crate::runs_here() {
        return;
    }
    let mut node = Node::new(7);
    let folder = node.bpffs.path.join("daymark").join(format!("{:016x}", daymark_abi::HASH));
    std::fs::remove_file(folder.join("DEVICES")).expect("removed");
    std::fs::rename(folder.join("ENDPOINTS"), folder.join("DEVICES")).expect("renamed");
    node.restart();
    let (one, other) = (node.pod(5), node.pod(6));
    serve(&other.space, other.v4, 80);
    assert!(ask_udp(&one.space, SocketAddr::new(other.v4, 80)).is_some());
}

#[test]
fn cleaning_up_leaves_nothing_and_the_node_goes_on_by_its_routes() {
    if !crate::runs_here() {
        return;
    }
    let node = Node::new(8);
    let (one, other) = (node.pod(5), node.pod(6));
    serve(&other.space, other.v4, 80);
    let root = node.bpffs.path.join("daymark");
    Kernel::remove_all(&root).expect("removed");
    Kernel::remove_all(&root).expect("no error twice");
    assert!(!root.exists());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = node.seen("from_pod");
        assert!(ask_tcp(&one.space, SocketAddr::new(other.v4, 80)).is_some(), "by the stack");
        // The kernel lets go of a link a moment after its pin.
        if node.seen("from_pod") == before {
            break;
        }
        assert!(Instant::now() < deadline, "programs are left");
    }
}

#[test]
fn connections_that_are_over_are_swept_and_others_stay() {
    if !crate::runs_here() {
        return;
    }
    let node = Node::new(9);
    let (one, other) = (node.pod(5), node.pod(6));
    serve(&other.space, other.v4, 80);
    let to = SocketAddr::new(other.v4, 80);
    for _ in 0..20 {
        assert!(ask_udp(&one.space, to).is_some());
    }
    let entries = |table: &str| {
        let tables = node.kernel.tables().expect("tables");
        tables.into_iter().find(|fill| fill.table == table).expect("a table")
    };
    let young = entries("YOUNG");
    assert_eq!((young.entries, young.limit), (20, 1 << 14));
    assert!(young.memory > 20 * 72);
    assert_eq!(node.kernel.sweep().expect("swept"), 0, "nothing is over yet");
    assert_eq!(entries("YOUNG").entries, 20);
    // One that was over before the machine had run for two moments.
    let folder = node.bpffs.path.join("daymark").join(format!("{:016x}", daymark_abi::HASH));
    for table in ["YOUNG", "ESTABLISHED"] {
        let data = MapData::from_pin(folder.join(table)).expect("a table");
        let map = match table {
            "YOUNG" => Map::LruHashMap(data),
            _ => Map::HashMap(data),
        };
        let mut map: HashMap<_, [u8; 40], [u8; 32]> = map.try_into().expect("a hash table");
        let mut flow = [0; 32];
        flow[8] = 1;
        map.insert([7; 40], flow, 0).expect("inserted");
    }
    assert_eq!(node.kernel.sweep().expect("swept"), 2);
    assert_eq!((entries("YOUNG").entries, entries("ESTABLISHED").entries), (20, 0));
}

#[test]
fn a_root_that_is_no_bpf_file_system_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Root { bpffs: folder.path().to_path_buf(), cgroup: None, memory: None };
    let error = Kernel::open(&root).err().expect("refused").to_string();
    assert!(error.contains("is not on a BPF file system: mount one there"), "{error}");
}
