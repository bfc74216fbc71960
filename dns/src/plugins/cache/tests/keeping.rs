//! Which replies are kept, as what, and for how long.

use super::*;

type Fill = fn(&mut Message);

fn answer(ttl: u32) -> impl Fn(&mut Message) + Send + Sync + 'static {
    move |message| message.answers.push(a("www.example.org.", ttl, 1))
}

#[test]
fn what_is_kept_and_for_how_long() {
    const NAME: &str = "www.example.org.";
    let rows: &[(&str, &str, Fill, Option<u64>)] = &[
        ("an answer", "", |m| m.answers.push(a(NAME, 60, 1)), Some(60)),
        ("no longer than said", "30", |m| m.answers.push(a(NAME, 60, 1)), Some(30)),
        ("no shorter than 5 s", "30", |m| m.answers.push(a(NAME, 2, 1)), Some(5)),
        ("as short as said", "{; success 1 60 1 ;}", |m| m.answers.push(a(NAME, 2, 1)), Some(2)),
        ("the most wins", "2", |m| m.answers.push(a(NAME, 60, 1)), Some(2)),
        ("TTL 0: not", "", |m| m.answers.push(a(NAME, 0, 1)), None),
        (
            "the least TTL",
            "",
            |m| {
                m.answers.extend([cname(NAME, 20, "x.example.org."), a("x.example.org.", 60, 1)]);
            },
            Some(20),
        ),
        (
            "the least TTL, in any section",
            "",
            |m| {
                m.answers.push(a(NAME, 60, 1));
                m.additionals.push(a("ns.example.org.", 7, 1));
            },
            Some(7),
        ),
        ("NXDOMAIN", "", nxdomain, Some(60)),
        ("NXDOMAIN, no longer than said", "{; denial 1 8 ;}", nxdomain, Some(8)),
        (
            "NXDOMAIN by the SOA's MINIMUM",
            "",
            |m| {
                m.metadata.response_code = ResponseCode::NXDomain;
                m.authorities.push(soa(60, 9));
            },
            Some(9),
        ),
        (
            "NXDOMAIN without SOA: not",
            "",
            |m| m.metadata.response_code = ResponseCode::NXDomain,
            None,
        ),
        ("no data", "", |m| m.authorities.push(soa(60, 60)), Some(60)),
        (
            "no data behind an alias",
            "",
            |m| {
                m.answers.push(cname(NAME, 70, "x.example.org."));
                m.authorities.push(soa(60, 60));
            },
            Some(60),
        ),
        (
            "an alias that leads nowhere: not",
            "",
            |m| m.answers.push(cname(NAME, 60, "x.example.org.")),
            None,
        ),
        (
            "an alias that loops: not",
            "",
            |m| {
                m.answers
                    .extend([cname(NAME, 60, "x.example.org."), cname("x.example.org.", 60, NAME)]);
            },
            None,
        ),
        (
            "an alias that forks: not",
            "",
            |m| {
                m.answers.extend([
                    cname(NAME, 60, "x.example.org."),
                    cname(NAME, 60, "y.example.org."),
                    a("x.example.org.", 60, 1),
                ]);
            },
            None,
        ),
        ("nothing at all", "", |_| {}, Some(5)),
        ("SERVFAIL", "", |m| m.metadata.response_code = ResponseCode::ServFail, Some(5)),
        (
            "SERVFAIL as long as said",
            "{; servfail 9s ;}",
            |m| m.metadata.response_code = ResponseCode::ServFail,
            Some(9),
        ),
        (
            "SERVFAIL, if at all",
            "{; servfail 0 ;}",
            |m| m.metadata.response_code = ResponseCode::ServFail,
            None,
        ),
        ("REFUSED: not", "", |m| m.metadata.response_code = ResponseCode::Refused, None),
        (
            "cut: not",
            "",
            |m| {
                m.answers.push(a(NAME, 60, 1));
                m.metadata.truncation = true;
            },
            None,
        ),
        (
            "the answer to another question: not",
            "",
            |m| {
                m.queries[0].name = name("x.example.org.");
                m.answers.push(a(NAME, 60, 1));
            },
            None,
        ),
        ("success is off", "{; disable success ;}", |m| m.answers.push(a(NAME, 60, 1)), None),
        (
            "success is off elsewhere",
            "{; disable success com ;}",
            |m| m.answers.push(a(NAME, 60, 1)),
            Some(60),
        ),
        ("denial is off", "{; disable denial example.org ;}", nxdomain, None),
        ("in other zones", "30 example.com", |m| m.answers.push(a(NAME, 60, 1)), None),
        ("in these zones", "30 org", |m| m.answers.push(a(NAME, 60, 1)), Some(30)),
    ];
    for (what, settings, fill, want) in rows {
        let rig = Rig::new(settings);
        rig.upstream_gives(fill);
        let query = question(NAME, RecordType::A);
        rig.ask(&query);
        let mut lives = None;
        if let Some(seconds) = want {
            rig.wait(secs(*seconds) - Duration::from_millis(1));
            rig.ask(&query);
            assert_eq!(rig.asked(), 1, "{what}: gone before {seconds} s");
            rig.wait(Duration::from_millis(1));
            lives = Some(*seconds);
        }
        rig.asked();
        rig.ask(&query);
        assert_eq!(rig.asked(), 1, "{what}: kept longer than {lives:?}");
    }
}

