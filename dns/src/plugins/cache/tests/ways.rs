//! The short way gives what the long way gives.

use hickory_proto::rr::rdata::{AAAA, MX, SRV, TXT};
use proptest::prelude::*;

use super::*;

#[test]
fn the_short_way_answers_what_is_kept_and_nothing_else() {
    let rig = Rig::new("30 org");
    rig.upstream_gives(|m| m.answers.push(a("www.example.org.", 60, 1)));
    let query = question("www.example.org.", RecordType::A);
    assert_eq!(rig.short(&query, 0).0, Short::Long);
    rig.ask(&query);
    assert!(matches!(rig.short(&query, 0).0, Short::Answered(_)));
    assert_eq!(rig.short(&dnssec(query.clone()), 0).0, Short::Long);
    rig.wait(secs(30));
    assert_eq!(rig.short(&query, 0).0, Short::Long);
    let elsewhere = question("www.example.com.", RecordType::A);
    rig.ask(&elsewhere);
    assert_eq!(rig.short(&elsewhere, 0).0, Short::Long);
}

#[test]
fn a_reply_that_does_not_fit_goes_the_long_way() {
    let rig = Rig::new("30");
    rig.upstream_gives(|m| m.answers.extend((0..100).map(|n| a("www.example.org.", 60, n))));
    let query = question("www.example.org.", RecordType::A);
    rig.ask(&query);
    assert_eq!(rig.short(&query, 0).0, Short::Long);
    assert_eq!(rig.ask(&query).answers.len(), 100);
}

#[test]
fn addresses_start_elsewhere_with_every_rotation_and_aliases_stay_first() {
    let rig = Rig::new("30");
    rig.upstream_gives(|m| {
        m.answers.push(cname("www.example.org.", 60, "x.example.org."));
        m.answers.extend((0..3).map(|n| a("x.example.org.", 60, n)));
    });
    let query = question("www.example.org.", RecordType::A);
    let stored = rig.ask(&query).answers;
    for rotation in 0..4 {
        let reply = rig.short(&query, rotation).1.unwrap().answers;
        let mut want = stored.clone();
        want[1..].rotate_left(rotation as usize % 3);
        assert_eq!(reply, want, "{rotation}");
    }
}

fn record() -> impl Strategy<Value = Record> {
    let owners = prop::sample::select(vec![
        "www.example.org.",
        "WWW.example.org.",
        "x.example.org.",
        "example.org.",
        "org.",
        ".",
        "a.very.long.name.that.has.nothing.to.do.with.the.question.",
    ]);
    let data = prop_oneof![
        any::<u32>().prop_map(|bits| RData::A(A(bits.into()))),
        any::<u128>().prop_map(|bits| RData::AAAA(AAAA(bits.into()))),
        owners.clone().prop_map(|target| RData::CNAME(CNAME(name(target)))),
        owners.clone().prop_map(|target| RData::SRV(SRV::new(1, 2, 3, name(target)))),
        owners.clone().prop_map(|target| RData::MX(MX::new(10, name(target)))),
        "[a-z]{0,40}".prop_map(|text| RData::TXT(TXT::new(vec![text]))),
    ];
    (owners, 1..100_000u32, data)
        .prop_map(|(owner, ttl, data)| Record::from_rdata(name(owner), ttl, data))
}

/// Records with the TTL that all of them are to have.
fn with_ttl(records: &[Record], ttl: u32) -> Vec<Record> {
    let mut records = records.to_vec();
    records.iter_mut().for_each(|record| record.ttl = ttl);
    records
}

proptest! {
    #[test]
    fn both_ways_give_the_kept_records_with_less_ttl(
        answers in prop::collection::vec(record(), 0..6),
        authorities in prop::collection::vec(record(), 0..3),
        additionals in prop::collection::vec(record(), 0..3),
        flags in any::<[bool; 6]>(),
        passed in 0..4000u64,
    ) {
        let [aa, ra, ad, wants_dnssec, checking_disabled, wants_authentic] = flags;
        let rig = Rig::new("");
        let given = [answers.clone(), authorities, additionals];
        let sections = given.clone();
        rig.upstream_gives(move |m| {
            // The first record answers the question, so that the reply is kept.
            m.answers.push(a("www.example.org.", 3000, 9));
            m.answers.extend(sections[0].iter().filter(|r| r.record_type() != RecordType::CNAME).cloned());
            m.authorities.clone_from(&sections[1]);
            m.additionals.clone_from(&sections[2]);
            m.metadata.authoritative = aa;
            m.metadata.recursion_available = ra;
            m.metadata.authentic_data = ad;
        });
        let mut query = question("www.eXample.org.", RecordType::A);
        query.metadata.checking_disabled = checking_disabled;
        query.metadata.authentic_data = wants_authentic;
        if wants_dnssec {
            query = dnssec(query);
        }
        let first = rig.ask(&query);
        let full = first.answers[0].ttl;
        prop_assert!((5..=3000).contains(&full));
        rig.wait(Duration::from_millis(passed * u64::from(full) / 4001));
        let long = rig.ask(&query);
        prop_assert_eq!(rig.asked(), 1);
        let left = full - (passed * u64::from(full) / 4001 / 1000) as u32;
        for (now, then) in [
            (&long.answers, &first.answers),
            (&long.authorities, &first.authorities),
            (&long.additionals, &first.additionals),
        ] {
            prop_assert_eq!(now, &with_ttl(then, left));
        }
        prop_assert_eq!(long.metadata.authoritative, aa);
        prop_assert_eq!(long.metadata.recursion_available, ra);
        prop_assert_eq!(long.metadata.authentic_data, ad && (wants_authentic || wants_dnssec));
        let (short, reply) = rig.short(&query, 0);
        let Some(mut reply) = reply else {
            prop_assert_eq!(short, Short::Long);
            return Ok(());
        };
        let edns = reply.edns.take();
        prop_assert_eq!(edns.is_some(), wants_dnssec);
        let mut want = long;
        want.metadata.id = query.metadata.id;
        want.edns = None;
        prop_assert_eq!(reply, want);
    }
}
