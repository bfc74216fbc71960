//! Bad input and faults: one clear error that names what and the remedy, nothing lost, nothing left.
#![expect(clippy::unwrap_used, reason = "a test stops where it can go no further")]

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use daymark_tests::{dns, pages, ports, process::PATIENCE};

#[path = "faults/api.rs"]
mod api;
#[path = "faults/files.rs"]
mod files;
#[path = "faults/floods.rs"]
mod floods;
#[path = "faults/held_pages.rs"]
mod held_pages;
#[path = "faults/rig.rs"]
mod rig;

use rig::{NAME, Rig, refusal};

#[test]
fn a_port_in_use_is_named_with_the_remedy() {
    let rig = Rig::new();
    let _taken = UdpSocket::bind(rig.server()).unwrap();
    let said = refusal(&rig);
    assert!(said.contains(&rig.server().to_string()) && said.contains("--port"), "{said}");
    assert_eq!(said.matches("in use").count(), 1, "said once: {said}");
}

#[test]
fn a_port_in_use_for_a_page_is_named_with_the_plugins_that_have_pages() {
    let rig = Rig::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    rig.write_corefile(&format!("    prometheus {address}\n"));
    let said = refusal(&rig);
    assert!(said.contains(&address.to_string()) && said.contains("`prometheus`"), "{said}");
    assert_eq!(said.matches("in use").count(), 1, "said once: {said}");
}

#[test]
fn every_mistake_of_a_corefile_is_shown_with_its_place() {
    let rig = Rig::new();
    rig.write_corefile("    kubernete x\n    cache 30 {\n        prefetch\n    }\n");
    let said = refusal(&rig);
    for part in ["kubernete", "did you mean `kubernetes`", "prefetch", ":5:"] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
}

#[test]
fn a_broken_manifest_is_named_and_the_last_good_state_stays() {
    let rig = Rig::new();
    let mut program = rig.serve();
    assert!(rig.answer().unwrap().ends_with("10.96.0.7"));
    fs::write(rig.manifests().join("web.yaml"), "kind: Service\n  metadata: {\n").unwrap();
    program.wait_until_said("web.yaml").unwrap();
    assert!(rig.answer().unwrap().ends_with("10.96.0.7"), "the last good state stays");
    rig.write_service("10.96.0.9");
    let changed = || rig.answer().is_some_and(|answer| answer.ends_with("10.96.0.9"));
    program.wait_until("the mended file is served", changed).unwrap();
}

#[test]
fn a_failed_reload_keeps_serving_and_says_why() {
    let rig = Rig::new();
    let (ready, metrics) = (ports::free(), ports::free());
    let pages =
        format!("    ready 127.0.0.1:{ready}\n    prometheus 127.0.0.1:{metrics}\n    reload\n");
    rig.write_corefile(&pages);
    let mut program = rig.serve();
    rig.write_corefile(&format!("{pages}    nonsense\n"));
    program.signal("USR1").unwrap();
    let failed = || body(metrics, "/metrics").contains("coredns_reload_failed_total 1");
    program.wait_until("the failure is counted", failed).unwrap();
    let shown = || body(ready, "/ready").contains("nonsense");
    program.wait_until("the failure is shown", shown).unwrap();
    program.wait_until_said("nonsense").unwrap();
    assert!(rig.answer().is_some(), "the old configuration serves on");
    rig.write_corefile(&pages);
    program.signal("USR1").unwrap();
    let mended = || !body(ready, "/ready").contains("nonsense");
    program.wait_until("the next reload succeeds", mended).unwrap();
}

#[test]
fn no_query_is_lost_while_reloading() {
    let rig = Rig::new();
    let program = rig.serve();
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (stop, asked, server) = (Arc::clone(&stop), Arc::clone(&asked), rig.server());
            std::thread::spawn(move || ask_until(server, &stop, &asked))
        })
        .collect();
    for round in 0..5 {
        // Another listener comes and goes with each configuration.
        let more = if round % 2 == 0 { "    loadbalance\n    log\n" } else { "" };
        rig.write_corefile(more);
        let before = asked.load(Ordering::Relaxed);
        program.signal("USR1").unwrap();
        while asked.load(Ordering::Relaxed) < before + 200 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let lost: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert_eq!(lost, 0, "of {} queries", asked.load(Ordering::Relaxed));
}

