//! Prefetch, stale replies, and that nobody stampedes.

use hickory_proto::rr::rdata::opt::EdnsOption;

use super::*;

const NAME: &str = "www.example.org.";

fn www() -> Message {
    question(NAME, RecordType::A)
}

/// Lets tasks that were spawned do what they can.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

impl Rig {
    fn upstream_answers(&self, last: u8) {
        self.upstream_gives(move |m| m.answers.push(a(NAME, 30, last)));
    }

    /// Asks on the long way; gives the address and its TTL.
    async fn address(&self) -> (u8, u32) {
        address(&self.long(&www()).await.expect("a reply").message)
    }
}

/// Last octet of the first address, and its TTL. A reply without one is its code and 0.
fn address(reply: &Message) -> (u8, u32) {
    match reply.answers.first() {
        Some(Record { data: RData::A(address), ttl, .. }) => (address.0.octets()[3], *ttl),
        _ => (u16::from(reply.metadata.response_code) as u8, 0),
    }
}

#[tokio::test]
async fn a_name_much_asked_for_is_renewed_before_it_expires() {
    let rig = Rig::new("{; prefetch 3 10s 20% ;}");
    rig.upstream_answers(1);
    rig.address().await;
    rig.wait(secs(22));
    for _ in 0..2 {
        rig.address().await;
    }
    rig.upstream_answers(2);
    settle().await;
    assert_eq!(rig.asked(), 1, "with a quarter left");
    rig.wait(secs(4));
    assert_eq!(rig.address().await, (1, 4), "nobody waits");
    settle().await;
    assert_eq!(rig.asked(), 1, "with less than a fifth left");
    assert_eq!(rig.address().await, (2, 30));
    assert_eq!(rig.counts.totals()[2], 1);
    // The new entry knows how popular the name is.
    rig.wait(secs(9));
    rig.address().await;
    rig.wait(secs(9));
    rig.address().await;
    rig.wait(secs(9));
    rig.address().await;
    settle().await;
    assert_eq!(rig.asked(), 1);
}

#[tokio::test]
async fn hits_far_apart_do_not_count_for_prefetch() {
    let rig = Rig::new("{; prefetch 2 5s 90% ;}");
    rig.upstream_answers(1);
    rig.address().await;
    for _ in 0..4 {
        rig.wait(secs(6));
        rig.address().await;
    }
    settle().await;
    assert_eq!(rig.asked(), 1);
}

#[tokio::test]
async fn a_prefetch_that_fails_leaves_the_entry_and_pauses() {
    let rig = Rig::new("{; prefetch 1 1m 90% ;}");
    rig.upstream_answers(1);
    rig.address().await;
    rig.wait(secs(10));
    for failure in [true, false] {
        match failure {
            true => rig.upstream_fails(),
            false => rig.upstream_gives(|m| m.metadata.response_code = ResponseCode::ServFail),
        }
        rig.asked();
        for _ in 0..5 {
            assert_eq!(rig.address().await.0, 1);
            settle().await;
        }
        assert_eq!(rig.asked(), 1);
        rig.wait(secs(1));
    }
    // What failed was not kept: past its end the entry is asked for anew.
    rig.upstream_answers(2);
    rig.wait(secs(30));
    assert_eq!(rig.address().await, (2, 30));
}

#[tokio::test]
async fn the_short_way_begins_a_renewal_and_the_long_way_does_it() {
    for settings in ["{; prefetch 1 1m 90% ;}", "{; serve_stale ;}"] {
        let rig = Rig::new(settings);
        rig.upstream_answers(1);
        rig.address().await;
        rig.wait(secs(if settings.contains("stale") { 31 } else { 20 }));
        rig.upstream_answers(2);
        rig.asked();
        let (short, reply) = rig.short(&www(), 0);
        assert!(matches!(short, Short::AnsweredRefresh(_)), "{settings}");
        assert_eq!(address(&reply.unwrap()).0, 1);
        let (short, _) = rig.short(&www(), 0);
        assert!(matches!(short, Short::Answered(_)), "{settings}: one renewal at a time");
        let before = rig.counts.totals();
        assert_eq!(rig.address().await.0, 1, "what the server runs without a reply");
        assert_eq!(rig.counts.totals()[0], before[0], "counted once");
        settle().await;
        assert_eq!(rig.asked(), 1, "{settings}");
        let (short, reply) = rig.short(&www(), 0);
        assert!(matches!(short, Short::Answered(_)));
        assert_eq!(address(&reply.unwrap()), (2, 30));
    }
}

#[tokio::test]
async fn a_renewal_that_nobody_took_up_is_begun_again() {
    let rig = Rig::new("{; serve_stale ;}");
    rig.upstream_answers(1);
    rig.address().await;
    rig.wait(secs(31));
    assert!(matches!(rig.short(&www(), 0).0, Short::AnsweredRefresh(_)));
    rig.wait(secs(9));
    assert!(matches!(rig.short(&www(), 0).0, Short::Answered(_)));
    rig.wait(secs(1));
    assert!(matches!(rig.short(&www(), 0).0, Short::AnsweredRefresh(_)));
}

