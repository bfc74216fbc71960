use hickory_proto::{
    op::ResponseCode,
    rr::{RecordType, rdata::opt::EdnsCode},
};

use super::Acl;
use crate::{
    corefile::{self, check::Environment, source::Memory},
    metrics::Metrics,
    plugin::{Answer, FailureReason},
    plugins::{
        PluginConfig,
        stand_in::{Chained, from, query},
    },
};

/// The `acl` lines of a block for all names, with ` ; ` for a line's end.
fn acl(lines: &str, metrics: &Metrics) -> Acl {
    let machine = Memory::default();
    let environment = Environment { reader: &machine, default_port: 53, extensions: &[] };
    let text = format!(". {{\n{}\n}}\n", lines.replace(" ; ", "\n"));
    let checked = corefile::load_text("test", text, &environment).expect("a Corefile");
    let [PluginConfig::Acl(config)] = &checked.servers[0].plugins[..] else { panic!("acl alone") };
    Acl::new(config, metrics)
}

/// What became of a query: handed on, a code with its Extended DNS Error, or nothing.
async fn fate(chained: &Chained, name: &str, rtype: RecordType, client: &str) -> String {
    match chained.serve(&from(query(name, rtype), client)).await {
        Ok(_) if !chained.seen().is_empty() => "on".to_owned(),
        Ok(answer) => {
            let edns = answer.message.edns.expect("an Extended DNS Error");
            let error = edns.option(EdnsCode::Unknown(15)).expect("an Extended DNS Error");
            let code: u16 = answer.message.metadata.response_code.into();
            format!("{code} {:?}", Vec::<u8>::try_from(error).expect("octets"))
        }
        Err(failure) => {
            assert_eq!(failure.reason, FailureReason::Dropped);
            assert_eq!(failure.code, ResponseCode::ServFail);
            "nothing".to_owned()
        }
    }
}

const BLOCKED: &str = "5 [0, 15]";
const FILTERED: &str = "0 [0, 17]";

#[tokio::test]
async fn the_first_policy_that_fits_decides() {
    let metrics = Metrics::new("test");
    let lines = "acl { ; allow net 10.1.0.0/16 fd00::/8 ; block type A AAAA net 10.0.0.0/8 ; \
                 filter type ANY ; drop net 192.0.2.1 2001:db8::1 ; }";
    let chained = Chained::of(acl(lines, &metrics), |query| Ok(Answer::to(query)));
    for (rtype, client, want) in [
        (RecordType::A, "10.1.2.3", "on"),
        (RecordType::A, "10.2.2.3", BLOCKED),
        (RecordType::AAAA, "::ffff:10.2.2.3", BLOCKED),
        (RecordType::MX, "10.2.2.3", "on"),
        (RecordType::ANY, "10.2.2.3", FILTERED),
        (RecordType::ANY, "10.1.2.3", "on"),
        (RecordType::ANY, "fd12::1", "on"),
        (RecordType::ANY, "192.0.2.1", FILTERED),
        (RecordType::A, "192.0.2.1", "nothing"),
        (RecordType::A, "192.0.2.2", "on"),
        (RecordType::TXT, "2001:db8::1", "nothing"),
    ] {
        let got = fate(&chained, "www.example.org.", rtype, client).await;
        assert_eq!(got, want, "{rtype} from {client}");
    }
}

#[tokio::test]
async fn an_allow_ends_the_search_and_a_rule_without_a_fit_does_not() {
    let metrics = Metrics::new("test");
    let lines = "acl a.org ; acl a.org b.org { ; allow type A ; } ; acl org { ; block ; }";
    let chained = Chained::of(acl(lines, &metrics), |query| Ok(Answer::to(query)));
    for (name, rtype, want) in [
        ("X.A.org.", RecordType::A, "on"),
        ("a.org.", RecordType::TXT, BLOCKED),
        ("c.org.", RecordType::A, BLOCKED),
        ("example.", RecordType::A, "on"),
    ] {
        assert_eq!(fate(&chained, name, rtype, "10.0.0.1").await, want, "{name} {rtype}");
    }
}

#[tokio::test]
async fn each_fate_is_counted_by_the_longest_zone() {
    let metrics = Metrics::new("test");
    let lines = "acl . b.org { ; block type A ; filter type AAAA ; drop type TXT ; }";
    let chained = Chained::of(acl(lines, &metrics), |query| Ok(Answer::to(query)));
    for rtype in [RecordType::A, RecordType::AAAA, RecordType::TXT, RecordType::MX] {
        fate(&chained, "a.b.org.", rtype, "10.0.0.1").await;
    }
    let families = metrics.registry().gather();
    let of = |name: &str| {
        let family = families.iter().find(|family| family.name() == name).expect("a family");
        let [metric] = family.get_metric() else { panic!("one label set") };
        let labels = metric.get_label().iter().map(|label| label.value().to_owned());
        (labels.collect::<Vec<_>>(), metric.get_counter().get_value())
    };
    for name in ["blocked", "filtered", "dropped"] {
        let (labels, count) = of(&format!("coredns_acl_{name}_requests_total"));
        assert_eq!((labels.join(" "), count), ("dns://:53  b.org.".to_owned(), 1.0), "{name}");
    }
    let (labels, count) = of("coredns_acl_allowed_requests_total");
    assert_eq!((labels.join(" "), count), ("dns://:53 ".to_owned(), 1.0));
}
