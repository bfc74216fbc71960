use std::{net::Ipv6Addr, sync::Arc};

use hickory_proto::{
    op::Edns,
    rr::{
        Name,
        rdata::{A, CNAME, SOA},
    },
};

use super::{prefix::Prefix, *};
use crate::plugins::stand_in::{Chained, from, query};

const SIX: &str = "2001:db8::53";

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn a(owner: &str, ttl: u32) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A([192, 0, 2, 7].into())))
}

fn aaaa(owner: &str, address: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::AAAA(AAAA(address.parse().unwrap())))
}

/// A server for names that have what their first label says.
fn server(config: Config, metrics: &Metrics) -> Chained {
    Chained::of(Dns64::new(&config, metrics), |query| {
        let mut answer = Answer::relayed(Answer::to(query).message);
        let message = &mut answer.message;
        message.metadata.recursion_available = true;
        message.metadata.authentic_data = true;
        let owner = query.name().to_ascii();
        let kind = owner.split('.').next().unwrap_or_default();
        let v4 = query.rtype() == RecordType::A;
        match kind {
            "both" if !v4 => message.answers.push(aaaa(&owner, "2001:db8::1")),
            "mapped" if !v4 => message.answers.push(aaaa(&owner, "::ffff:192.0.2.7")),
            "mixed" if !v4 => {
                message.answers.push(aaaa(&owner, "::ffff:192.0.2.7"));
                message.answers.push(aaaa(&owner, "2001:db8::1"));
            }
            "missing" => message.metadata.response_code = ResponseCode::NXDomain,
            "broken" if !v4 => message.metadata.response_code = ResponseCode::ServFail,
            "alias" => {
                let data = RData::CNAME(CNAME(name("v4.")));
                message.answers.push(Record::from_rdata(name(&owner), 60, data));
                message.answers.extend(v4.then(|| a("v4.", 900)));
            }
            "soa" if !v4 => {
                let soa = SOA::new(Name::root(), Name::root(), 1, 2, 3, 4, 5);
                message.authorities.push(Record::from_rdata(Name::root(), 30, RData::SOA(soa)));
            }
            _ if v4 => message.answers.push(a(&owner, 900)),
            _ => {}
        }
        Ok(answer)
    })
}

fn config() -> Config {
    let prefix = Prefix::new("64:ff9b::".parse::<Ipv6Addr>().unwrap(), 96).unwrap();
    Config { prefix, translate_all: false, allow_ipv4: false }
}

async fn ask(server: &Chained, asked: Query) -> Message {
    server.serve(&server.at_home(asked)).await.unwrap().message
}

async fn records(server: &Chained, owner: &str, client: &str) -> Vec<String> {
    let message = ask(server, from(query(owner, RecordType::AAAA), client)).await;
    assert_eq!(message.queries[0].query_type, RecordType::AAAA);
    message.answers.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn only_names_without_a_usable_ipv6_address_are_translated() {
    let server = server(config(), &Metrics::new("test"));
    let nothing: &[&str] = &[];
    for (owner, want) in [
        ("v4.", &["v4. 600 IN AAAA 64:ff9b::c000:207"][..]),
        ("soa.", &["soa. 30 IN AAAA 64:ff9b::c000:207"]),
        ("both.", &["both. 60 IN AAAA 2001:db8::1"]),
        ("mapped.", &["mapped. 600 IN AAAA 64:ff9b::c000:207"]),
        ("mixed.", &["mixed. 60 IN AAAA 2001:db8::1"]),
        ("broken.", &["broken. 600 IN AAAA 64:ff9b::c000:207"]),
        ("alias.", &["alias. 60 IN CNAME v4.", "v4. 600 IN AAAA 64:ff9b::c000:207"]),
        ("missing.", nothing),
    ] {
        assert_eq!(records(&server, owner, SIX).await, want, "{owner}");
    }
    let message = ask(&server, from(query("v4.", RecordType::AAAA), SIX)).await;
    let flags = message.metadata;
    assert!(flags.recursion_available && !flags.authentic_data && !flags.authoritative);
    assert_eq!(flags.response_code, ResponseCode::NoError);
}

#[tokio::test]
async fn clients_over_ipv4_and_those_that_validate_get_what_there_is() {
    let strict = server(config(), &Metrics::new("test"));
    let nothing: &[String] = &[];
    assert_eq!(records(&strict, "v4.", "10.0.0.1").await, nothing);
    assert_eq!(records(&strict, "v4.", "::ffff:10.0.0.1").await, nothing);
    let open = server(Config { allow_ipv4: true, ..config() }, &Metrics::new("test"));
    assert_eq!(records(&open, "v4.", "10.0.0.1").await.len(), 1);
    let mut validating = from(query("v4.", RecordType::AAAA), SIX);
    let message = Arc::make_mut(&mut validating.message);
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    message.edns = Some(edns);
    assert_eq!(ask(&strict, validating.clone()).await.answers.len(), 1);
    Arc::make_mut(&mut validating.message).metadata.checking_disabled = true;
    assert_eq!(ask(&strict, validating).await.answers.len(), 0);
}

#[tokio::test]
async fn translate_all_puts_ipv4_in_the_place_of_ipv6_and_each_is_counted() {
    let metrics = Metrics::new("test");
    let server = server(Config { translate_all: true, ..config() }, &metrics);
    assert_eq!(records(&server, "both.", SIX).await, ["both. 600 IN AAAA 64:ff9b::c000:207"]);
    assert!(records(&server, "missing.", SIX).await.is_empty());
    let families = metrics.registry().gather();
    let name = "coredns_dns64_requests_translated_total";
    let family = families.iter().find(|family| family.name() == name).unwrap();
    assert_eq!(family.get_metric()[0].get_counter().get_value(), 1.0);
}

#[tokio::test]
async fn a_failing_chain_fails() {
    let chained = Chained::failing(Dns64::new(&config(), &Metrics::new("test")));
    assert!(chained.serve(&from(query("v4.", RecordType::AAAA), SIX)).await.is_err());
}
