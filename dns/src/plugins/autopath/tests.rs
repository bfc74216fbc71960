use daymark_cluster::{
    Event, Kind, Namespace, ObjectName, Pod, Writer,
    event::{Object, ObjectKey},
};
use hickory_proto::rr::{RecordType, rdata::A};

use super::*;
use crate::{
    corefile::source::{FileId, Span},
    plugin::Failure,
    plugins::stand_in::{Chained, from, query},
    zone::{
        View,
        view::{PodMode, Zone, ZoneKind},
    },
};

fn config(search: Search) -> Config {
    Config {
        zones: vec![Domain::root()],
        search,
        place: Span { file: FileId(0), start: 0, end: 0 },
    }
}

fn fixed(search: &str) -> Search {
    Search::Fixed(search.split(' ').map(|domain| Domain::parse(domain).unwrap()).collect())
}

/// A server for a few names.
fn answers(query: &Query) -> Outcome {
    let name = query.name().to_ascii();
    let lower = name.to_ascii_lowercase();
    match &*lower {
        "found." | "both.b.test." | "own.a.test." => {
            let mut answer = Answer::to(query);
            let data = RData::A(A([10, 0, 0, 1].into()));
            answer.message.answers.push(Record::from_rdata(query.name().clone(), 7, data));
            Ok(answer)
        }
        "empty." => Ok(Answer::to(query)),
        "broken." => Err(Failure::new("stand_in", FailureReason::Overload("full".into()))),
        "refused." => {
            Err(Failure::with_code("stand_in", ResponseCode::Refused, FailureReason::Refused))
        }
        "elsewhere." => Err(Failure::new("server", FailureReason::NoNextPlugin)),
        _ => Ok(Answer::with_code(query, ResponseCode::NXDomain)),
    }
}

fn shown(outcome: Outcome) -> (ResponseCode, String, Vec<String>) {
    let message = outcome.unwrap().message;
    let records = message.answers.iter().map(ToString::to_string);
    (message.metadata.response_code, message.queries[0].name.to_ascii(), records.collect())
}

#[tokio::test]
async fn the_first_name_of_the_search_that_exists_is_the_answer() {
    let metrics = Metrics::new("test");
    let plugin = Autopath::new(&config(fixed("a.test b.test")), &metrics);
    let found = plugin.found.clone();
    let server = Chained::of(Shared(plugin), answers);
    for (asked, code, records) in [
        (
            "Found.A.test.",
            ResponseCode::NoError,
            &["Found.A.test. 7 IN CNAME Found.", "Found. 7 IN A 10.0.0.1"][..],
        ),
        (
            "both.a.test.",
            ResponseCode::NoError,
            &["both.a.test. 7 IN CNAME both.b.test.", "both.b.test. 7 IN A 10.0.0.1"],
        ),
        ("own.A.test.", ResponseCode::NoError, &["own.A.test. 7 IN A 10.0.0.1"]),
        ("empty.a.test.", ResponseCode::NoError, &[]),
        ("missing.a.test.", ResponseCode::NXDomain, &[]),
        ("broken.a.test.", ResponseCode::NXDomain, &[]),
        ("refused.a.test.", ResponseCode::NXDomain, &[]),
        ("elsewhere.a.test.", ResponseCode::NXDomain, &[]),
        ("found.b.test.", ResponseCode::NXDomain, &[]),
        ("a.test.", ResponseCode::NXDomain, &[]),
        ("xa.test.", ResponseCode::NXDomain, &[]),
    ] {
        let got = shown(server.serve(&query(asked, RecordType::A)).await);
        let records: Vec<String> = records.iter().map(ToString::to_string).collect();
        assert_eq!(got, (code, asked.to_owned(), records), "{asked}");
    }
    assert_eq!(found.with_label_values(&["dns://:53"]).get(), 4);
    server.seen();
    let long = format!("{}a.test.", "abcdefg.".repeat(30));
    server.serve(&query(&long, RecordType::A)).await.unwrap();
    assert_eq!(server.seen().len(), 3, "names that fit are asked for");
}

