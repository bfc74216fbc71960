//! Sockets and connections: reuse, rotation, what is passed over, what is replaced.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use hickory_proto::{
    op::Message,
    rr::{Name, RData, Record, rdata::TXT},
};
use parking_lot::Mutex;

use super::{
    scripted::{Scripted, answer, reply, until},
    setup::Setup,
};
use crate::plugin::Transport;

/// Hits and misses so far.
fn reuse(setup: &Setup, upstream: &Scripted, proto: &str) -> (u64, u64) {
    let to = upstream.address.to_string();
    let labels = ["forward", &*to, proto];
    let families = &setup.metrics.forward;
    (
        families.hits.with_label_values(&labels).get(),
        families.misses.with_label_values(&labels).get(),
    )
}

#[tokio::test]
async fn forged_udp_replies_are_passed_over() {
    let upstream = Scripted::start(|seen| {
        let other_id = reply(&seen.query, |reply| reply.metadata.id ^= 1);
        let other_name = reply(&seen.query, |reply| {
            reply.queries[0].name = Name::from_ascii("evil.example.").unwrap();
        });
        let not_dns = vec![0; 5];
        Some(vec![other_id, other_name, not_dns, answer(&seen.query)])
    })
    .await;
    let setup = Setup::new(&format!("forward . {}", upstream.address)).await;
    let reply = setup.ask("WwW.example.org.").await.unwrap().message;
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.queries[0].name.to_ascii(), "WwW.example.org.");
}

#[tokio::test]
async fn udp_sockets_are_used_again_but_not_for_long_and_ids_are_fresh() {
    let upstream = Scripted::well().await;
    let setup = Setup::new(&format!("forward . {}", upstream.address)).await;
    for _ in 0..130 {
        setup.ask("www.example.org.").await.unwrap();
    }
    assert_eq!(reuse(&setup, &upstream, "udp"), (127, 3));
    let seen = upstream.seen();
    assert_eq!(seen[0].port, seen[63].port);
    assert_ne!(seen[63].port, seen[64].port);
    let ids: HashSet<u16> = seen.iter().map(|seen| seen.query.metadata.id).collect();
    assert!(ids.len() > 120, "{}", ids.len());
}

#[tokio::test]
async fn a_udp_reply_that_does_not_fit_makes_the_client_ask_over_tcp() {
    let upstream = Scripted::start(|seen| {
        Some(vec![reply(&seen.query, |reply| {
            let name = reply.queries[0].name.clone();
            let text = RData::TXT(TXT::new(vec!["x".repeat(250); 30]));
            reply.answers = vec![Record::from_rdata(name, 60, text)];
        })])
    })
    .await;
    let setup = Setup::new(&format!("forward . {}", upstream.address)).await;
    let reply = setup.ask("www.example.org.").await.unwrap().message;
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    let whole = setup.ask_over("www.example.org.", Transport::Tcp).await.unwrap().message;
    assert!(!whole.metadata.truncation && whole.answers.len() == 1);
}

fn truncated_over_udp(over: Transport, query: &Message) -> Vec<u8> {
    reply(query, |reply| {
        if over == Transport::Udp {
            reply.metadata.truncation = true;
            reply.answers.clear();
        }
    })
}

#[tokio::test]
async fn a_truncated_reply_goes_to_the_client_unless_udp_was_our_choice() {
    for (property, client, want, asked) in [
        ("", Transport::Udp, true, vec![Transport::Udp]),
        ("", Transport::Tcp, false, vec![Transport::Tcp]),
        ("prefer_udp", Transport::Udp, false, vec![Transport::Udp, Transport::Tcp]),
        ("prefer_udp", Transport::Tcp, false, vec![Transport::Udp, Transport::Tcp]),
        ("force_tcp", Transport::Udp, false, vec![Transport::Tcp]),
    ] {
        let upstream =
            Scripted::start(|seen| Some(vec![truncated_over_udp(seen.over, &seen.query)])).await;
        let setup = Setup::new(&format!("forward . {} {{\n{property}\n}}", upstream.address)).await;
        let reply = setup.ask_over("www.example.org.", client).await.unwrap().message;
        assert_eq!(reply.metadata.truncation, want, "{property} {client:?}");
        let over: Vec<Transport> = upstream.seen().iter().map(|seen| seen.over).collect();
        assert_eq!(over, asked, "{property} {client:?}");
    }
}

