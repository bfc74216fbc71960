//! Both ways through the server give the same answers: random clusters, random questions.

use std::sync::Arc;

use daymark_cluster::{
    Endpoint, EndpointSlice, Event, KindSet, Namespace, ObjectName, Port, Ports, Protocol, Service,
    ServiceKind, Writer,
    event::{Kind, Object},
};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query as Question},
    rr::{Name, RecordType},
};
use proptest::prelude::*;

use super::{
    records::{Records, records},
    wire::{Asked, write},
};
use crate::{
    server::long::fit,
    wire::{
        name::FoldedName,
        query::{Shape, read},
    },
    zone::{
        Table, View, lookup,
        view::{PodMode, Zone, ZoneKind},
    },
};

const LABELS: [&str; 15] = [
    "web",
    "db",
    "web-0",
    "10-0-0-1",
    "10-0-0-2",
    "fd00--1",
    "_http",
    "_tcp",
    "_udp",
    "shop",
    "data",
    "zone-a",
    "pin",
    "_zone",
    "localhost",
];
const TYPES: [RecordType; 9] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::PTR,
    RecordType::TXT,
    RecordType::SOA,
    RecordType::NS,
    RecordType::MX,
    RecordType::ANY,
];

fn address(n: u8) -> std::net::IpAddr {
    match n % 4 {
        0 => "10.0.0.1".parse().unwrap(),
        1 => "10.0.0.2".parse().unwrap(),
        2 => "10.0.0.3".parse().unwrap(),
        _ => "fd00::1".parse().unwrap(),
    }
}

fn port() -> impl Strategy<Value = Port> {
    (prop::option::of(Just("http")), any::<bool>(), prop::option::of(1u16..4)).prop_map(
        |(name, tcp, port)| Port {
            name: name.map(Into::into),
            protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
            port,
        },
    )
}

fn ports() -> impl Strategy<Value = Ports> {
    prop::collection::vec(port(), 0..3).prop_map(Into::into)
}

fn service() -> impl Strategy<Value = Service> {
    let kind = prop_oneof![
        prop::collection::vec(0u8..4, 0..3)
            .prop_map(|a| ServiceKind::Cluster(a.into_iter().map(address).collect())),
        Just(ServiceKind::Headless),
        Just(ServiceKind::External("example.org".into())),
    ];
    (0usize..2, 0usize..2, kind, ports()).prop_map(|(name, namespace, kind, ports)| Service {
        name: ObjectName::new(["shop", "data"][namespace], ["web", "db"][name]),
        kind,
        ports,
        externals: Box::default(),
        labels: Box::default(),
    })
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let endpoint = (0u8..4, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(at, ready, named, zoned)| Endpoint {
            address: address(at),
            ready,
            hostname: named.then(|| "web-0".into()),
            pod: None,
            zone: zoned.then(|| "zone-a".into()),
        },
    );
    let endpoints = prop::collection::vec(endpoint, 0..5);
    (0usize..2, 0usize..2, 0u8..3, ports(), endpoints).prop_map(
        |(name, namespace, slice, ports, endpoints)| {
            let service = ["web", "db"][name];
            EndpointSlice {
                name: ObjectName::new(
                    ["shop", "data"][namespace],
                    format!("{service}-{slice}").as_str(),
                ),
                service: Some(service.into()),
                import: None,
                cluster_id: None,
                ports,
                endpoints: endpoints.into(),
                triggered: None,
                labels: Box::default(),
            }
        },
    )
}

fn view() -> impl Strategy<Value = View> {
    (0u8..3, any::<bool>(), any::<bool>(), 0u32..400).prop_map(
        |(pods, ignore_empty, zonal, ttl)| {
            let zone = |text, kind| Zone::new(text, kind).unwrap();
            let mut view = View::new(vec![
                zone("cluster.local", ZoneKind::Cluster),
                zone("in-addr.arpa", ZoneKind::Reverse),
                zone("ip6.arpa", ZoneKind::Reverse),
            ]);
            view.pods =
                [PodMode::Disabled, PodMode::Insecure, PodMode::Verified][usize::from(pods)];
            (view.ignore_empty, view.zonal, view.ttl) = (ignore_empty, zonal, ttl);
            view.own_addresses = vec!["10.0.0.1".parse().unwrap(), "fd00::9".parse().unwrap()];
            view
        },
    )
}

/// A question below one of the zones, in any case, with or without EDNS.
fn question() -> impl Strategy<Value = (String, RecordType, Option<u16>, u64)> {
    let labels = prop::collection::vec(prop::sample::select(&LABELS[..]), 0..5);
    let suffix = prop::sample::select(
        &[
            "svc.cluster.local.",
            "pod.cluster.local.",
            "cluster.local.",
            "dns.cluster.local.",
            "1.0.0.10.in-addr.arpa.",
            "1.0.0.127.in-addr.arpa.",
            "in-addr.arpa.",
            "example.org.",
        ][..],
    );
    let size = prop::option::of(prop_oneof![Just(0u16), 100u16..200, Just(1232u16)]);
    (labels, suffix, prop::sample::select(&TYPES[..]), size, any::<u64>()).prop_map(
        |(labels, suffix, rtype, size, case)| {
            let labels: String = labels.iter().map(|label| format!("{label}.")).collect();
            let name = format!("{labels}{suffix}");
            let name = name.char_indices().map(|(at, c)| match case >> (at % 64) & 1 {
                0 => c,
                _ => c.to_ascii_uppercase(),
            });
            (name.collect(), rtype, size, case)
        },
    )
}

