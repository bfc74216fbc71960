//! Both ways are the same through a whole block too, whatever stands beside `kubernetes` that the
//! short way is taught to stand in for.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Instant,
};

use hickory_proto::{
    op::Edns,
    rr::{
        RData,
        rdata::opt::{EdnsOption, NSIDPayload},
    },
};

use super::{
    settings::{denials, hosts, rules},
    *,
};
use crate::{
    corefile::{
        domain::Domain,
        source::{FileId, Span},
    },
    metrics::{Metrics, Series},
    plugin::{Origin, Plugin, Transport},
    plugins::{
        any::Any,
        dns64::{self, Dns64, prefix::Prefix},
        dnstap::Taps,
        header::{
            Header,
            config::{Config, Edits},
        },
        k8s_external::{self, External},
        kubernetes::Kubernetes,
        local::{self, Local},
        minimal::Minimal,
        nsid::{self, Nsid},
        rewrite::{Rewrite, short::Renames},
        template::{Template, short::Denials},
    },
    server::{
        long::{self, Purpose},
        routes::{Block, Routes},
        short::{ClaimNames, Short, ShortPlan},
    },
};

/// Which plugins the block has, and what they are told.
#[derive(Debug, Clone)]
struct Beside {
    nsid: bool,
    any: bool,
    minimal: bool,
    local: bool,
    dns64: bool,
    rewrite: bool,
    external: bool,
    template: bool,
    hosts: bool,
    query: Edits,
    response: Edits,
    payload: Option<u16>,
}

fn beside() -> impl Strategy<Value = Beside> {
    let edits = || {
        let flag = || prop::option::of(any::<bool>());
        (flag(), flag(), flag()).prop_map(|(aa, ra, rd)| Edits { aa, ra, rd })
    };
    let flags = any::<[bool; 9]>();
    (flags, edits(), edits(), prop::option::of(512u16..1500)).prop_map(
        |(flags, query, response, payload)| {
            let [nsid, any, minimal, local, dns64, rewrite, external, template, hosts] = flags;
            Beside {
                nsid,
                any,
                minimal,
                local,
                dns64,
                rewrite,
                external,
                template,
                hosts,
                query,
                response,
                payload,
            }
        },
    )
}

/// Takes some of the cluster's own names, and hands on those that it does not have.
fn external(table: &Table) -> Arc<External> {
    let domain = |name| Domain::parse(name).expect("a name");
    let external = External::new(&k8s_external::config::Config {
        zones: vec![domain("shop.svc.cluster.local"), domain("in-addr.arpa")],
        apex: "web".into(),
        ttl: 7,
        headless: true,
        fallthrough: vec![domain("cluster.local")],
        place: Span { file: FileId(0), start: 0, end: 0 },
    });
    external.answer_from(table);
    external
}

impl Beside {
    fn block(&self, table: &Table) -> Block {
        let mut chain: Vec<Arc<dyn Plugin>> = Vec::new();
        if self.nsid {
            chain.push(Arc::new(Nsid::new(&nsid::config::Config { data: Some("it".into()) })));
        }
        if self.local {
            let config = local::config::Config { prefix: true };
            chain.push(Arc::new(Local::new(&config, &Metrics::new("test"))));
        }
        if self.dns64 {
            let prefix = Prefix::new("64:ff9b::".parse().expect("an address"), 96);
            let prefix = prefix.expect("a length that there is");
            let config = dns64::config::Config { prefix, translate_all: true, allow_ipv4: true };
            chain.push(Arc::new(Dns64::new(&config, &Metrics::new("test"))));
        }
        if self.any {
            chain.push(Arc::new(Any));
        }
        let rules = self.rewrite.then(rules);
        if let Some(rules) = &rules {
            chain.push(Arc::new(Rewrite::new(rules)));
        }
        chain.push(Arc::new(Header(Config { query: self.query, response: self.response })));
        if self.minimal {
            chain.push(Arc::new(Minimal));
        }
        let denials = self.template.then(|| {
            let (rules, metrics) = (denials(), Metrics::new("test"));
            chain.push(Arc::new(Template::new(&rules, &metrics)));
            Arc::new(Denials::new(&rules, &metrics))
        });
        let hosts = self.hosts.then(hosts);
        chain.extend(hosts.iter().map(|hosts| Arc::clone(hosts) as Arc<dyn Plugin>));
        let external = self.external.then(|| external(table));
        chain.extend(external.iter().map(|external| Arc::clone(external) as Arc<dyn Plugin>));
        chain.push(Arc::new(Kubernetes::new(table.clone(), Vec::new())));
        let short = ShortPlan {
            table: Some(table.clone()),
            nsid: self.nsid,
            any: self.any,
            minimal: self.minimal,
            local: self.local.then_some(local::Names { prefix: true }),
            dns64: self.dns64,
            header: self.response,
            denials,
            hosts: hosts.map(|hosts| hosts as Arc<dyn ClaimNames>),
            external: external.map(|external| external as Arc<dyn ClaimNames>),
            renames: rules.map(|rules| Arc::new(Renames::of(&rules).expect("rules for it"))),
            ..ShortPlan::default()
        };
        Block {
            zone: vec![0],
            chain: chain.into(),
            short: Some(short),
            series: None,
            errors: None,
            log: None,
            taps: Taps::default(),
            payload: self.payload,
            panics: Arc::default(),
            labels: Arc::default(),
            metadata: None,
            view: None,
        }
    }
}