#[tokio::test]
async fn tcp_queries_in_turn_share_one_connection() {
    let upstream = Scripted::well().await;
    let setup = Setup::new(&format!("forward . {} {{\nforce_tcp\n}}", upstream.address)).await;
    for _ in 0..20 {
        setup.ask("www.example.org.").await.unwrap();
    }
    assert_eq!(upstream.accepted(), 1);
    assert_eq!(reuse(&setup, &upstream, "tcp"), (19, 1));
}

#[tokio::test]
async fn replies_in_any_order_find_their_queries() {
    // Holds every first query back until the second one came, then answers both in reverse.
    let held: Mutex<Option<Message>> = Mutex::new(None);
    let upstream = Scripted::start(move |seen| {
        let mut held = held.lock();
        match held.take() {
            None => {
                *held = Some(seen.query.clone());
                Some(Vec::new())
            }
            Some(first) => Some(vec![answer(&seen.query), answer(&first)]),
        }
    })
    .await;
    let setup = Setup::new(&format!("forward . {} {{\nforce_tcp\n}}", upstream.address)).await;
    // Eight connections are opened before any carries two queries; the ninth pairs with one.
    let names: Vec<String> = (0..16).map(|n| format!("n{n}.example.org.")).collect();
    let asked = futures::future::join_all(names.iter().map(|name| setup.ask(name))).await;
    for (name, outcome) in names.iter().zip(asked) {
        assert_eq!(outcome.unwrap().message.queries[0].name.to_ascii(), *name);
    }
    assert_eq!(upstream.accepted(), 8);
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_is_replaced() {
    // Every third query is answered with the end of the connection.
    let count = AtomicUsize::new(0);
    let upstream = Scripted::start(move |seen| {
        let third = count.fetch_add(1, Relaxed) % 3 == 2;
        (!third).then(|| vec![answer(&seen.query)])
    })
    .await;
    let setup = Setup::new(&format!("forward . {} {{\nforce_tcp\n}}", upstream.address)).await;
    for _ in 0..10 {
        setup.ask("www.example.org.").await.unwrap();
    }
    assert!(upstream.accepted() >= 4, "{}", upstream.accepted());
}

#[tokio::test]
async fn idle_connections_are_closed_after_expire_and_when_there_are_too_many() {
    let upstream = Scripted::well().await;
    let setup =
        Setup::new(&format!("forward . {} {{\nforce_tcp\nexpire 20ms\n}}", upstream.address)).await;
    setup.ask("www.example.org.").await.unwrap();
    until(|| upstream.closed() == 1).await;

    let upstream = Scripted::well().await;
    let options = "force_tcp\nmax_idle_conns 2";
    let setup = Setup::new(&format!("forward . {} {{\n{options}\n}}", upstream.address)).await;
    let asked = (0..6).map(|_| setup.ask("www.example.org."));
    futures::future::join_all(asked).await.into_iter().for_each(|outcome| drop(outcome.unwrap()));
    assert_eq!(upstream.accepted(), 6);
    until(|| upstream.closed() == 4).await;
}

#[tokio::test]
async fn nothing_outlives_the_plugin() {
    let upstream = Scripted::well().await;
    let setup = Setup::new(&format!("forward . {} {{\nforce_tcp\n}}", upstream.address)).await;
    setup.ask("www.example.org.").await.unwrap();
    drop(setup);
    until(|| upstream.closed() == 1).await;
}