fn request(name: &str, rtype: RecordType, size: Option<u16>) -> Message {
    let labels = name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
    let mut owner = Name::from_labels(labels).unwrap();
    owner.set_fqdn(true);
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Question::query(owner, rtype));
    if let Some(size) = size {
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message
}

/// The long way's reply for what was found, encoded as the server encodes it.
fn long(request: &Message, found: Records, limit: usize) -> Vec<u8> {
    let mut reply = Message::new(request.metadata.id, MessageType::Response, OpCode::Query);
    reply.metadata.recursion_desired = true;
    reply.metadata.authoritative = true;
    reply.metadata.response_code = found.rcode;
    reply.queries = request.queries.clone();
    (reply.answers, reply.authorities, reply.additionals) =
        (found.answers, found.authorities, found.additionals);
    reply.edns = request.edns.clone();
    fit(&reply, limit).unwrap()
}

/// What two replies must agree in. A section that was cut may be cut elsewhere: the two ways
/// compress differently.
fn essence(bytes: &[u8]) -> (Message, bool) {
    let message = Message::from_vec(bytes).unwrap();
    let cut = message.metadata.truncation;
    (message, cut)
}

fn compare(short: &[u8], long: &[u8]) -> Result<(), TestCaseError> {
    let ((short, short_cut), (long, long_cut)) = (essence(short), essence(long));
    prop_assert_eq!(&short.metadata.response_code, &long.metadata.response_code);
    prop_assert_eq!(&short.metadata.authoritative, &long.metadata.authoritative);
    prop_assert_eq!(&short.metadata.recursion_desired, &long.metadata.recursion_desired);
    prop_assert_eq!(short.edns.is_some(), long.edns.is_some());
    for (a, b) in short.queries.iter().zip(&long.queries) {
        prop_assert_eq!(a.name.to_ascii(), b.name.to_ascii());
    }
    if short_cut || long_cut {
        return Ok(());
    }
    let lines = |section: &[hickory_proto::rr::Record]| -> Vec<String> {
        section.iter().map(ToString::to_string).collect()
    };
    prop_assert_eq!(lines(&short.answers), lines(&long.answers));
    prop_assert_eq!(lines(&short.authorities), lines(&long.authorities));
    // Glue is left out where it does not fit, which may be at another record.
    let (a, b) = (lines(&short.additionals), lines(&long.additionals));
    let most = a.len().min(b.len());
    prop_assert_eq!(&a[..most], &b[..most]);
    Ok(())
}

/// A table of these objects, and what it lives by.
fn table(services: Vec<Service>, slices: Vec<EndpointSlice>, view: View) -> (Table, impl Sized) {
    let kinds: KindSet =
        [Kind::Service, Kind::EndpointSlice, Kind::Namespace].into_iter().collect();
    let mut writer = Writer::new(kinds);
    let (table, follower) = Table::new(view);
    let following = writer.reader().follow(follower);
    let namespace = Namespace { name: "shop".into(), labels: Box::default() };
    let objects = services
        .into_iter()
        .map(|service| Object::Service(Arc::new(service)))
        .chain(slices.into_iter().map(|slice| Object::EndpointSlice(Arc::new(slice))))
        .chain([Object::Namespace(Arc::new(namespace))]);
    for object in objects {
        writer.apply([Event::Apply { object, version: 0 }]);
    }
    writer.apply(kinds.iter().map(Event::ListDone));
    (table, (writer, following))
}

mod beside;
mod settings;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn both_ways_give_the_same_answers(
        services in prop::collection::vec(service(), 0..5),
        slices in prop::collection::vec(slice(), 0..6),
        view in view(),
        questions in prop::collection::vec(question(), 30),
    ) {
        let (table, _alive) = table(services, slices, view);
        for (name, rtype, size, _) in questions {
            let request = request(&name, rtype, size);
            let bytes = request.to_vec().unwrap();
            let mut folded = FoldedName::default();
            let Shape::Plain(plain) = read(&bytes, &mut folded) else { panic!("{name} is plain") };
            let directory = table.load();
            let qtype = u16::from(rtype);
            let Some(found) = lookup(&directory, &table.view, &folded, qtype) else { continue };
            let limit = plain.udp_limit();
            let asked = Asked { message: &bytes, plain: &plain, name: &folded, limit, renamed: false, rotation: 0 };
            let mut out = vec![0; 4096];
            let owner = &request.queries[0].name;
            let by_records = records(owner, &folded, qtype, &table.view, &directory, &found);
            match write(&mut out, &asked, &table.view, &directory, &found) {
                Some(written) => {
                    prop_assert!(written.len <= limit);
                    let by_records = by_records.expect("the long way answers too");
                    compare(&out[..written.len], &long(&request, by_records, limit))?;
                }
                None => prop_assert!(by_records.is_none(), "{} {} goes one way only", name, rtype),
            }
        }
    }
}