/// A plugin that the test keeps hold of.
struct Shared(Arc<Autopath>);

impl Plugin for Shared {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        self.0.serve(query, next)
    }
}

#[tokio::test]
async fn a_name_of_another_block_is_asked_of_the_server() {
    let plugin = Autopath::new(&config(fixed("a.test")), &Metrics::new("test"));
    let server = Chained::of(Shared(plugin), |query| match &*query.name().to_ascii() {
        "elsewhere." if query.upward.depth == 0 => {
            Err(Failure::new("server", FailureReason::NoNextPlugin))
        }
        "elsewhere." => Ok(Answer::to(query)),
        _ => Ok(Answer::with_code(query, ResponseCode::NXDomain)),
    });
    let asked = server.at_home(query("elsewhere.a.test.", RecordType::A));
    assert_eq!(server.serve(&asked).await.unwrap().code(), ResponseCode::NoError);
}

#[tokio::test]
async fn the_clients_pod_says_the_search_path() {
    let zone = |text: &str, kind| Zone::new(text, kind).unwrap();
    let mut view = View::new(vec![
        zone("cluster.local", ZoneKind::Cluster),
        zone("in-addr.arpa", ZoneKind::Reverse),
    ]);
    view.pods = PodMode::Verified;
    let kinds = view.needs().kinds;
    let (table, follower) = Table::new(view);
    let mut writer = Writer::new(kinds);
    let _following = writer.reader().follow(follower);
    let search = Search::Kubernetes(vec![Domain::parse("corp.test").unwrap()]);
    let plugin = Autopath::new(&config(search), &Metrics::new("test"));
    plugin.look_into(&table);
    let server = Chained::of(Shared(plugin), answers);
    let ask = async |client: &str, name: &str| {
        let asked = from(query(name, RecordType::A), client);
        server.serve(&asked).await.unwrap();
        let seen = server.seen();
        seen.iter().skip(1).map(|query| query.name().to_ascii()).collect::<Vec<_>>()
    };
    let pod = |namespace: &str, name: &str, addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let pod = Pod { name: ObjectName::new(namespace, name), addresses, labels: [].into() };
        Event::Apply { object: Object::Pod(Arc::new(pod)), version: 1 }
    };
    let namespace = |name: &str| {
        let namespace = Namespace { name: name.into(), labels: Box::default() };
        Event::Apply { object: Object::Namespace(Arc::new(namespace)), version: 1 }
    };
    writer.apply([namespace("shop"), pod("shop", "web", &["10.0.0.1", "fd00::1"])]);
    let asked = "x.y.shop.svc.cluster.local.";
    assert!(ask("10.0.0.1", asked).await.is_empty(), "not all pods are known");
    writer.apply(kinds.iter().map(Event::ListDone));

    let whole = ["x.y.svc.cluster.local.", "x.y.cluster.local.", "x.y.corp.test.", "x.y."];
    for client in ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1"] {
        assert_eq!(ask(client, asked).await, whole, "{client}");
    }
    assert!(ask("10.0.0.9", asked).await.is_empty(), "no pod has the address");
    assert!(ask("10.0.0.1", "x.y.other.svc.cluster.local.").await.is_empty());
    assert!(ask("10.0.0.1", "x.y.svc.cluster.local.").await.is_empty());

    writer.apply([pod("shop", "web-2", &["10.0.0.1"])]);
    assert_eq!(ask("10.0.0.1", asked).await, whole, "two pods of one namespace");
    writer.apply([pod("other", "web", &["10.0.0.1"])]);
    assert!(ask("10.0.0.1", asked).await.is_empty(), "pods of two namespaces");
    for name in ["web", "web-2"] {
        let key = ObjectKey { kind: Kind::Pod, name: ObjectName::new("shop", name) };
        writer.apply([Event::Delete { key, version: 2 }]);
    }
    assert!(ask("10.0.0.1", asked).await.is_empty(), "another namespace's name");
    assert_eq!(ask("10.0.0.1", "x.y.other.svc.cluster.local.").await.len(), 4);
}