#[test]
fn every_record_carries_the_lifetime_from_the_first_reply_on() {
    let rig = Rig::new("30");
    rig.upstream_gives(|m| {
        m.answers
            .extend([cname("www.example.org.", 90, "x.example.org."), a("x.example.org.", 60, 1)]);
    });
    let query = question("www.example.org.", RecordType::A);
    let ttls = |reply: &Message| reply.answers.iter().map(|r| r.ttl).collect::<Vec<_>>();
    assert_eq!(ttls(&rig.ask(&query)), [30, 30]);
    rig.wait(Duration::from_millis(999));
    assert_eq!(ttls(&rig.ask(&query)), [30, 30]);
    rig.wait(secs(20));
    assert_eq!(ttls(&rig.ask(&query)), [10, 10]);
    let rig = Rig::new("30 {; keepttl ;}");
    rig.upstream_gives(answer(60));
    rig.ask(&query);
    rig.wait(secs(20));
    assert_eq!(ttls(&rig.ask(&query)), [30]);
}

#[test]
fn a_ttl_of_zero_stays_zero() {
    let rig = Rig::new("30");
    rig.upstream_gives(answer(0));
    assert_eq!(rig.ask(&question("www.example.org.", RecordType::A)).answers[0].ttl, 0);
}

#[test]
fn entries_are_told_apart_by_what_changes_the_answer_and_not_by_case() {
    let rig = Rig::new("30");
    rig.upstream_gives(answer(60));
    let plain = question("www.example.org.", RecordType::A);
    let mut unchecked = plain.clone();
    unchecked.metadata.checking_disabled = true;
    let mut here = plain.clone();
    here.metadata.recursion_desired = false;
    for (what, query) in [
        ("plain", plain.clone()),
        ("type", question("www.example.org.", RecordType::AAAA)),
        ("DO", dnssec(plain)),
        ("CD", unchecked),
        ("RD", here),
    ] {
        rig.ask(&query);
        assert_eq!(rig.asked(), 1, "{what} is no other question");
    }
    let shouted = question("WWW.Example.ORG.", RecordType::A);
    let reply = rig.ask(&shouted);
    assert_eq!(rig.asked(), 0);
    assert!(reply.answers[0].name.eq_case(&shouted.queries[0].name));
}

#[test]
fn flags_are_those_of_the_reply_that_was_kept() {
    let rig = Rig::new("30");
    rig.upstream_gives(|m| {
        m.answers.push(a("www.example.org.", 60, 1));
        m.metadata.authoritative = true;
        m.metadata.recursion_available = true;
        m.metadata.authentic_data = true;
    });
    let plain = question("www.example.org.", RecordType::A);
    let mut aware = plain.clone();
    aware.metadata.authentic_data = true;
    for turn in ["from upstream", "from the cache"] {
        let reply = rig.ask(&plain).metadata;
        assert!(reply.authoritative && reply.recursion_available, "{turn}");
        assert!(reply.recursion_desired && !reply.authentic_data, "{turn}");
        assert!(rig.ask(&aware).metadata.authentic_data, "{turn}");
        assert!(rig.ask(&dnssec(plain.clone())).metadata.authentic_data, "{turn}");
    }
}

#[test]
fn upstream_is_asked_for_ad_whatever_the_client_says() {
    let rig = Rig::new("30");
    rig.upstream_does(|query| {
        let mut message = Answer::to(query).message;
        message.metadata.authentic_data = query.message.metadata.authentic_data;
        message.answers.push(a("www.example.org.", 60, 1));
        Ok(Answer::relayed(message))
    });
    let mut query = question("www.example.org.", RecordType::A);
    rig.ask(&query);
    query.metadata.authentic_data = true;
    assert!(rig.ask(&query).metadata.authentic_data);
    assert_eq!(rig.asked(), 1);
}

