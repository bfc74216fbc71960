//! What single rules make of names, replies and options. Whole replies are in `tests/dns/plugins/rewrite.yaml`.

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::RData,
};

use super::{
    renaming::{Match, Piece, Renaming, Replacement, groups_used},
    reversal::{Part, Reversal, Swap, revert_code, revert_records},
};
use crate::{
    corefile::pattern::Pattern,
    plugins::metadata::Metadata,
    wire::{record_text::record, text},
};

fn by_pattern(pattern: &str, to: &str) -> Renaming {
    let pattern = Pattern::new(pattern).unwrap();
    let groups = pattern.0.captures_len() - 1;
    Renaming { from: Match::Regex(pattern), to: Replacement::with_groups(to, groups) }
}

#[test]
fn names_are_replaced_by_the_way_they_are_found() {
    let to = |from: Match| Renaming { from, to: Replacement::text("x.") };
    for (renaming, name, wanted) in [
        (to(Match::Exact("a.b.".into())), "a.b.", Some("x.")),
        (to(Match::Exact("a.b.".into())), "c.a.b.", None),
        (to(Match::Prefix("a.".into())), "a.b.", Some("x.b.")),
        (to(Match::Prefix("a.".into())), "aa.b.", None),
        (to(Match::Suffix(".b.".into())), "a.b.", Some("ax.")),
        (to(Match::Suffix("b.".into())), "a.bb.", Some("a.bx.")),
        (to(Match::Substring("a.".into())), "a.a.b.", Some("x.x.b.")),
        (to(Match::Substring(String::new())), "a.", None),
        (
            by_pattern("^(.*)[.](.*)[.]b[.]$", "{2}-{1}{0}.{3}{x}{"),
            "p.q.b.",
            Some("q-pp.q.b..{3}{x}{"),
        ),
        (by_pattern("a", "{01}{0}"), "a.", Some("{01}a")),
        // What a group finds is not looked at again.
        (by_pattern("^(.*)[.]$", "{1}{0}"), "{0}.", Some("{0}{0}.")),
        (by_pattern("^z", "x."), "a.", None),
    ] {
        let found = renaming.apply(name, &Metadata::default());
        assert_eq!(found.as_deref(), wanted, "{renaming:?} {name}");
    }
}

#[test]
fn a_label_without_a_value_keeps_a_rule_from_applying() {
    let pieces = vec![Piece::Text("a.".into()), Piece::Label("b/c".into())];
    let renaming = Renaming { from: Match::Exact("x.".into()), to: Replacement(pieces) };
    assert_eq!(renaming.apply("x.", &Metadata::default()), None);
}

#[test]
fn groups_are_counted_as_coredns_counts_them() {
    assert_eq!(groups_used("{1}.{1}.{100}.{101}.{x}"), 2);
}

#[test]
fn records_of_all_sections_are_turned_back_from_the_last_rule_to_the_first() {
    let mut message = Message::new(1, MessageType::Response, OpCode::Query);
    message.answers =
        ["A.New. 5 CNAME b.NEW.", "b.anew. A 10.0.0.1"].map(|r| record(r).unwrap()).into();
    message.authorities = vec![record("new. 50 SOA ns.new. m.new. 1 2 3 4 5").unwrap()];
    message.additionals = vec![record("c.last. 500 SRV 1 2 3 d.new.").unwrap()];
    let name = |from: &str, to: &str| Swap::Name { from: from.into(), to: to.into() };
    let reversals = [
        Reversal::Swap(Part::Owner, name("new.", "Old.")),
        Reversal::Swap(Part::Value, name("new.", "Old.")),
        Reversal::Swap(Part::Owner, Swap::Renaming(by_pattern("^(.*)[.]last[.]$", "{1}.new."))),
        Reversal::Ttl { least: 10, most: 100 },
    ];
    revert_records(&mut message, &reversals);
    let told = |records: &[hickory_proto::rr::Record]| -> Vec<(String, u32, String)> {
        let value = |data: &RData| match data {
            RData::CNAME(data) => text::of(&data.0),
            RData::SOA(data) => text::of(&data.mname),
            RData::SRV(data) => text::of(&data.target),
            other => other.to_string(),
        };
        records.iter().map(|r| (text::of(&r.name), r.ttl, value(&r.data))).collect()
    };
    let row = |name: &str, ttl, value: &str| (name.to_owned(), ttl, value.to_owned());
    let answers = [row("A.Old.", 10, "b.Old."), row("b.anew.", 100, "10.0.0.1")];
    assert_eq!(told(&message.answers), answers);
    assert_eq!(told(&message.authorities), [row("Old.", 50, "ns.Old.")]);
    assert_eq!(told(&message.additionals), [row("c.Old.", 100, "d.Old.")]);
}

#[test]
fn codes_are_replaced_one_after_the_other() {
    let rules = [Reversal::Rcode { old: 5, new: 0 }, Reversal::Rcode { old: 3, new: 5 }];
    assert_eq!(revert_code(ResponseCode::NXDomain, &rules), ResponseCode::NoError);
    assert_eq!(revert_code(ResponseCode::ServFail, &rules), ResponseCode::ServFail);
}
