//! What happens when things end, change or are full.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

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
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| numbered(&one, &other, &stop));
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
    });
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
}

#[test]
fn a_root_that_is_no_bpf_file_system_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Root { bpffs: folder.path().to_path_buf(), cgroup: None, memory: None };
    let error = Kernel::open(&root).err().expect("refused").to_string();
    assert!(error.contains("is not on a BPF file system: mount one there"), "{error}");
}
