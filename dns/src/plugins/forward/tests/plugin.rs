//! What the directive's properties do.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use hickory_proto::op::ResponseCode;
use tokio::time::Instant;

use super::{
    scripted::{Scripted, answer, code, reply, until},
    setup::Setup,
};
use crate::{plugin::FailureReason, plugins::forward::health::State};

/// An address that nobody answers on over UDP, kept from other tests for as long as the listener is.
fn closed() -> (String, TcpListener) {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    (held.local_addr().unwrap().to_string(), held)
}

async fn with_code(wanted: ResponseCode) -> Scripted {
    Scripted::start(move |seen| Some(vec![code(&seen.query, wanted)])).await
}

#[tokio::test]
async fn only_names_of_the_zone_that_are_not_excepted_are_forwarded() {
    let upstream = Scripted::well().await;
    let setup = Setup::new(&format!(
        "forward example.org {} {{\nexcept in.example.org example.org\n}}",
        upstream.address
    ))
    .await;
    for (name, want) in [
        ("eXample.org.", ResponseCode::NoError),
        ("in.example.org.", ResponseCode::NotZone),
        ("a.IN.example.org.", ResponseCode::NotZone),
        ("example.com.", ResponseCode::NotZone),
        ("badexample.org.", ResponseCode::NotZone),
    ] {
        assert_eq!(setup.code(name).await, want, "{name}");
    }
}

#[tokio::test]
async fn several_forwards_are_tried_in_the_order_of_the_file() {
    let (first, second) =
        (with_code(ResponseCode::NXDomain).await, with_code(ResponseCode::Refused).await);
    let setup =
        Setup::new(&format!("forward example.org {}\nforward . {}", first.address, second.address))
            .await;
    assert_eq!(setup.code("a.example.org.").await, ResponseCode::NXDomain);
    assert_eq!(setup.code("a.example.com.").await, ResponseCode::Refused);
}

#[tokio::test]
async fn a_dead_upstream_costs_no_query_and_a_silent_one_little_time() {
    let (well, silent) = (Scripted::well().await, Scripted::start(|_| Some(Vec::new())).await);
    let (dead, _held) = closed();
    let options = "policy round_robin";
    let setup = Setup::new(&format!("forward . {dead} {} {{\n{options}\n}}", well.address)).await;
    for _ in 0..10 {
        assert_eq!(setup.code("www.example.org.").await, ResponseCode::NoError);
    }
    let setup = Setup::new(&format!("forward . {} {}", silent.address, well.address)).await;
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(setup.code("www.example.org.").await, ResponseCode::NoError);
    }
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_failure_says_which_upstream_failed_and_how() {
    let (address, _held) = closed();
    let setup = Setup::new(&format!("forward . {address}")).await;
    let failure = setup.ask("www.example.org.").await.unwrap_err();
    let (to, what) = (address, "connection refused".to_owned());
    assert_eq!(failure.reason, FailureReason::Upstream { to, what, ede: 23 });
    assert_eq!((failure.code, failure.plugin), (ResponseCode::ServFail, "forward"));

    let silent = Scripted::start(|_| Some(Vec::new())).await;
    let options = "read_timeout 30ms";
    let setup = Setup::new(&format!("forward . {} {{\n{options}\n}}", silent.address)).await;
    let failure = setup.ask("www.example.org.").await.unwrap_err();
    let (to, what) = (silent.address.to_string(), "i/o timeout".to_owned());
    assert_eq!(failure.reason, FailureReason::Upstream { to, what, ede: 22 });
}

#[tokio::test]
async fn an_upstream_goes_down_and_comes_back_when_it_answers_anything() {
    let (address, held) = closed();
    let options = "health_check 5ms\nfailfast_all_unhealthy_upstreams";
    let setup = Setup::new(&format!("forward . {address} {{\n{options}\n}}")).await;
    let state = || setup.forwards[0].remotes()[0].health.state();
    assert_eq!(state(), State::Up);
    assert_eq!(setup.code("www.example.org.").await, ResponseCode::ServFail);
    until(|| state() == State::Down).await;

    let failure = setup.ask("www.example.org.").await.unwrap_err();
    let what = "no healthy proxies".to_owned();
    let reason = FailureReason::Upstream { to: address.clone(), what, ede: 22 };
    assert_eq!(failure.reason, reason);
    let families = &setup.metrics.forward;
    assert_eq!(families.all_down.get(), 1);
    assert!(families.check_failures.with_label_values(&["forward", &*address]).get() >= 3);

    let refusing =
        |seen: &super::scripted::Seen| Some(vec![code(&seen.query, ResponseCode::Refused)]);
    drop(held);
    let upstream = Scripted::at(&address, None, refusing).await;
    until(|| state() == State::Up).await;
    let check = &upstream.seen()[0].query;
    assert!(check.queries[0].name.is_root() && check.metadata.recursion_desired);
    assert_eq!(setup.code("www.example.org.").await, ResponseCode::Refused);
}

