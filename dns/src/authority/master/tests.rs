use super::*;
use crate::wire::text;

/// Reads the zone `a.test` out of files by name, the first of which is `db`.
fn read(files: &[(&str, &str)]) -> Result<Loaded, ZoneError> {
    let origin = Name::from_ascii("a.test.").unwrap();
    let file = |path: &Path| {
        let held = files.iter().find(|(name, _)| Path::new("/zones").join(name) == path);
        held.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    load(origin, Path::new("/zones/db"), &file)
}

fn lines(zone: &ZoneData) -> Vec<String> {
    let nodes = zone.nodes().flat_map(|node| {
        let name = text::of(&node.name());
        node.sets().flat_map(move |set| {
            let (name, rtype) = (name.clone(), set.rtype);
            set.records().map(move |(ttl, data)| format!("{name} {ttl} {rtype} {data}"))
        })
    });
    nodes.filter(|line| !line.contains(" SOA ")).collect()
}

const SOA: &str = "@ 9 SOA ns root 1 60 60 60 30\n";

#[test]
fn entries_are_read_in_all_their_forms() {
    let text = format!(
        "; a comment\n{SOA}\n$TTL 1h\nb A 10.0.0.1\n  IN 5 AAAA ::1 ; again\n\tTXT \"x;y\" (\n  z ) \n\
         $ORIGIN sub\nc IN 1m A 10.0.0.2\nd.other. A 10.0.0.3\n@ MX 5 m\n\
         $ORIGIN a.test.\n\"q\" A 10.0.0.4\na\\.b TYPE1 \\# 4 0a000005\nu TYPE65280 \\# 1 ff\n\
         $GENERATE 1-3/2 h$ 7 A 10.0.1.$\n$GENERATE 1-1 g CNAME h${{0,2,d}}.$$ ; end\nb A 10.0.0.1\nLAST A 10.0.0.6"
    );
    let loaded = read(&[("db", &text)]).unwrap();
    assert_eq!(loaded.outside, 1);
    assert_eq!(
        lines(&loaded.zone),
        [
            "a\\.b.a.test. 3600 A 10.0.0.5",
            "b.a.test. 3600 A 10.0.0.1",
            "b.a.test. 3600 TXT x;yz",
            "b.a.test. 5 AAAA ::1",
            "g.a.test. 3600 CNAME h01.\\$.a.test.",
            "h1.a.test. 7 A 10.0.1.1",
            "h3.a.test. 7 A 10.0.1.3",
            "LAST.a.test. 3600 A 10.0.0.6",
            "q.a.test. 3600 A 10.0.0.4",
            "sub.a.test. 3600 MX 5 m.sub.a.test.",
            "c.sub.a.test. 60 A 10.0.0.2",
            "u.a.test. 3600 Unknown /w==",
        ]
    );
    assert_eq!(loaded.zone.len(), 13);
}

#[test]
fn a_record_without_a_ttl_has_the_one_before() {
    let zone = read(&[(
        "db",
        "@ SOA ns root 1 60 60 60 30\nb A 10.0.0.1\nc 5 A 10.0.0.2\nd A 10.0.0.3\n",
    )]);
    let zone = zone.unwrap().zone;
    assert_eq!(zone.soa_record(Name::root()).ttl, 30, "its minimum");
    let ttls: Vec<String> =
        lines(&zone).iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(ttls, ["30", "5", "5"]);
    assert!(read(&[("db", "b A 10.0.0.1\n")]).unwrap_err().to_string().contains("no TTL"));
}

#[test]
fn files_include_others() {
    let db = format!("{SOA}$TTL 9\nb A 10.0.0.1\n$INCLUDE more/x in\n  TXT b\n$INCLUDE more/y\n");
    let x = "c A 10.0.0.2\n$ORIGIN other.\n";
    let loaded = read(&[("db", &db), ("more/x", x), ("more/y", "d A 10.0.0.3\n")]).unwrap();
    let owners: Vec<String> =
        lines(&loaded.zone).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(owners, ["b.a.test.", "b.a.test.", "d.a.test.", "c.in.a.test."]);
    assert_eq!(loaded.files.len(), 3);
    let round = read(&[("db", "$INCLUDE db\n")]).unwrap_err();
    assert!(round.to_string().contains("more than 7 deep"), "{round}");
    let missing = read(&[("db", "$INCLUDE x\n")]).unwrap_err();
    assert!(missing.to_string().starts_with("/zones/x"), "{missing}");
}

#[test]
fn mistakes_are_told_with_file_and_line() {
    for (text, wanted) in [
        ("", "no SOA record for a.test."),
        ("b 5 A 10.0.0.1\n", "no SOA record"),
        (" A 10.0.0.1\n", "line 1: it has no name"),
        (
            "@ 9 SOA ns (\n root 1 60\n 60 60 30 )\n\nb 5 A nonsense\n",
            "line 5: the data of this A record is wrong",
        ),
        ("@ 9 SOA ns root 1 60 60 60 30\n@ 9 SOA ns root 2 60 60 60 30\n", "line 2: a SOA record"),
        ("b 9 SOA ns root 1 60 60 60 30\n", "line 1: a SOA record for b.a.test."),
        ("b 5 CH A 10.0.0.1\n", "its class is not IN"),
        ("b 5 NSEC3PARAM 1 0 1 -\n", "NSEC3 is not supported"),
        ("$NONSENSE x\n", "`$NONSENSE` is wrong here"),
        ("$TTL x\n", "`$TTL` is wrong here"),
        ("$GENERATE 5-1 a 5 A 10.0.0.1\n", "`$GENERATE` is wrong here"),
        ("$GENERATE 1-2 a${x} 5 A 10.0.0.1\n", "`$GENERATE` is wrong here"),
        ("b 5 TXT \"x\n", "does not close"),
        ("b 5 TYPE1 \\# 3 0a0000\n", "not of its type"),
        ("b 5 A 10.0.0.1 ) \n", "does not close"),
        ("b..c 5 A 10.0.0.1\n", "`b..c` is no domain name"),
    ] {
        let error = read(&[("db", text)]).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn octets_that_are_no_text_are_told() {
    let origin = Name::from_ascii("a.test.").unwrap();
    let read = |_: &Path| Ok(b"a\nb \xff\n".to_vec());
    let error = load(origin, Path::new("db"), &read).unwrap_err();
    assert!(error.to_string().contains("line 2: it is not UTF-8"), "{error}");
}