#[test]
fn an_upstream_out_of_reach_is_not_asked_again_at_once() {
    let rig = Rig::new("30");
    rig.upstream_fails();
    let query = question("www.example.org.", RecordType::A);
    assert!(block_on(rig.long(&query)).is_err());
    assert_eq!(rig.ask(&query).metadata.response_code, ResponseCode::ServFail);
    assert_eq!(rig.asked(), 1);
    let rig = Rig::new("30");
    rig.upstream_does(|_| Err(Failure::new("server", FailureReason::TooDeep)));
    assert!(block_on(rig.long(&query)).is_err());
    assert!(block_on(rig.long(&query)).is_err(), "a failure of our own is not upstream's");
}

#[test]
fn an_expired_signature_is_not_kept_for_those_who_check() {
    use hickory_proto::rr::rdata::NULL;
    let rig = Rig::new("30");
    rig.upstream_gives(|m| {
        let mut rdata = vec![0, 1, 13, 3, 0, 0, 0, 60];
        // Expired in 1970, a second after it began.
        rdata.extend([0, 0, 0, 2, 0, 0, 0, 1]);
        rdata.extend(b"\0\x01\0signature");
        let data = RData::Unknown { code: RecordType::RRSIG, rdata: NULL::with(rdata) };
        m.answers.push(a("www.example.org.", 60, 1));
        m.answers.push(Record::from_rdata(name("www.example.org."), 60, data));
    });
    let query = question("www.example.org.", RecordType::A);
    for (query, times) in [(query.clone(), 1), (dnssec(query), 2)] {
        rig.ask(&query);
        rig.ask(&query);
        assert_eq!(rig.asked(), times);
    }
}

#[test]
fn what_is_counted() {
    let rig = Rig::new("30");
    let query = question("www.example.org.", RecordType::A);
    rig.upstream_gives(answer(60));
    rig.ask(&query);
    rig.ask(&query);
    rig.short(&query, 0);
    assert_eq!(rig.counts.totals(), [3, 1, 0, 0, 0]);
    rig.upstream_gives(nxdomain);
    rig.ask(&question("x.example.org.", RecordType::A));
    rig.ask(&question("x.example.org.", RecordType::A));
    assert_eq!(rig.counts.totals(), [5, 2, 0, 0, 0]);
    assert_eq!([Side::Success, Side::Denial].map(|side| rig.counts.hits(side)), [2, 1]);
    rig.upstream_gives(|m| m.queries.clear());
    rig.ask(&question("y.example.org.", RecordType::A));
    assert_eq!(rig.counts.totals(), [6, 3, 0, 1, 0]);
}

#[test]
fn a_reload_goes_on_counting_and_counts_nothing_twice() {
    let metrics = Metrics::new("test");
    let labels = Labels { server: "dns://:53".into(), zones: ".".into(), view: String::new() };
    let first = Cache::new(&config("30"), &labels, &metrics);
    first.0.counts.missed();
    let second = Cache::new(&config("30"), &labels, &metrics);
    drop(first);
    second.0.counts.missed();
    second.0.counts.hit(Side::Denial, true);
    let families = metrics.registry().gather();
    let value = |name: &str, kind: Option<&str>| {
        let family = families.iter().find(|family| family.name() == name).expect("a family");
        let is = |metric: &&prometheus::proto::Metric| {
            kind.is_none_or(|kind| metric.get_label().iter().any(|label| label.value() == kind))
        };
        let metrics: Vec<_> = family.get_metric().iter().filter(is).collect();
        assert_eq!(metrics.len(), 1, "{name}");
        metrics[0].get_counter().get_value() + metrics[0].get_gauge().get_value()
    };
    assert_eq!(value("coredns_cache_requests_total", None), 3.0);
    assert_eq!(value("coredns_cache_misses_total", None), 2.0);
    assert_eq!(value("coredns_cache_hits_total", Some("denial")), 1.0);
    assert_eq!(value("coredns_cache_hits_total", Some("success")), 0.0);
    assert_eq!(value("coredns_cache_served_stale_total", None), 1.0);
    assert_eq!(value("coredns_cache_entries", Some("success")), 0.0);
}
