//! What this server knows by itself is never kept.

use super::*;

#[test]
fn an_answer_made_here_is_neither_kept_nor_shared_nor_counted() {
    let rig = Rig::new("30");
    rig.upstream_does(|query| {
        let mut answer = Answer::to(query);
        answer.message.answers.push(a("www.example.org.", 60, 1));
        Ok(answer)
    });
    let query = question("www.example.org.", RecordType::A);
    assert_eq!(rig.ask(&query).answers[0].ttl, 60);
    rig.ask(&query);
    assert_eq!(rig.asked(), 2);
    assert_eq!(rig.counts.totals(), [0; 5]);
}

#[test]
fn a_name_that_became_ours_is_not_looked_up() {
    use crate::server::short::{ClaimNames, ShortPlan};
    struct Claims;
    impl ClaimNames for Claims {
        fn may_answer(&self, name: &FoldedName) -> bool {
            name.label(0) == b"ours"
        }
    }
    let rig = Rig::new("30");
    rig.upstream_gives(|m| {
        let owner = m.queries[0].name.clone();
        m.answers.push(Record::from_rdata(owner, 60, RData::A(A(Ipv4Addr::LOCALHOST))));
    });
    rig.cache.leave_to(ShortPlan { hosts: Some(Arc::new(Claims)), ..ShortPlan::default() });
    for (owner, times) in [("ours.example.org.", 2), ("theirs.example.org.", 1)] {
        let query = question(owner, RecordType::A);
        rig.ask(&query);
        rig.ask(&query);
        assert_eq!(rig.asked(), times, "{owner}");
    }
}

#[test]
fn other_opcodes_and_classes_pass_by() {
    let rig = Rig::new("30");
    rig.upstream_gives(|m| m.answers.push(a("www.example.org.", 60, 1)));
    let query = question("www.example.org.", RecordType::A);
    rig.ask(&query);
    let mut notify = query.clone();
    notify.metadata.op_code = OpCode::Notify;
    let mut chaos = query;
    chaos.queries[0].query_class = hickory_proto::rr::DNSClass::CH;
    rig.asked();
    for message in [notify, chaos] {
        rig.ask(&message);
        rig.ask(&message);
        assert_eq!(rig.asked(), 2);
    }
}