/// The name under the other suffix, if it is one of the cluster's Services.
fn alias(name: &str) -> Option<String> {
    let suffix = ".svc.cluster.local.";
    let before = name.len().checked_sub(suffix.len())?;
    let ours = name.get(before..)?.eq_ignore_ascii_case(suffix);
    ours.then(|| format!("{}.alias.test.", &name[..before]))
}

/// Names that `hosts` or a rule of `template` has something to say about, and some next to them.
const NEAR: [&str; 12] = [
    "web.shop.svc.cluster.local.",
    "Web.Example.org.",
    "example.org.",
    "db.shop.svc.cluster.local.",
    "web.db.example.org.",
    "other.db.example.org.",
    "web.db.web.example.org.",
    "a.b.example.org.",
    "a._tcp.example.org.",
    "shop.example.org.",
    "web.data.svc.cluster.local.",
    "_http._tcp.web.shop.svc.cluster.local.",
];

fn near() -> impl Strategy<Value = Option<&'static str>> {
    prop::option::of(prop::sample::select(&NEAR[..]))
}

/// What `block` answers on the short way, if it does.
fn short(block: &Block, request: &[u8]) -> Option<Vec<u8>> {
    let mut name = FoldedName::default();
    let Shape::Plain(plain) = read(request, &mut name) else { panic!("plain") };
    let plain = block.bounded_plain(&plain);
    let limit = plain.udp_limit();
    let asked =
        Asked { message: request, plain: &plain, name: &name, limit, renamed: false, rotation: 0 };
    let mut out = vec![0; 4096];
    match block.short.as_ref()?.answer(&mut out, &asked) {
        Short::Answered(written) => Some(out[..written.len].to_vec()),
        _ => None,
    }
}

/// What `routes` answer on the long way.
fn long(routes: &Arc<Routes>, metrics: &Metrics, request: &[u8]) -> Vec<u8> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
    let received = Instant::now();
    let origin =
        Origin { client: any, local: any, transport: Transport::Udp, received, parent: None };
    let recorder = metrics.queries().recorder();
    let answer = long::answer(routes, &recorder, request, origin, Purpose::Reply);
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(answer)
        .expect("a reply")
}

/// The question, asking for the server's identifier if it has EDNS and `nsid` says so.
fn asking(name: &str, rtype: RecordType, size: Option<u16>, nsid: bool) -> Vec<u8> {
    let mut request = request(name, rtype, size);
    if let Some(edns) = request.edns.as_mut().filter(|_| nsid) {
        let empty = NSIDPayload::new(Vec::new()).expect("short");
        edns.options_mut().insert(EdnsOption::NSID(empty));
    }
    request.to_vec().expect("a message")
}

