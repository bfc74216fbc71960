//! Connections that live: many queries, large replies, ends in order.

use std::{
    io::Read,
    net::{Ipv6Addr, TcpStream},
};

use daymark_tests::{encrypted, pages};

use super::served::{ADDRESSES, LARGE, NAME, Setting, answers, query};

#[test]
fn one_connection_answers_many_queries() {
    let served = Setting::default().start();
    let client = served.client(None);
    let question = query(NAME);
    let mut tls = client.tls(served.tls, "localhost").unwrap();
    // All are sent before the first reply is read.
    for _ in 0..500 {
        encrypted::send(&mut tls, &question).unwrap();
    }
    for _ in 0..500 {
        assert_eq!(answers(&encrypted::receive(&mut tls).unwrap()), 1);
    }
    let questions = vec![question.clone(); 500];
    let replies = client.quic(served.quic, "localhost", &questions).unwrap();
    assert_eq!(replies.iter().map(|reply| answers(reply)).sum::<usize>(), 500);
    let requests: Vec<_> =
        (0..300).map(|n| encrypted::request(&question, n % 2 == 0).unwrap()).collect();
    let responses = client.https3(served.https3, "localhost", &requests).unwrap();
    for response in &responses {
        assert_eq!(response.status, 200);
        assert_eq!(response.headers["content-type"], "application/dns-message");
        assert_eq!(response.headers["cache-control"], "max-age=3600");
        assert_eq!(answers(&response.body), 1);
    }
    let count = |family: &str, status: &str| {
        let label = format!("status=\"{status}\"");
        pages::metric(served.metrics, family, &label).unwrap()
    };
    assert!((count("coredns_dns_quic_responses_total", "0x0") - 500.0).abs() < 0.5);
    assert!((count("coredns_dns_https3_responses_total", "200") - 300.0).abs() < 0.5);
}

#[test]
fn a_large_reply_is_whole_over_every_connection() {
    let served = Setting::default().start();
    let client = served.client(None);
    let question = query(LARGE);
    let mut tcp = TcpStream::connect(served.dns).unwrap();
    assert_eq!(answers(&encrypted::ask(&mut tcp, &question).unwrap()), ADDRESSES);
    let mut tls = client.tls(served.tls, "localhost").unwrap();
    assert_eq!(answers(&encrypted::ask(&mut tls, &question).unwrap()), ADDRESSES);
    let quic = client.quic(served.quic, "localhost", std::slice::from_ref(&question)).unwrap();
    assert_eq!(answers(&quic[0]), ADDRESSES);
    let request = encrypted::request(&question, false).unwrap();
    let https3 = client.https3(served.https3, "localhost", &[request]).unwrap();
    assert_eq!(answers(&https3[0].body), ADDRESSES);
}

#[test]
fn everything_is_served_over_ipv6() {
    let served = Setting { host: Ipv6Addr::LOCALHOST.into(), ..Setting::default() }.start();
    let client = served.client(None);
    let question = query(NAME);
    let mut tls = client.tls(served.tls, "localhost").unwrap();
    assert_eq!(answers(&encrypted::ask(&mut tls, &question).unwrap()), 1);
    let quic = client.quic(served.quic, "localhost", std::slice::from_ref(&question)).unwrap();
    assert_eq!(answers(&quic[0]), 1);
    let request = encrypted::request(&question, true).unwrap();
    let https3 = client.https3(served.https3, "localhost", &[request]).unwrap();
    assert_eq!(answers(&https3[0].body), 1);
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let served =
        Setting { more: "timeouts {\n idle 1s\n read 1s\n }", ..Setting::default() }.start();
    let client = served.client(None);
    let question = query(NAME);
    let mut tls = client.tls(served.tls, "localhost").unwrap();
    assert_eq!(answers(&encrypted::ask(&mut tls, &question).unwrap()), 1);
    assert_eq!(tls.read(&mut [0; 1]).unwrap(), 0, "it is closed in order");
    // Part of a query is waited for no longer.
    let mut tcp = TcpStream::connect(served.dns).unwrap();
    encrypted::ask(&mut tcp, &question).unwrap();
    std::io::Write::write_all(&mut tcp, &[0, 40, 1, 2]).unwrap();
    assert_eq!(tcp.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_connection_is_closed_after_as_many_queries_as_it_may_bring() {
    let served = Setting { more: "timeouts {\n maxtcpqueries 3\n }", ..Setting::default() }.start();
    let question = query(NAME);
    let mut tcp = TcpStream::connect(served.dns).unwrap();
    for _ in 0..4 {
        encrypted::send(&mut tcp, &question).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(answers(&encrypted::receive(&mut tcp).unwrap()), 1);
    }
    assert!(encrypted::receive(&mut tcp).is_err(), "the fourth is not answered");
}

#[test]
fn a_query_against_the_rules_of_quic_ends_the_connection() {
    let served = Setting::default().start();
    let client = served.client(None);
    let mut with_id = query(NAME);
    with_id[1] = 1;
    let error = client.quic(served.quic, "localhost", &[with_id]).unwrap_err();
    assert!(format!("{error:#}").contains("closed by peer: 2"), "{error:#}");
    assert_eq!(client.quic(served.quic, "localhost", &[query(NAME)]).unwrap().len(), 1);
}
