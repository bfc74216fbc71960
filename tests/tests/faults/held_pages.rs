//! Clients that hold connections to the HTTP pages: a bound, shared fairly, that frees itself.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use daymark_tests::{
    clients::{self, address},
    pages, ports,
    process::PATIENCE,
};

use crate::rig::Rig;

/// More than one address may have.
const CONNECTIONS: usize = 200;

#[test]
fn connections_to_the_pages_are_bounded_and_the_greedy_client_is_shed_first() {
    let rig = Rig::new();
    let (metrics, health) = (ports::free(), ports::free());
    rig.write_corefile(&format!(
        "    prometheus 127.0.0.1:{metrics}\n    health 127.0.0.1:{health}\n"
    ));
    let _program = rig.serve();
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, metrics));
    let mut greedy: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = clients::connect(address(2), server, PATIENCE).unwrap();
            // The first half of a request; it may be turned away already.
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n");
            stream
        })
        .collect();
    // While those are held, another client reads the page.
    let shed = || pages::metric(server, "daymark_http_shed_total", "").unwrap();
    let turned_away = shed();
    assert!(turned_away >= (CONNECTIONS - 64) as f64, "{turned_away} of {CONNECTIONS}");
    assert_eq!(pages::body((Ipv4Addr::LOCALHOST, health).into(), "/health"), "OK");
    // Those that were let in lose their places by themselves, without having got a page.
    for stream in &mut greedy {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = Vec::new();
        let outcome = stream.read_to_end(&mut text);
        assert!(!matches!(&outcome, Err(error) if is_timeout(error)), "still held: {outcome:?}");
        assert!(text.is_empty(), "a page for half a request");
    }
    let mut again = clients::connect(address(2), server, PATIENCE).unwrap();
    again.set_read_timeout(Some(PATIENCE)).unwrap();
    again.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    again.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

#[test]
fn the_head_of_a_request_is_bounded() {
    let rig = Rig::new();
    let metrics = ports::free();
    rig.write_corefile(&format!("    prometheus 127.0.0.1:{metrics}\n"));
    let _program = rig.serve();
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, metrics));
    let mut stream = clients::connect(address(2), server, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    // A megabyte of one header; the server closes before it has taken all of it.
    let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
    let written = (0..1024).take_while(|_| stream.write_all(&[b'x'; 1024]).is_ok()).count();
    let mut text = Vec::new();
    let outcome = stream.read_to_end(&mut text);
    assert!(!matches!(&outcome, Err(error) if is_timeout(error)), "{written} KiB: {outcome:?}");
    assert!(!text.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&text));
    assert_ne!(pages::body(server, "/metrics"), "");
}
