use std::path::Path;

use super::*;
use crate::authority::{ZoneData, master};

const ZONE: &str = r#"
$TTL 60
@       SOA   ns root 7 3600 600 86400 30
@       NS    ns
        NS    ns.elsewhere.test.
@       MX    10 mail
ns      A     10.0.0.1
mail    A     10.0.0.2
mail    AAAA  fd00::2
www     CNAME web
web     A     10.0.0.3
far     CNAME www.elsewhere.test.
one     CNAME two
two     CNAME one
self    CNAME self
nodata  CNAME txt
gone    CNAME missing
into    CNAME www.sub
txt     TXT   "a b" c
_x._tcp SRV   0 1 443 web
*.wild  A     10.0.0.4
*.wild  TXT   wild
a.b.wild A    10.0.0.5
*.alias CNAME web
sub     NS    ns.sub
sub     NS    ns.other
sub     DS    1 8 2 00
ns.sub  A     10.0.0.6
deep.sub A    10.0.0.7
tree    DNAME elsewhere.test.
back    DNAME wild
tree    TXT   here
a.empty A     10.0.0.8
UPPER   A     10.0.0.9
"#;

const SIGNED: &str = r#"
$TTL 60
@   SOA ns root 7 3600 600 86400 30
@   RRSIG SOA 8 2 60 20300101000000 20200101000000 1 @ AQID
@   NS ns
@   RRSIG NS 8 2 60 20300101000000 20200101000000 1 @ AQID
@   NSEC a NS SOA RRSIG NSEC
a   A 10.0.0.1
a   RRSIG A 8 3 60 20300101000000 20200101000000 1 @ AQID
a   NSEC cut A RRSIG NSEC
cut NS ns.cut
cut NSEC *.w NS NSEC
ns.cut A 10.0.0.2
*.w A 10.0.0.3
*.w RRSIG A 8 3 60 20300101000000 20200101000000 1 @ AQID
*.w NSEC @ A RRSIG NSEC
"#;

fn zone(text: &str) -> ZoneData {
    let origin = Name::from_ascii("a.test.").unwrap();
    let read = |_: &Path| Ok(text.as_bytes().to_vec());
    master::load(origin, Path::new("db"), &read).unwrap().zone
}

fn shown(zone: &ZoneData, question: &str, signed: bool) -> (ResponseCode, [Vec<String>; 3]) {
    let (name, rtype) = question.split_once(' ').unwrap();
    let rtype = RecordType::from(crate::wire::mnemonics::rtype(rtype).unwrap());
    let reply = reply(zone, &Name::from_ascii(name).unwrap(), rtype, signed);
    let lines = |records: &[Record]| {
        let short = |record: &Record| {
            let name = record.name.to_ascii().replace("a.test.", "@");
            let rtype = record.record_type();
            match &record.data {
                RData::A(a) => format!("{name} A {a}"),
                RData::Unknown { .. } => format!("{name} {rtype}"),
                data => format!("{name} {rtype} {}", data.to_string().replace("a.test.", "@")),
            }
        };
        records.iter().map(short).collect::<Vec<_>>()
    };
    (reply.rcode, [lines(&reply.answers), lines(&reply.authorities), lines(&reply.additionals)])
}

const NS: [&str; 2] = ["@ NS ns.@", "@ NS ns.elsewhere.test."];
const SOA: [&str; 1] = ["@ SOA ns.@ root.@ 7 3600 600 86400 30"];

