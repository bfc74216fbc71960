//! What is encoded is read back.

use super::*;

#[test]
fn what_was_encoded_is_read_back() {
    let mut draft = GroupDraft { key: b"\x03web\x04shop".to_vec(), ..GroupDraft::default() };
    let own = draft.node(b"");
    own.add("10.0.0.1".parse().unwrap());
    own.add("10.0.0.1".parse().unwrap());
    own.add("fd00::1".parse().unwrap());
    let http = draft.node(b"\x05_http\x04_tcp");
    http.srv.push(SrvDraft { weight: 50, port: 80, target: Vec::new() });
    http.glue.push((Vec::new(), "10.0.0.1".parse().unwrap()));
    http.glue.push((Vec::new(), "fd00::1".parse().unwrap()));
    draft.node(b"\x04_tcp");
    let mut octets = Vec::new();
    draft.encode(&mut octets);
    octets.extend(b"the next group");

    let group = Group::at(&octets);
    assert_eq!(group.key(), b"\x03web\x04shop");
    assert!(!group.headless() && group.alias().is_none());
    let own = group.node(b"").unwrap();
    assert_eq!(own.v4(), [[10, 0, 0, 1]]);
    assert_eq!(own.v6().len(), 1);
    assert_eq!(own.glue().count(), 0);
    let http = group.node(b"\x05_http\x04_tcp").unwrap();
    let srv: Vec<_> = http.srv().collect();
    assert_eq!((srv.len(), srv[0].port, srv[0].target), (1, 80, &b""[..]));
    assert_eq!(http.glue().map(|(_, a)| a.len()).collect::<Vec<_>>(), [4, 16]);
    assert!(group.node(b"\x04_tcp").unwrap().is_bare());
    assert!(group.node(b"\x04_udp").is_none());
    assert_eq!(group.nodes().count(), 3);
}

#[test]
fn glue_is_stored_where_it_is_not_the_targets_addresses() {
    let (a, b) = ("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
    let target = b"\x01e".to_vec();
    let srv = |port| SrvDraft { weight: 100, port, target: target.clone() };
    let of_targets = vec![(target.clone(), a), (target.clone(), b)];
    let reversed = vec![(target.clone(), b), (target.clone(), a)];
    let part = vec![(target.clone(), a)];
    let mut sizes = Vec::new();
    for glue in [of_targets, reversed, part] {
        let mut draft = GroupDraft { key: b"\x01a\x01b".to_vec(), ..GroupDraft::default() };
        let endpoint = draft.node(&target);
        endpoint.add(a);
        endpoint.add(b);
        let own = draft.node(b"");
        own.srv = vec![srv(80), srv(81)];
        own.glue.clone_from(&glue);
        let mut octets = Vec::new();
        draft.encode(&mut octets);
        let read = Group::at(&octets);
        let node = read.node(b"").unwrap();
        let read: Vec<(Vec<u8>, IpAddr)> = node
            .glue()
            .map(|(target, octets)| {
                let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
                let v6 = || <[u8; 16]>::try_from(octets).map(IpAddr::from).unwrap();
                (target.to_vec(), v4.unwrap_or_else(|_| v6()))
            })
            .collect();
        assert_eq!(read, glue);
        assert!(!node.is_bare());
        sizes.push(octets.len());
    }
    assert_eq!(sizes, [sizes[0], sizes[0] + 9 + 21, sizes[0] + 9]);
}

#[test]
fn an_alias_keeps_its_target() {
    let alias = Some(b"\x07Example\x03org\0".to_vec());
    let draft =
        GroupDraft { key: b"\x01a\x01b".to_vec(), alias: alias.clone(), ..GroupDraft::default() };
    let mut octets = Vec::new();
    draft.encode(&mut octets);
    assert_eq!(Group::at(&octets).alias(), alias.as_deref());
    assert!(Group::at(&octets).node(b"").is_none());
}
