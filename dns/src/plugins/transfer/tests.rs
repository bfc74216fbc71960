use hickory_proto::rr::{Record, rdata::SOA};

use super::*;
use crate::{
    authority::{Builder, ZoneData, held::Held},
    plugins::stand_in::{Chained, from, query},
};

/// Zones that a plugin has.
struct Zones(Vec<Arc<Held>>);

impl Source for Zones {
    fn zone(&self, name: &Name) -> Option<Option<Outgoing>> {
        source::held(&self.0, name)
    }
}

/// A plugin under test that the test keeps hold of.
struct Shared(Arc<Transfer>);

impl Plugin for Shared {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        self.0.serve(query, next)
    }
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn soa(serial: u32) -> RData {
    RData::SOA(SOA::new(name("ns."), name("root."), serial, 1, 2, 3, 4))
}

fn data(origin: &str) -> Arc<ZoneData> {
    let mut builder = Builder::new(name(origin));
    for (owner, data) in [
        (format!("b.{origin}"), RData::NS(hickory_proto::rr::rdata::NS(name("ns.")))),
        (origin.to_owned(), soa(7)),
        (origin.to_owned(), RData::NS(hickory_proto::rr::rdata::NS(name("ns.")))),
    ] {
        builder.add(&Record::from_rdata(name(&owner), 60, data)).unwrap();
    }
    Arc::new(builder.finish().unwrap())
}

fn server() -> Chained {
    let rule = |zone: &str, to: &[&str], to_all| Rule {
        zones: vec![Domain::parse(zone).unwrap()],
        to: to.iter().map(|to| format!("{to}:53").parse().unwrap()).collect(),
        to_all,
        source: None,
    };
    let rules = vec![
        rule("test", &["10.0.0.1"], false),
        rule("b.test", &["10.0.0.2"], false),
        rule("c.test", &[], true),
    ];
    let plugin = Transfer::new(&Config { rules });
    let zones = ["a.test", "b.test", "c.test"].map(|zone| {
        let data = (zone != "c.test").then(|| data(&format!("{zone}.")));
        Held::new(&Domain::parse(zone).unwrap(), data)
    });
    plugin.give(vec![Arc::new(Zones(zones.to_vec()))]);
    Chained::failing(Shared(plugin))
}

fn asked(zone: &str, rtype: RecordType, client: &str, transport: Transport) -> Query {
    let mut query = from(query(zone, rtype), client);
    query.origin.transport = transport;
    query
}

#[tokio::test]
async fn who_may_have_a_zone_is_said_by_the_longest_rule() {
    let server = server();
    for (zone, client, transport, wanted) in [
        ("A.test.", "10.0.0.1", Transport::Tcp, Ok(ResponseCode::NoError)),
        ("a.test.", "::ffff:10.0.0.1", Transport::Tls, Ok(ResponseCode::NoError)),
        ("a.test.", "10.0.0.2", Transport::Tcp, Err(ResponseCode::Refused)),
        ("b.test.", "10.0.0.1", Transport::Tcp, Err(ResponseCode::Refused)),
        ("b.test.", "10.0.0.2", Transport::Tcp, Ok(ResponseCode::NoError)),
        ("b.test.", "10.0.0.2", Transport::Udp, Err(ResponseCode::Refused)),
        ("b.test.", "10.0.0.2", Transport::Https, Err(ResponseCode::Refused)),
        ("b.test.", "10.0.0.2", Transport::Quic, Err(ResponseCode::Refused)),
        ("x.b.test.", "10.0.0.2", Transport::Tcp, Ok(ResponseCode::NotAuth)),
        ("c.test.", "10.0.0.9", Transport::Tcp, Err(ResponseCode::ServFail)),
        ("other.", "10.0.0.1", Transport::Tcp, Err(ResponseCode::ServFail)),
    ] {
        let outcome = server.serve(&asked(zone, RecordType::AXFR, client, transport)).await;
        let code = outcome.map(|answer| answer.code()).map_err(|failure| failure.code);
        assert_eq!(code, wanted, "{zone} {client} {transport:?}");
    }
    assert_eq!(server.seen().len(), 1, "a name in no rule's zones is handed on");
}

#[tokio::test]
async fn a_zone_begins_and_ends_with_its_soa_record() {
    let query = asked("a.test.", RecordType::AXFR, "10.0.0.1", Transport::Tcp);
    let answer = server().serve(&query).await.unwrap();
    assert!(answer.message.metadata.authoritative && answer.message.answers.is_empty());
    let lines: Vec<String> =
        answer.transfer.unwrap().0().map(|record| record.to_string()).collect();
    let soa = "a.test. 60 IN SOA ns. root. 7 1 2 3 4";
    assert_eq!(lines, [soa, "a.test. 60 IN NS ns.", "b.a.test. 60 IN NS ns.", soa]);
}

#[tokio::test]
async fn who_has_the_serial_gets_the_soa_record_alone() {
    let server = server();
    let ixfr = |serial: Option<u32>, transport| {
        let mut query = asked("a.test.", RecordType::IXFR, "10.0.0.1", transport);
        let soa = serial.map(|serial| Record::from_rdata(name("a.test."), 0, soa(serial)));
        Arc::make_mut(&mut query.message).authorities.extend(soa);
        query
    };
    for (serial, transport, whole) in [
        (7, Transport::Tcp, false),
        (6, Transport::Tcp, true),
        (8, Transport::Tcp, true),
        (7, Transport::Udp, false),
        (6, Transport::Udp, false),
    ] {
        let answer = server.serve(&ixfr(Some(serial), transport)).await.unwrap();
        assert_eq!(answer.transfer.is_some(), whole, "{serial} {transport:?}");
        assert_eq!(answer.message.answers.len(), usize::from(!whole));
        assert!(answer.message.metadata.authoritative);
    }
    let without = server.serve(&ixfr(None, Transport::Tcp)).await.unwrap();
    assert_eq!(without.code(), ResponseCode::FormErr);
}