#[tokio::test]
async fn with_all_down_one_is_asked_all_the_same() {
    let (address, held) = closed();
    let setup = Setup::new(&format!("forward . {address} {{\nhealth_check 1h\n}}")).await;
    let remote = &setup.forwards[0].remotes()[0];
    assert!(remote.health.query_failed());
    for _ in 0..3 {
        assert!(remote.health.checked(false));
    }
    assert_eq!(remote.health.state(), State::Down);
    let well = |seen: &super::scripted::Seen| Some(vec![answer(&seen.query)]);
    drop(held);
    let _upstream = Scripted::at(&address, None, well).await;
    assert_eq!(setup.code("www.example.org.").await, ResponseCode::NoError);
    assert_eq!(setup.metrics.forward.all_down.get(), 1);
}

#[tokio::test]
async fn max_concurrent_refuses_what_is_above_it() {
    let silent = Scripted::start(|_| Some(Vec::new())).await;
    let options = "max_concurrent 2\nread_timeout 100ms";
    let setup =
        Arc::new(Setup::new(&format!("forward . {} {{\n{options}\n}}", silent.address)).await);
    let asked = (0..5).map(|_| setup.code("www.example.org."));
    let mut codes = futures::future::join_all(asked).await;
    codes.sort_by_key(|code| u16::from(*code));
    let (failed, refused) = (ResponseCode::ServFail, ResponseCode::Refused);
    assert_eq!(codes, [failed, failed, refused, refused, refused]);
    assert_eq!(setup.metrics.forward.rejects.get(), 3);
    assert_eq!(setup.code("www.example.org.").await, failed, "the places are free again");
}

#[tokio::test]
async fn failover_asks_the_next_upstream_and_next_the_next_forward() {
    let (bad, well) = (with_code(ResponseCode::ServFail).await, Scripted::well().await);
    let (bad, well) = (bad.address, well.address);
    let empty = Scripted::start(|seen| Some(vec![reply(&seen.query, |r| r.answers.clear())])).await;
    let empty = empty.address;
    let (failed, fine) = (ResponseCode::ServFail, ResponseCode::NoError);
    for (directives, want) in [
        (format!("forward . {bad} {well} {{\npolicy sequential\n}}"), failed),
        (format!("forward . {bad} {well} {{\npolicy sequential\nfailover SERVFAIL\n}}"), fine),
        (format!("forward . {bad} {{\nfailover SERVFAIL\n}}"), failed),
        (format!("forward . {bad} {{\nnext SERVFAIL\n}}\nforward . {well}"), fine),
        (format!("forward . {bad} {{\nnext NXDOMAIN\n}}\nforward . {well}"), failed),
        // What comes next is no forward.
        (format!("forward . {bad} {{\nnext SERVFAIL\n}}"), failed),
        (format!("forward . {empty} {{\nnext_on_nodata\n}}\nforward . {bad}"), failed),
        (format!("forward . {empty}\nforward . {bad}"), fine),
    ] {
        assert_eq!(
            Setup::new(&directives).await.code("a.example.org.").await,
            want,
            "{directives}"
        );
    }
}

#[tokio::test]
async fn names_among_the_upstreams_are_asked_from_the_resolver() {
    // Resolver and upstream at once, so that the name's address leads to it: 127.0.0.1.
    let upstream = Scripted::start(|seen| {
        use hickory_proto::rr::{RData, rdata::A};
        Some(vec![reply(&seen.query, |reply| {
            reply.answers[0].data = RData::A(A::new(127, 0, 0, 1));
        })])
    })
    .await;
    let (address, port) = (upstream.address, upstream.address.port());
    let setup =
        Setup::new(&format!("forward . dns.example.org:{port} {{\nresolver {address}\n}}")).await;
    assert_eq!(setup.forwards[0].remotes().len(), 1);
    assert_eq!(setup.forwards[0].remotes()[0].to, address.to_string());
    assert_eq!(setup.code("www.example.org.").await, ResponseCode::NoError);
}

