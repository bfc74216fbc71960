//! Durations, ports, names, environment variables.

use std::sync::Arc;

use crate::corefile::domain::{Domain, DomainError};
use crate::corefile::source::Memory;
use crate::corefile::values::{Host, HostPort, parse_duration};
use crate::corefile::variables::expand;

#[test]
fn durations_are_read_as_go_reads_them() {
    for (text, want) in [
        ("0", Some(0)),
        ("+0", Some(0)),
        ("5s", Some(5_000_000_000)),
        ("-5s", Some(-5_000_000_000)),
        ("1h30m", Some(5_400_000_000_000)),
        ("1.5h", Some(5_400_000_000_000)),
        (".5s", Some(500_000_000)),
        ("1.s", Some(1_000_000_000)),
        ("1ns", Some(1)),
        ("1us", Some(1_000)),
        ("1µs", Some(1_000)),
        ("1μs", Some(1_000)),
        ("1ms", Some(1_000_000)),
        ("0.0000000000000000000000001h", Some(0)),
        ("0.9999999999999999999999999s", Some(999_999_999)),
        ("2562047h47m16.854775807s", Some(i64::MAX)),
        ("2562047h47m16.854775808s", None),
        ("99999999999999999999s", None),
        ("", None),
        ("5", None),
        ("s", None),
        (".s", None),
        ("-", None),
        ("5 s", None),
        ("5d", None),
        ("5S", None),
        ("5s5", None),
        ("5s-5s", None),
    ] {
        assert_eq!(parse_duration(text), want, "{text}");
    }
}

#[test]
fn places_to_listen_are_read_and_written() {
    for (text, host, port) in [
        (":8080", Host::Any, 8080),
        ("127.0.0.1:0", Host::Ip("127.0.0.1".parse().expect("an address")), 0),
        ("[::1]:53", Host::Ip("::1".parse().expect("an address")), 53),
        ("localhost:9153", Host::Name("localhost".into()), 9153),
        ("[fe80::1%lo]:53", Host::Name("fe80::1%lo".into()), 53),
    ] {
        let read = HostPort::parse(text);
        assert_eq!(read, Some(HostPort { host, port }), "{text}");
        assert_eq!(read.expect("just compared").to_string(), text);
    }
    for text in [
        "", ":", "8080", "::1:53", "[::1]", "[::1", "a:b", "a:65536", "1.2.3:53", "a b:53",
        "[a]b:53", ":+5",
    ] {
        assert_eq!(HostPort::parse(text), None, "{text}");
    }
}

#[test]
fn names_are_absolute_and_in_lower_case() {
    for (text, want) in
        [(".", "."), ("A.b", "a.b."), ("a.b.", "a.b."), (r"a\.b", r"a\.b."), (r"a\.", r"a\..")]
    {
        assert_eq!(Domain::parse(text).expect(text).as_str(), want);
    }
    for (text, want) in [
        ("", DomainError::Empty),
        ("..", DomainError::EmptyLabel),
        ("a..b", DomainError::EmptyLabel),
        (".a", DomainError::EmptyLabel),
        (r"a\", DomainError::Escape),
        (r"a\25", DomainError::Escape),
        (r"a\256", DomainError::Escape),
    ] {
        assert_eq!(Domain::parse(text), Err(want), "{text}");
    }
    assert_eq!(Domain::parse(&"a".repeat(64)), Err(DomainError::LongLabel));
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63)].join(".");
    assert!(Domain::parse(&format!("{long}.{}", "d".repeat(61))).is_ok());
    assert_eq!(Domain::parse(&format!("{long}.{}", "d".repeat(62))), Err(DomainError::Long));
}

#[test]
fn names_have_a_wire_form() {
    for (text, want) in [
        (".", b"\0".as_slice()),
        ("Web.example", b"\x03web\x07example\0"),
        (r"a\.b.\067", b"\x03a.b\x01c\0"),
    ] {
        assert_eq!(Domain::parse(text).expect(text).to_wire(), want, "{text}");
    }
}

#[test]
fn a_zone_contains_itself_and_what_is_below_it() {
    let domain = |text: &str| Domain::parse(text).expect("a name");
    let zone = domain("example.org");
    assert!(zone.contains(&domain("example.org")) && zone.contains(&domain("a.example.org")));
    assert!(!zone.contains(&domain("aexample.org")) && !zone.contains(&domain("org")));
    assert!(!zone.contains(&domain(r"a\.example.org")));
    assert!(Domain::root().contains(&zone) && !zone.contains(&Domain::root()));
    assert!(domain("in-addr.arpa").is_reverse() && domain("10.in-addr.arpa").is_reverse());
    assert!(domain("ip6.arpa").is_reverse() && !domain("arpa").is_reverse());
}

#[test]
fn variables_are_put_in_once() {
    let machine = Memory::default().var("A", "{$A}{%A%}").var("B", "b");
    let expand = |text: &str| expand(&Arc::from(text), &machine, 64).map(|text| text.to_string());
    for (text, want) in [
        ("{$B}", "b"),
        ("x{$B}y{%B%}z", "xbybz"),
        ("{$A}", "{$A}{%A%}"),
        ("{$NONE}", ""),
        ("{$}", "{$}"),
        ("{%%}", "{%%}"),
        ("{$B", "{$B"),
        ("{B}", "{B}"),
    ] {
        assert_eq!(expand(text).as_deref(), Some(want), "{text}");
    }
    assert_eq!(expand(&"{$A}".repeat(10)), None, "longer than the bound");
}
