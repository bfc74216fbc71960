//! What the short way promises: no allocation for a query, whatever it finds.

use std::{net::UdpSocket, time::Duration};

use daymark_cluster::{
    Endpoint, EndpointSlice, Event, KindSet, Namespace, ObjectName, Port, Ports, Protocol, Service,
    ServiceKind, Writer,
    event::{Kind, Object},
};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query as Question},
    rr::{Name, RecordType},
};

use super::*;
use crate::{
    corefile::{check::Environment, load_text, source::Memory},
    metrics::{Metrics, Series},
    plugins::{
        PluginConfig, dnstap::Taps, header::config::Edits, hosts::Hosts, local, shed::Shed,
        template::short::Denials,
    },
    server::short::ShortPlan,
    zone::{
        Table, View,
        view::{PodMode, Zone, ZoneKind},
    },
};

/// A ClusterIP Service `web` and a headless one `db` with two endpoints, in the namespace `shop`.
fn fill(writer: &mut Writer) {
    let name = |name: &str| ObjectName::new("shop", name);
    let port = Port { name: Some("http".into()), protocol: Protocol::Tcp, port: Some(80) };
    let ports = || Ports::from([port.clone()]);
    let service = |of, kind| {
        let (externals, labels) = (Box::default(), Box::default());
        let service = Service { name: name(of), kind, ports: ports(), externals, labels };
        Object::Service(Arc::new(service))
    };
    let endpoint = |address: &str| Endpoint {
        address: address.parse().unwrap(),
        ready: true,
        hostname: None,
        pod: None,
        zone: None,
    };
    let slice = EndpointSlice {
        name: name("db-1"),
        service: Some("db".into()),
        import: None,
        cluster_id: None,
        ports: ports(),
        endpoints: Box::new([endpoint("10.0.0.1"), endpoint("10.0.0.2")]),
        triggered: None,
        labels: Box::default(),
    };
    let namespace = Namespace { name: "shop".into(), labels: Box::default() };
    let objects = [
        service("web", ServiceKind::Cluster(Box::new(["10.96.0.7".parse().unwrap()]))),
        service("db", ServiceKind::Headless),
        Object::EndpointSlice(Arc::new(slice)),
        Object::Namespace(Arc::new(namespace)),
    ];
    writer.apply(objects.map(|object| Event::Apply { object, version: 0 }));
}

/// A plan with a denial by zone and by pattern, and with a name in `hosts`.
fn beside(metrics: &Metrics) -> ShortPlan {
    let text = ". {\ntemplate ANY ANY blocked.test {\nrcode NXDOMAIN\n\
                authority \"{{ .Zone }} 60 IN SOA ns.{{ .Zone }} a.{{ .Zone }} (1 1 1 1 1)\"\n}\n\
                template IN AAAA {\nmatch (^|[.])v4[.]test[.]$\nfallthrough\n}\n\
                hosts /nowhere {\n192.0.2.1 web.test\n192.0.2.2 web.test\nreload 0\nfallthrough\n}\nwhoami\n}\n";
    let machine = Memory::default();
    let environment = Environment { reader: &machine, default_port: 53, extensions: &[] };
    let checked = load_text("Corefile", text.to_owned(), &environment).unwrap();
    let mut plan = ShortPlan::default();
    for plugin in &checked.servers[0].plugins {
        match plugin {
            PluginConfig::Template(config) => {
                plan.denials = Some(Arc::new(Denials::new(config, metrics)));
            }
            PluginConfig::Hosts(config) => plan.hosts = Some(Hosts::start(config, metrics)),
            _ => {}
        }
    }
    plan
}

/// A worker on loopback with one block that serves the cluster, and what keeps its tables filled.
struct Rig {
    worker: Worker,
    client: UdpSocket,
    _runtime: tokio::runtime::Runtime,
    _following: daymark_cluster::store::Subscription,
}

impl Rig {
    fn new() -> Self {
        let kinds: KindSet =
            [Kind::Service, Kind::EndpointSlice, Kind::Namespace].into_iter().collect();
        let mut writer = Writer::new(kinds);
        let mut view = View::new(vec![
            Zone::new("cluster.local", ZoneKind::Cluster).unwrap(),
            Zone::new("in-addr.arpa", ZoneKind::Reverse).unwrap(),
        ]);
        view.pods = PodMode::Insecure;
        let (table, follower) = Table::new(view);
        let following = writer.reader().follow(follower);
        fill(&mut writer);
        writer.apply(kinds.iter().map(Event::ListDone));

        let metrics = Metrics::new("test");
        let series = Series {
            server: "dns://:53".to_owned(),
            zone: ".".to_owned(),
            view: String::new(),
            plugin: "kubernetes".to_owned(),
        };
        let block = Block {
            zone: vec![0],
            chain: Arc::from([]),
            short: Some(ShortPlan {
                table: Some(table),
                rotate: true,
                local: Some(local::Names { prefix: true }),
                any: true,
                nsid: true,
                header: Edits { ra: Some(true), ..Edits::default() },
                ..beside(&metrics)
            }),
            series: Some(metrics.queries().series(&series)),
            errors: None,
            log: None,
            taps: Taps::default(),
            payload: Some(1232),
            panics: Arc::clone(metrics.queries()),
            labels: Arc::default(),
            metadata: None,
            view: None,
        };
        let dropped = metrics.queries().series(&Series { zone: "dropped".to_owned(), ..series });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let bound = socket.local_addr().unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(bound).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let long = LongWay {
            runtime: runtime.handle().clone(),
            admission: Admission::new(1),
            recorder: metrics.queries().recorder(),
        };
        let worker = Worker {
            socket: Arc::new(socket.into()),
            bound,
            routes: Arc::new(ArcSwap::from_pointee(
                Routes::new(vec![block], dropped).shedding(Some(Shed::new("dns://:53", &metrics))),
            )),
            recorder: metrics.queries().recorder(),
            long,
            quota: Arc::default(),
            ending: Arc::default(),
        };
        Rig { worker, client, _runtime: runtime, _following: following }
    }