/// What an OPT record says.
fn told(edns: Option<&Edns>) -> Option<(u16, bool, RData)> {
    edns.map(|edns| {
        (edns.max_payload(), edns.flags().dnssec_ok, RData::OPT(edns.options().clone()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn both_ways_give_the_same_answers_whatever_stands_beside(
        services in prop::collection::vec(service(), 0..5),
        slices in prop::collection::vec(slice(), 0..6),
        view in view(),
        beside in beside(),
        questions in prop::collection::vec((question(), any::<[bool; 2]>(), near()), 30),
    ) {
        let (table, _alive) = table(services, slices, view);
        let metrics = Metrics::new("test");
        let labels = Series {
            server: String::new(), zone: String::new(), view: String::new(), plugin: String::new(),
        };
        let dropped = metrics.queries().series(&labels);
        let routes = Arc::new(Routes::new(vec![beside.block(&table)], dropped));
        for ((name, rtype, size, _), [nsid, renamed], near) in questions {
            let name = near.map_or(name, str::to_owned);
            let name = alias(&name.to_lowercase()).filter(|_| renamed).unwrap_or(name);
            let request = asking(&name, rtype, size, nsid);
            let Some(short) = short(&routes.blocks()[0], &request) else { continue };
            let long = long(&routes, &metrics, &request);
            compare(&short, &long)?;
            let ((short, _), (long, _)) = (essence(&short), essence(&long));
            let available = |message: &Message| message.metadata.recursion_available;
            prop_assert_eq!(available(&short), available(&long), "{} {}", name, rtype);
            prop_assert_eq!(told(short.edns.as_ref()), told(long.edns.as_ref()));
            if !short.metadata.truncation && !long.metadata.truncation {
                prop_assert_eq!(short.additionals.len().min(1), long.additionals.len().min(1));
            }
        }
    }
}

/// Nothing but `template` and `hosts`.
const LOCAL: Beside = Beside {
    nsid: false,
    any: false,
    minimal: false,
    local: false,
    dns64: false,
    rewrite: false,
    external: false,
    template: true,
    hosts: true,
    query: Edits { aa: None, ra: None, rd: None },
    response: Edits { aa: None, ra: None, rd: None },
    payload: None,
};

#[test]
fn denials_and_hosts_go_the_short_way() {
    let (table, _alive) = table(Vec::new(), Vec::new(), View::new(Vec::new()));
    let metrics = Metrics::new("test");
    let labels = Series {
        server: String::new(),
        zone: String::new(),
        view: String::new(),
        plugin: String::new(),
    };
    let dropped = metrics.queries().series(&labels);
    let routes = Arc::new(Routes::new(vec![LOCAL.block(&table)], dropped));
    use RecordType::{A, AAAA, AXFR, HTTPS, MX, NAPTR, PTR, SRV, TXT};
    for (name, rtype, is_short) in [
        ("web.Data.svc.cluster.local.", A, true),
        ("web.data.svc.cluster.local.", NAPTR, false),
        ("web.data.svc.cluster.local.", AXFR, false),
        ("x.db.example.org.", TXT, true),
        ("Web.db.Example.org.", AAAA, true),
        ("web.web.example.org.", AAAA, true),
        ("x.example.org.", AAAA, false),
        ("a._tcp.example.org.", AAAA, true),
        ("shop.example.org.", A, true),
        ("shopping.web.example.org.", A, true),
        ("x.web.example.org.", A, false),
        ("web-0.example.org.", TXT, false),
        ("example.org.", TXT, true),
        ("web.example.org.", MX, true),
        ("shop.pod.cluster.local.", SRV, true),
        ("web.pod.cluster.local.", SRV, false),
        ("web.shop.svc.cluster.local.", A, true),
        ("web.shop.svc.cluster.local.", AAAA, true),
        ("web.shop.svc.cluster.local.", HTTPS, true),
        ("web.shop.svc.cluster.local.", PTR, false),
        ("@b.shop.svc.cluster.local.", A, false),
    ] {
        for size in [None, Some(1232)] {
            let request = asking(name, rtype, size, false);
            let short = short(&routes.blocks()[0], &request);
            assert_eq!(short.is_some(), is_short, "{name} {rtype}");
            let long = long(&routes, &metrics, &request);
            short.map_or(Ok(()), |short| compare(&short, &long)).expect(name);
        }
    }
}
