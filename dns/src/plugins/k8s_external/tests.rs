use daymark_cluster::{
    Event, External as Outside, Kind, KindSet, Namespace, ObjectName, Port, Ports, Protocol,
    Service, ServiceKind, Writer, event::Object,
};
use hickory_proto::rr::{RecordType, rdata::A};

use super::*;
use crate::{
    corefile::source::{FileId, Span},
    plugins::{
        stand_in::{Chained, query},
        transfer::source::Source,
    },
    zone::{
        View,
        view::{ExternalNames, Zone as OfView},
    },
};

const KINDS: [Kind; 3] = [Kind::Service, Kind::EndpointSlice, Kind::Namespace];

/// A cluster, a plugin that answers from it, and one behind that answers 192.0.2.99.
struct Rig {
    writer: Writer,
    plugin: Arc<External>,
    chained: Chained,
    _following: daymark_cluster::store::Subscription,
}

/// The plugin itself in a chain.
struct Shared(Arc<External>);

impl Plugin for Shared {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        self.0.serve(query, next)
    }
}

impl Rig {
    fn new(fallthrough: &[&str]) -> Self {
        let writer = Writer::new(KINDS.into_iter().collect::<KindSet>());
        let mut view = View::new(vec![OfView::new("cluster.local", ZoneKind::Cluster).unwrap()]);
        view.external = Some(ExternalNames { headless: false });
        view.own_addresses = vec![[198, 51, 100, 1].into()];
        let (table, follower) = Table::new(view);
        let following = writer.reader().follow(follower);
        let domain = |zone: &&str| Domain::parse(zone).unwrap();
        let config = Config {
            zones: ["in-addr.arpa", "example.org"].iter().map(domain).collect(),
            apex: "dns".into(),
            ttl: 7,
            headless: false,
            fallthrough: fallthrough.iter().map(domain).collect(),
            place: Span { file: FileId(0), start: 0, end: 0 },
        };
        let plugin = External::new(&config);
        plugin.answer_from(&table);
        let chained = Chained::of(Shared(Arc::clone(&plugin)), |query| {
            let mut answer = Answer::to(query);
            let data = RData::A(A([192, 0, 2, 99].into()));
            answer.message.answers.push(Record::from_rdata(query.name().clone(), 1, data));
            Ok(answer)
        });
        Rig { writer, plugin, chained, _following: following }
    }

    /// A Service `web` in `shop`, and all that there is.
    fn listed(mut self, externals: &[Outside]) -> Self {
        let port = |name: &str, port| Port {
            name: Some(name.into()),
            protocol: Protocol::Tcp,
            port: Some(port),
        };
        let service = Service {
            name: ObjectName::new("shop", "web"),
            kind: ServiceKind::Cluster(Box::default()),
            ports: Ports::from([port("http", 80), port("admin", 81)]),
            externals: externals.into(),
            labels: Box::default(),
        };
        let namespace = Namespace { name: "shop".into(), labels: Box::default() };
        let objects = [Object::Service(Arc::new(service)), Object::Namespace(Arc::new(namespace))];
        let apply = |object| Event::Apply { object, version: 0 };
        self.writer.apply(objects.map(apply).into_iter().chain(KINDS.map(Event::ListDone)));
        self
    }

    /// The code, and the answer's records without class.
    async fn ask(&self, name: &str, rtype: RecordType) -> (ResponseCode, Vec<String>) {
        let query = self.chained.at_home(query(name, rtype));
        let answer = self.chained.serve(&query).await.unwrap();
        let line =
            |record: &Record| format!("{} {} {}", record.ttl, record.record_type(), record.data);
        (answer.code(), answer.message.answers.iter().map(line).collect())
    }

    fn whole(&self, zone: &str) -> Vec<String> {
        let zone = self.plugin.zone(&Name::from_ascii(zone).unwrap()).unwrap().unwrap();
        (zone.records)().map(|record| record.to_string()).collect()
    }
}

fn address(text: &str) -> Outside {
    Outside::Address(text.parse().unwrap())
}

fn host(name: &str) -> Outside {
    Outside::Host(name.into())
}