#[test]
fn names_are_answered_as_rfc_1034_says() {
    let zone = zone(ZONE);
    let (ok, missing) = (ResponseCode::NoError, ResponseCode::NXDomain);
    let none: &[&str] = &[];
    for (question, code, answers, authorities, additionals) in [
        ("a.test. SOA", ok, &SOA[..], &NS[..], none),
        ("a.test. NS", ok, &NS, none, &["ns.@ A 10.0.0.1"][..]),
        ("a.test. MX", ok, &["@ MX 10 mail.@"], &NS, &["mail.@ A 10.0.0.2", "mail.@ AAAA fd00::2"]),
        ("a.test. TXT", ok, none, &SOA, none),
        ("Ns.a.test. A", ok, &["Ns.@ A 10.0.0.1"], &NS, none),
        ("upper.a.test. A", ok, &["upper.@ A 10.0.0.9"], &NS, none),
        ("www.a.test. A", ok, &["www.@ CNAME web.@", "web.@ A 10.0.0.3"], &NS, none),
        ("www.a.test. CNAME", ok, &["www.@ CNAME web.@"], &NS, none),
        ("www.a.test. ANY", ok, &["www.@ CNAME web.@"], &NS, none),
        ("nodata.a.test. A", ok, &["nodata.@ CNAME txt.@"], &SOA, none),
        ("gone.a.test. A", missing, &["gone.@ CNAME missing.@"], &SOA, none),
        ("one.a.test. A", ok, &["one.@ CNAME two.@", "two.@ CNAME one.@"], &NS, none),
        ("self.a.test. A", ok, &["self.@ CNAME self.@"], &NS, none),
        ("missing.a.test. A", missing, none, &SOA, none),
        ("x.txt.a.test. A", missing, none, &SOA, none),
        ("_x._tcp.a.test. SRV", ok, &["_x._tcp.@ SRV 0 1 443 web.@"], &NS, &["web.@ A 10.0.0.3"]),
        ("_tcp.a.test. SRV", ok, none, &SOA, none),
        ("empty.a.test. A", ok, none, &SOA, none),
        ("x.empty.a.test. A", missing, none, &SOA, none),
        ("x.wild.a.test. A", ok, &["x.wild.@ A 10.0.0.4"], &NS, none),
        ("x.y.wild.a.test. A", ok, &["x.y.wild.@ A 10.0.0.4"], &NS, none),
        ("x.wild.a.test. AAAA", ok, none, &SOA, none),
        ("wild.a.test. A", ok, none, &SOA, none),
        ("b.wild.a.test. A", ok, none, &SOA, none),
        ("x.b.wild.a.test. A", missing, none, &SOA, none),
        ("*.wild.a.test. A", ok, &["*.wild.@ A 10.0.0.4"], &NS, none),
        ("x.alias.a.test. A", ok, &["x.alias.@ CNAME web.@", "web.@ A 10.0.0.3"], &NS, none),
        ("sub.a.test. DS", ok, &["sub.@ DS"], &NS, none),
        ("a.test. AXFR", ok, none, &SOA, none),
        (
            "x.back.a.test. A",
            ok,
            &["back.@ DNAME", "x.back.@ CNAME x.wild.@", "x.wild.@ A 10.0.0.4"],
            &NS,
            none,
        ),
        ("tree.a.test. TXT", ok, &["tree.@ TXT here"], &NS, none),
        ("tree.a.test. DNAME", ok, &["tree.@ DNAME"], &NS, none),
    ] {
        let (found, [a, b, c]) = shown(&zone, question, false);
        assert_eq!(
            (found, &*a, &*b, &*c),
            (code, &*own(answers), &*own(authorities), &*own(additionals)),
            "{question}"
        );
    }
}

fn own(lines: &[&str]) -> Vec<String> {
    lines.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_below_a_delegation_is_referred() {
    let zone = zone(ZONE);
    for question in ["sub.a.test. A", "www.sub.a.test. A", "deep.sub.a.test. A", "x.sub.a.test. DS"]
    {
        let (code, [answers, authorities, additionals]) = shown(&zone, question, false);
        assert_eq!(code, ResponseCode::NoError);
        assert!(answers.is_empty());
        assert_eq!(authorities, ["sub.@ NS ns.sub.@", "sub.@ NS ns.other.@"], "{question}");
        assert_eq!(additionals, ["ns.sub.@ A 10.0.0.6"]);
    }
    let (_, [answers, authorities, _]) = shown(&zone, "into.a.test. A", false);
    assert_eq!((answers.len(), authorities.len()), (1, 2), "an alias into it");
}

#[test]
fn an_alias_that_leads_out_is_for_the_server_to_follow() {
    let zone = zone(ZONE);
    let of = |name: &str| reply(&zone, &Name::from_ascii(name).unwrap(), RecordType::A, false);
    let out = Name::from_ascii("www.elsewhere.test.").unwrap();
    assert_eq!(of("far.a.test.").outside, Some(out.clone()));
    let tree = of("www.tree.a.test.");
    assert_eq!((tree.answers.len(), tree.outside), (2, Some(out)));
    let long = format!("{}tree.a.test.", "abcdefg.".repeat(30));
    assert_eq!(of(&long).rcode, ResponseCode::YXDomain, "the name would be too long");
}

#[test]
fn a_signed_zone_shows_signatures_and_denials_to_who_asks_for_them() {
    let zone = zone(SIGNED);
    let of = |question: &str| {
        let (_, [a, b, c]) = shown(&zone, question, true);
        [a, b, c].map(|lines| lines.join("|"))
    };
    let soa = "@ SOA ns.@ root.@ 7 3600 600 86400 30|@ RRSIG";
    assert_eq!(of("a.a.test. A"), ["a.@ A 10.0.0.1|a.@ RRSIG", "@ NS ns.@|@ RRSIG", ""]);
    assert_eq!(of("a.a.test. AAAA"), ["", &format!("{soa}|a.@ NSEC"), ""]);
    assert_eq!(of("b.a.test. A"), ["", &format!("{soa}|a.@ NSEC|@ NSEC"), ""]);
    assert_eq!(of("x.cut.a.test. A"), ["", "cut.@ NS ns.cut.@|cut.@ NSEC", "ns.cut.@ A 10.0.0.2"]);
    let wild = ["x.w.@ A 10.0.0.3|x.w.@ RRSIG", "@ NS ns.@|@ RRSIG|*.w.@ NSEC", ""];
    assert_eq!(of("x.w.a.test. A"), wild);
    assert_eq!(of("x.w.a.test. AAAA"), ["", &format!("{soa}|*.w.@ NSEC"), ""]);
    assert_eq!(of("w.a.test. A"), ["", &format!("{soa}|cut.@ NSEC"), ""]);
    let (_, [plain, ..]) = shown(&zone, "a.a.test. A", false);
    assert_eq!(plain, ["a.@ A 10.0.0.1"]);
}
