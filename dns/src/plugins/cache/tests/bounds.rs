//! Neither entries nor bytes grow without bound.

use super::*;

#[test]
fn no_more_entries_than_the_capacity_says() {
    let rig = Rig::new("{; success 1024 ;}");
    rig.upstream_gives(|m| {
        let owner = m.queries[0].name.clone();
        m.answers.push(Record::from_rdata(owner, 60, RData::A(A(Ipv4Addr::LOCALHOST))));
    });
    for n in 0..5000 {
        rig.ask(&question(&format!("n{n}.example.org."), RecordType::A));
    }
    let store = &rig.cache.0.store;
    store.settle();
    assert!((512..=1024).contains(&store.len(Side::Success)), "{}", store.len(Side::Success));
    assert_eq!(store.len(Side::Denial), 0);
    assert!(rig.counts.evictions(Side::Success) >= 5000 - 1024);
}

#[test]
fn large_replies_count_for_several() {
    let rig = Rig::new("{; success 1024 ;}");
    rig.upstream_gives(|m| {
        let owner = m.queries[0].name.clone();
        let address = |n| Record::from_rdata(owner.clone(), 60, RData::A(A(Ipv4Addr::from(n))));
        m.answers.extend((0..1000).map(address));
    });
    for n in 0..100 {
        rig.ask(&question(&format!("n{n}.example.org."), RecordType::A));
    }
    let store = &rig.cache.0.store;
    store.settle();
    // Each takes some 18,000 bytes of the 1024 × 512.
    assert!((1..=32).contains(&store.len(Side::Success)), "{}", store.len(Side::Success));
}

#[test]
fn a_flood_of_names_of_one_client_does_not_drive_out_what_others_ask_for() {
    let rig = Rig::new("{; success 1024 ;}");
    rig.upstream_gives(|m| {
        let owner = m.queries[0].name.clone();
        m.answers.push(Record::from_rdata(owner, 60, RData::A(A(Ipv4Addr::LOCALHOST))));
    });
    let popular: Vec<Message> =
        (0..200).map(|n| question(&format!("popular{n}.example.org."), RecordType::A)).collect();
    let mut lost = Vec::new();
    for round in 0..20 {
        for n in 0..1000 {
            rig.ask(&question(&format!("n{n}.r{round}.example.org."), RecordType::A));
        }
        rig.asked();
        popular.iter().for_each(|name| drop(rig.ask(name)));
        lost.push(rig.asked());
    }
    // At first nobody knows that they are popular.
    let later: usize = lost[10..].iter().sum();
    assert!(later < 10 * 200 / 10, "of 200 had to be asked for again: {lost:?}");
    rig.cache.0.store.settle();
    assert!(rig.cache.0.store.len(Side::Success) <= 1024);
}