#[tokio::test]
async fn a_service_with_an_address_is_no_alias() {
    let rig =
        Rig::new(&[]).listed(&[host("lb.test"), address("192.0.2.7"), address("2001:db8::7")]);
    let ok = ResponseCode::NoError;
    let name = "web.shop.example.org.";
    assert_eq!(rig.ask(name, RecordType::A).await, (ok, vec!["7 A 192.0.2.7".into()]));
    assert_eq!(rig.ask(name, RecordType::AAAA).await, (ok, vec!["7 AAAA 2001:db8::7".into()]));
    let at = "7.2.0.192.in-addr.arpa.";
    let want = vec!["7 PTR web.shop.example.org.".to_owned()];
    assert_eq!(
        rig.ask(at, RecordType::PTR).await,
        (ok, want),
        "in the zone that is no reverse one"
    );
    assert_eq!(
        rig.whole("in-addr.arpa.").last().unwrap(),
        "7.2.0.192.in-addr.arpa. 7 IN PTR web.shop.example.org."
    );
}

#[tokio::test]
async fn the_first_host_name_is_the_alias_once() {
    let rig = Rig::new(&[]).listed(&[host("lb.test"), host("other.test")]);
    let (code, answers) = rig.ask("web.shop.example.org.", RecordType::A).await;
    assert_eq!(
        (code, answers),
        (ResponseCode::NoError, vec!["5 CNAME lb.test.".into(), "1 A 192.0.2.99".into()])
    );
    let (_, answers) = rig.ask("web.shop.example.org.", RecordType::CNAME).await;
    assert_eq!(answers, ["5 CNAME lb.test."]);
    let (_, answers) = rig.ask("web.shop.example.org.", RecordType::SRV).await;
    assert_eq!(answers, ["5 SRV 0 50 80 lb.test.", "5 SRV 0 50 81 lb.test."]);
    let whole = rig.whole("Example.org.");
    assert!(whole.contains(&"web.shop.example.org. 5 IN CNAME lb.test.".to_owned()), "{whole:?}");
    let beside = |line: &&String| line.starts_with("web.shop.example.org.");
    assert_eq!(whole.iter().filter(beside).count(), 1, "an alias stands alone: {whole:?}");
    assert!(
        whole.contains(&"_http._tcp.web.shop.example.org. 5 IN SRV 0 100 80 lb.test.".to_owned())
    );
}

#[tokio::test]
async fn a_host_name_that_is_none_is_no_alias() {
    let rig = Rig::new(&[]).listed(&[host("a..b")]);
    let (code, _) = rig.ask("web.shop.example.org.", RecordType::A).await;
    assert_eq!(code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn before_all_is_known_nothing_is_said_not_to_exist() {
    let rig = Rig::new(&[]);
    let (code, _) = rig.ask("web.shop.example.org.", RecordType::A).await;
    assert_eq!(code, ResponseCode::ServFail);
    assert!(rig.plugin.zone(&Name::from_ascii("example.org.").unwrap()).unwrap().is_none());
    let rig = rig.listed(&[]);
    let (code, _) = rig.ask("web.shop.example.org.", RecordType::A).await;
    assert_eq!(code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn the_name_server_has_the_servers_addresses() {
    let rig = Rig::new(&[]).listed(&[]);
    let (_, answers) = rig.ask("ns1.DNS.example.org.", RecordType::A).await;
    assert_eq!(answers, ["7 A 198.51.100.1"]);
    let want =
        ["example.org. 7 IN NS ns1.dns.example.org.", "ns1.dns.example.org. 7 IN A 198.51.100.1"];
    assert_eq!(rig.whole("example.org."), want);
}

#[tokio::test]
async fn missing_names_fall_through_but_the_zones_own() {
    let rig = Rig::new(&["example.org"]).listed(&[address("192.0.2.7")]);
    let behind = (ResponseCode::NoError, vec!["1 A 192.0.2.99".to_owned()]);
    for (name, falls) in [
        ("gone.shop.example.org.", true),
        ("nowhere.example.org.", true),
        ("a.b.web.shop.example.org.", true),
        ("web.shop.example.org.", false),
        ("shop.example.org.", false),
        ("gone.dns.example.org.", false),
        ("example.org.", false),
        ("1.2.0.192.in-addr.arpa.", false),
        ("example.net.", true),
    ] {
        assert_eq!(rig.ask(name, RecordType::A).await == behind, falls, "{name}");
        let mut folded = FoldedName::default();
        fold(&Name::from_ascii(name).unwrap(), &mut folded).unwrap();
        assert_eq!(!rig.plugin.may_answer(&folded), falls, "{name} on the short way");
    }
}