    /// Sends the questions, has the worker answer them, and gives the replies with the number of
    /// allocations that the answering took.
    fn ask(
        &self,
        batch: &mut Batch,
        turn: &mut Turn,
        questions: &[Vec<u8>],
    ) -> (Vec<Message>, u64) {
        self.ask_for(batch, turn, questions, questions.len())
    }

    /// As [`Rig::ask`], where only so many replies come.
    fn ask_for(
        &self,
        batch: &mut Batch,
        turn: &mut Turn,
        questions: &[Vec<u8>],
        replies: usize,
    ) -> (Vec<Message>, u64) {
        questions.iter().for_each(|question| assert!(self.client.send(question).is_ok()));
        let mut left = questions.len();
        let counted = allocation_counter::measure(|| {
            while left > 0 {
                let count = batch.receive(self.worker.socket.as_fd(), Wait::ForOne).unwrap();
                self.worker.serve(batch, count, turn);
                left -= count;
            }
        });
        let replies = (0..replies).map(|_| {
            let mut reply = [0; 2048];
            let len = self.client.recv(&mut reply).unwrap();
            Message::from_vec(&reply[..len]).unwrap()
        });
        (replies.collect(), counted.count_total)
    }
}

fn question(name: &str, rtype: RecordType, edns: bool) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Question::query(Name::from_ascii(name).unwrap(), rtype));
    if edns {
        message.set_edns(Edns::new());
    }
    message.to_vec().unwrap()
}

#[test]
fn the_short_way_allocates_nothing() {
    let rig = Rig::new();
    let (mut batch, mut turn) = (Batch::default(), Turn::default());
    let rows = [
        ("Web.shop.svc.cluster.local.", RecordType::A, "NOERROR", 1),
        ("web.shop.svc.cluster.local.", RecordType::AAAA, "NOERROR", 0),
        ("db.shop.svc.cluster.local.", RecordType::A, "NOERROR", 2),
        ("10-0-0-1.db.shop.svc.cluster.local.", RecordType::A, "NOERROR", 1),
        ("_http._tcp.db.shop.svc.cluster.local.", RecordType::SRV, "NOERROR", 2),
        ("_http._tcp.web.shop.svc.cluster.local.", RecordType::SRV, "NOERROR", 1),
        ("1-2-3-4.shop.pod.cluster.local.", RecordType::A, "NOERROR", 1),
        ("7.0.96.10.in-addr.arpa.", RecordType::PTR, "NOERROR", 1),
        ("cluster.local.", RecordType::SOA, "NOERROR", 1),
        ("www.example.com.shop.svc.cluster.local.", RecordType::A, "NXDOMAIN", 0),
        ("www.Blocked.test.", RecordType::A, "NXDOMAIN", 0),
        ("www.v4.test.", RecordType::AAAA, "NOERROR", 0),
        ("Web.test.", RecordType::A, "NOERROR", 2),
        ("web.test.", RecordType::HTTPS, "NOERROR", 0),
    ];
    let ask = |batch: &mut Batch, turn: &mut Turn, edns| {
        let questions: Vec<_> = rows.iter().map(|row| question(row.0, row.1, edns)).collect();
        rig.ask(batch, turn, &questions)
    };
    // What is made once for each thread and label set.
    ask(&mut batch, &mut turn, false);
    for edns in [false, true] {
        let (replies, allocations) = ask(&mut batch, &mut turn, edns);
        for (reply, (name, rtype, code, answers)) in replies.iter().zip(rows) {
            let got = (reply.metadata.response_code.to_str(), reply.answers.len());
            let code = if code == "NOERROR" { "No Error" } else { "Non-Existent Domain" };
            assert_eq!(got, (code, answers), "{name} {rtype}");
        }
        assert_eq!(allocations, 0, "with EDNS: {edns}");
    }
    // Not vacuous: what is counted is this thread's, and a table that is swapped is seen.
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1]))).count_total, 1);
    assert_eq!(rig.worker.recorder.long.get(), 0, "all of it went the short way");
}

#[test]
fn a_query_without_a_place_on_the_long_way_is_dropped_and_counted_by_shed() {
    let rig = Rig::new();
    let (mut batch, mut turn) = (Batch::default(), Turn::default());
    // The first takes the only place, and its task is never run.
    let away = question("www.example.org.", RecordType::A, false);
    let home = question("web.shop.svc.cluster.local.", RecordType::A, false);
    let (_, _) = rig.ask_for(&mut batch, &mut turn, &[away.clone(), away, home], 1);
    let routes = rig.worker.routes.load();
    let shed = routes.shed.as_ref().unwrap();
    assert_eq!((shed.queries.get(), shed.replies.get()), (1, 0));
    assert_eq!(rig.worker.recorder.shed.get(), 1);
}