#[tokio::test]
async fn what_is_cut_off_is_not_asked() {
    let (first, second) = (Scripted::well().await, Scripted::well().await);
    let setup = Setup::new(&format!("forward . {} {}", first.address, second.address)).await;
    let remotes = setup.forwards[0].remotes();
    remotes[0].health.cut();
    for _ in 0..10 {
        assert_eq!(setup.code("www.example.org.").await, ResponseCode::NoError);
    }
    assert_eq!((first.seen().len(), second.seen().len()), (0, 10));
    remotes[1].health.cut();
    let failure = setup.ask("www.example.org.").await.unwrap_err();
    assert!(failure.reason.to_string().ends_with("a forwarding loop"), "{}", failure.reason);
}

#[tokio::test]
async fn an_upstream_that_is_later_than_usual_is_not_waited_for() {
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = Arc::clone(&silent);
    let first = Scripted::start(move |seen| {
        Some(if is_silent.load(Relaxed) { Vec::new() } else { vec![answer(&seen.query)] })
    })
    .await;
    let second = Scripted::well().await;
    // Without an estimate the second would be asked after 15 s, when the query has been given up.
    let (a, b) = (first.address, second.address);
    let options = "policy round_robin\nread_timeout 60s\nhealth_check 1h";
    let setup = Setup::new(&format!("forward . {a} {b} {{\n{options}\n}}")).await;
    for _ in 0..20 {
        setup.ask("www.example.org.").await.unwrap();
    }
    silent.store(true, Relaxed);
    // On a busy machine the budget may be used up by others that were late.
    let mut helped = false;
    for _ in 0..20 {
        let before = first.seen().len();
        helped |= setup.ask("www.example.org.").await.is_ok() && first.seen().len() > before;
        if helped {
            break;
        }
    }
    assert!(helped);
}

#[tokio::test]
async fn without_checks_an_upstream_that_failed_is_passed_over_for_a_while() {
    let (first, second) = (Scripted::start(|_| None).await, Scripted::well().await);
    let (a, b) = (first.address, second.address);
    let options = "policy sequential\nforce_tcp\nmax_fails 0";
    let setup = Setup::new(&format!("forward . {a} {b} {{\n{options}\n}}")).await;
    let begun = std::time::Instant::now();
    for _ in 0..10 {
        setup.ask("www.example.org.").await.unwrap();
    }
    let seconds = 1 + begun.elapsed().as_secs() as usize;
    assert!(first.seen().len() <= seconds, "{} in {seconds} s", first.seen().len());
    assert_eq!(second.seen().len(), 10);
}

#[tokio::test]
async fn a_client_that_floods_leaves_room_for_others() {
    let upstream = Scripted::start(|seen| {
        let name = seen.query.queries[0].name.to_ascii();
        Some(if name.starts_with("silent") { Vec::new() } else { vec![answer(&seen.query)] })
    })
    .await;
    let options = "max_concurrent 64\nread_timeout 30s";
    let setup = Setup::new(&format!("forward . {} {{\n{options}\n}}", upstream.address)).await;
    let flood = (0..100u16).map(|port| {
        setup.ask_from(SocketAddr::from(([10, 0, 0, 9], 1 + port)), "silent.example.org.")
    });
    let mut flood: FuturesUnordered<_> = flood.collect();
    // What is beyond the client's share is refused at once: 56 of 64 wait.
    for _ in 0..44 {
        let failure = flood.next().await.unwrap().unwrap_err();
        assert_eq!(failure.code, ResponseCode::Refused);
    }
    let others = (1..=8).map(|client| {
        setup.ask_from(SocketAddr::from(([10, 0, 1, client], 53)), "www.example.org.")
    });
    let answered = futures::future::join_all(others).await;
    assert!(answered.iter().all(Result::is_ok));
    assert_eq!(setup.metrics.forward.rejects.get(), 44);
}