/// Asks one query after the other, each sent once; gives how many were not answered.
fn ask_until(server: SocketAddr, stop: &AtomicBool, asked: &AtomicU64) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE / 2)).unwrap();
    let query = dns::query(NAME, "A", None).unwrap().to_vec().unwrap();
    let (mut lost, mut reply) = (0, [0; 512]);
    while !stop.load(Ordering::Relaxed) {
        socket.send(&query).unwrap();
        lost += u64::from(socket.recv(&mut reply).is_err());
        asked.fetch_add(1, Ordering::Relaxed);
    }
    lost
}

#[test]
fn nothing_that_kill_leaves_behind_stops_the_next_start() {
    let rig = Rig::new();
    let mut program = rig.serve();
    program.signal("KILL").unwrap();
    program.wait_for_end().unwrap();
    drop(program);
    let _again = rig.serve();
    assert!(rig.answer().is_some());
}

#[test]
fn sigterm_drains_for_as_long_as_lameduck_says() {
    let rig = Rig::new();
    let (ready, health) = (ports::free(), ports::free());
    rig.write_corefile(&format!(
        "    ready 127.0.0.1:{ready}\n    health 127.0.0.1:{health} {{\n        lameduck 4s\n    }}\n"
    ));
    let mut program = rig.serve();
    assert_eq!(body(ready, "/ready"), "OK");
    program.signal("TERM").unwrap();
    let stopping = || body(ready, "/ready") != "OK";
    program.wait_until("not ready any more", stopping).unwrap();
    assert!(rig.answer().is_some(), "still answering");
    assert!(program.wait_for_end().unwrap().success());
}

#[test]
fn malformed_packets_draw_no_more_than_a_header() {
    let rig = Rig::new();
    let _program = rig.serve();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(rig.server()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let question = dns::query(NAME, "A", None).unwrap().to_vec().unwrap();
    let reply_to = |message: &[u8]| {
        let mut reply = [0; 2048];
        socket.send(message).unwrap();
        let len = socket.recv(&mut reply).unwrap();
        (len, reply[3] & 0xf)
    };
    for cut in 12..question.len() {
        assert_eq!(reply_to(&question[..cut]), (12, 1), "{cut} octets: a bare FORMERR");
    }
    // What draws nothing: what has no header to answer, a response, and noise. The next reply is to
    // the question after it.
    let mut response = question.clone();
    response[2] |= 0x80;
    let short = (0..12).map(|cut| &question[..cut]);
    for silent in short.chain([&response[..], &[0xff; 9000]]) {
        socket.send(silent).unwrap();
        let (len, code) = reply_to(&question);
        assert!(len > question.len() && code == 0, "a reply of {len} octets to {silent:02x?}");
    }
}

#[test]
fn malformed_messages_over_tcp_draw_no_more_than_a_header_each() {
    let rig = Rig::new();
    let _program = rig.serve();
    let question = dns::query(NAME, "A", None).unwrap().to_vec().unwrap();
    let mut stream = TcpStream::connect(rig.server()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut send = |message: &[u8]| {
        stream.write_all(&(message.len() as u16).to_be_bytes()).unwrap();
        stream.write_all(message).unwrap();
    };
    // Nothing at all, what has no header to answer, a response, and noise; then cut questions.
    let mut response = question.clone();
    response[2] |= 0x80;
    for silent in [&[] as &[u8], &question[..11], &response, &[0xff; 9000]] {
        send(silent);
    }
    (12..question.len()).for_each(|cut| send(&question[..cut]));
    // The last one is well, and is answered on the same connection.
    let last = dns::over_stream(stream.try_clone().unwrap(), &question).unwrap();
    let mut replies = vec![last];
    while replies.len() <= question.len() - 12 {
        let mut len = [0; 2];
        stream.read_exact(&mut len).unwrap();
        let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut reply).unwrap();
        replies.push(reply);
    }
    let (well, malformed): (Vec<_>, Vec<_>) =
        replies.iter().partition(|reply| reply.len() > question.len());
    assert_eq!(well.len(), 1, "one question is well");
    for reply in malformed {
        assert_eq!((reply.len(), reply[3] & 0xf), (12, 1), "a bare FORMERR");
    }
}

fn body(port: u16, path: &str) -> String {
    pages::body((Ipv4Addr::LOCALHOST, port).into(), path)
}