#[tokio::test]
async fn what_is_served_when_an_entry_has_expired() {
    // Settings, seconds after it was stored, whether upstream answers; served at once and then.
    type Row = (&'static str, u64, bool, (u8, u32), (u8, u32));
    let rows: &[Row] = &[
        ("", 30, true, (2, 30), (2, 30)),
        ("{; serve_stale 1m ;}", 29, true, (1, 1), (1, 1)),
        ("{; serve_stale 1m ;}", 30, true, (1, 0), (2, 30)),
        ("{; serve_stale 1m ;}", 89, true, (1, 0), (2, 30)),
        ("{; serve_stale 1m ;}", 90, true, (2, 30), (2, 30)),
        ("{; serve_stale 1m ;}", 40, false, (1, 0), (1, 0)),
        ("{; serve_stale 1m immediate 7s ;}", 40, false, (1, 7), (1, 7)),
        ("{; serve_stale 1m verify ;}", 40, true, (2, 30), (2, 30)),
        ("{; serve_stale 1m verify ;}", 40, false, (1, 0), (1, 0)),
        ("{; serve_stale 1m verify ;}", 90, true, (2, 30), (2, 30)),
        ("{; serve_stale 1m verify 10s ;}", 40, true, (2, 30), (2, 30)),
        ("{; serve_stale 1m verify 10s ;}", 40, false, (1, 0), (1, 0)),
        ("{; serve_stale 1m verify 10s 7s ;}", 40, false, (1, 7), (1, 7)),
        ("{; serve_stale 1m ; keepttl ;}", 40, false, (1, 30), (1, 30)),
    ];
    for (settings, after, up, first, second) in rows {
        let what = format!("{settings} {after} s, upstream answers: {up}");
        let rig = Rig::new(settings);
        rig.upstream_answers(1);
        rig.address().await;
        rig.wait(secs(*after));
        match up {
            true => rig.upstream_answers(2),
            false => rig.upstream_fails(),
        }
        assert_eq!(rig.address().await, *first, "{what}");
        settle().await;
        assert_eq!(rig.address().await, *second, "{what}, again");
    }
}

#[tokio::test]
async fn a_slow_upstream_is_waited_for_no_longer_than_said_and_its_reply_is_kept() {
    let rig = Rig::new("{; serve_stale 1m verify 1ms ;}");
    rig.upstream_answers(1);
    rig.address().await;
    rig.wait(secs(40));
    rig.upstream_answers(2);
    let gate = rig.upstream.gate.lock().await;
    assert_eq!(rig.address().await, (1, 0));
    assert_eq!(rig.address().await, (1, 0), "nor does anybody ask a second time");
    drop(gate);
    settle().await;
    assert_eq!(rig.address().await, (2, 30));
    assert_eq!(rig.asked(), 2);
    assert_eq!(rig.counts.totals()[4], 2, "stale replies");
}

#[tokio::test]
async fn after_a_failed_renewal_the_next_one_waits() {
    for (settings, pause) in [
        ("{; serve_stale 1h immediate ;}", 1),
        ("{; serve_stale 1h immediate 0s 20s ;}", 20),
        ("{; serve_stale 1h verify ;}", 1),
        ("{; serve_stale 1h verify 10s 0s 20s ;}", 20),
    ] {
        let rig = Rig::new(settings);
        rig.upstream_answers(1);
        rig.address().await;
        rig.wait(secs(40));
        rig.upstream_fails();
        rig.address().await;
        settle().await;
        rig.asked();
        rig.wait(secs(pause) - Duration::from_millis(1));
        rig.address().await;
        settle().await;
        assert_eq!(rig.asked(), 0, "{settings}");
        rig.wait(Duration::from_millis(1));
        rig.address().await;
        settle().await;
        assert_eq!(rig.asked(), 1, "{settings}");
    }
}

#[tokio::test]
async fn a_denial_takes_the_place_of_a_stale_answer_unless_the_policy_says_otherwise() {
    for (policy, want) in [("", 3), ("serve_stale_policy prefer_positive ;", 1)] {
        for way in ["immediate", "verify"] {
            let rig = Rig::new(&format!("{{; serve_stale 1h {way} ; {policy}}}"));
            rig.upstream_answers(1);
            rig.address().await;
            rig.wait(secs(40));
            rig.upstream_gives(nxdomain);
            rig.address().await;
            settle().await;
            assert_eq!(rig.address().await.0, want, "{policy} {way}");
            rig.upstream_answers(2);
            rig.wait(secs(61));
            rig.address().await;
            settle().await;
            assert_eq!(rig.address().await, (2, 30), "{policy} {way}: the name is back");
        }
    }
}

#[tokio::test]
async fn queries_at_the_same_time_are_asked_once() {
    let rig = Rig::new("30");
    rig.upstream_answers(1);
    let gate = rig.upstream.gate.lock().await;
    let all = futures::future::join_all((0..50).map(|_| rig.address()));
    let open = async {
        settle().await;
        drop(gate);
    };
    let (answers, ()) = futures::join!(all, open);
    assert_eq!(answers, [(1, 30); 50]);
    assert_eq!(rig.asked(), 1);
}

#[tokio::test]
async fn whoever_waits_for_one_that_gave_up_asks_alone() {
    let rig = Rig::new("30");
    rig.upstream_answers(1);
    let gate = rig.upstream.gate.lock().await;
    let mut leader = Box::pin(rig.address());
    assert!(futures::poll!(&mut leader).is_pending());
    let mut follower = Box::pin(rig.address());
    assert!(futures::poll!(&mut follower).is_pending());
    assert_eq!(rig.asked(), 1);
    drop(leader);
    drop(gate);
    assert_eq!(follower.await, (1, 30));
    assert_eq!(rig.asked(), 1);
}

#[tokio::test]
async fn a_cut_reply_is_not_shared() {
    let rig = Rig::new("30");
    rig.upstream_gives(|m| m.metadata.truncation = true);
    let gate = rig.upstream.gate.lock().await;
    let both = futures::future::join_all((0..2).map(|_| rig.address()));
    let open = async {
        settle().await;
        drop(gate);
    };
    futures::join!(both, open);
    assert_eq!(rig.asked(), 2);
}

/// Extended DNS Errors of a reply.
fn extended_errors(reply: &Message) -> Vec<u16> {
    let options = reply.edns.iter().flat_map(|edns| edns.options().as_ref());
    let of = |option: &EdnsOption| {
        let data = Vec::try_from(option).unwrap();
        u16::from_be_bytes([data[0], data[1]])
    };
    options.map(|(_, option)| of(option)).collect()
}

#[tokio::test]
async fn replies_that_are_stale_or_remembered_failures_say_so_either_way() {
    let missing = |m: &mut Message| {
        m.metadata.response_code = ResponseCode::NXDomain;
        m.authorities.push(soa(30, 30));
    };
    let no_data = |m: &mut Message| m.authorities.push(soa(30, 30));
    let failed = |m: &mut Message| m.metadata.response_code = ResponseCode::ServFail;
    let given: [(fn(&mut Message), _, _); 4] = [
        (|m| m.answers.push(a(NAME, 30, 1)), None, Some(3)),
        (missing, None, Some(19)),
        (no_data, None, Some(3)),
        (failed, Some(13), Some(13)),
    ];
    for (number, (fill, fresh, stale)) in given.into_iter().enumerate() {
        let rig = Rig::new("{; serve_stale ;}");
        rig.upstream_gives(fill);
        let mut query = www();
        query.edns = Some(Edns::new());
        rig.long(&query).await.unwrap();
        rig.upstream_fails();
        for (wait, want) in [(1, fresh), (35, stale)] {
            rig.wait(secs(wait));
            let want: Vec<u16> = want.into_iter().collect();
            let (_, short) = rig.short(&query, 0);
            assert_eq!(extended_errors(&short.unwrap()), want, "{number}");
            let long = rig.long(&query).await.unwrap().message;
            assert_eq!(extended_errors(&long), want, "{number}");
            let (_, plain) = rig.short(&www(), 0);
            assert!(plain.unwrap().edns.is_none());
        }
    }
}

#[tokio::test]
async fn entries_that_were_made_together_are_not_renewed_together() {
    let rig = Rig::new("{; prefetch 1 1h 50% ;}");
    rig.upstream_gives(|m| {
        let owner = m.queries[0].name.clone();
        m.answers.push(Record::from_rdata(owner, 1000, RData::A(A(Ipv4Addr::LOCALHOST))));
    });
    let names: Vec<_> =
        (0..100).map(|n| question(&format!("n{n}.example.org."), RecordType::A)).collect();
    for name in &names {
        rig.long(name).await.unwrap();
    }
    rig.asked();
    let mut renewed = Vec::new();
    for wait in [499, 46, 40, 45] {
        rig.wait(secs(wait));
        for name in &names {
            rig.long(name).await.unwrap();
        }
        settle_all(&rig).await;
        renewed.push(rig.asked());
    }
    assert_eq!(renewed[0], 0, "{renewed:?}");
    assert!(renewed[1..].iter().all(|part| (5..80).contains(part)), "{renewed:?}");
    assert_eq!(renewed.iter().sum::<usize>(), 100, "each once: {renewed:?}");
}

/// Lets all renewals that have begun end.
async fn settle_all(rig: &Rig) {
    while rig.cache.0.renewals.available_permits() < super::super::plugin::RENEWALS {
        tokio::task::yield_now().await;
    }
}
