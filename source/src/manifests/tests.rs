use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use daymark_cluster::{
    Delta, External, Follow, Kind, KindSet, Needs, Protocol, Reader, ServiceKind, Snapshot,
    event::Object,
};

use super::*;
use crate::Source;

fn everything() -> Needs {
    let kinds: KindSet = Kind::ALL.into_iter().collect();
    Needs { kinds, labels: kinds, endpoint_pods: true, endpoint_zones: true, externals: true }
}

/// `kind namespace/name detail` of each object, in the order parsed.
fn lines(name: &str, text: &str) -> Vec<String> {
    parse(name, text.as_bytes(), &everything()).unwrap().iter().map(line).collect()
}

fn line(object: &Object) -> String {
    let key = object.key();
    let detail = match object {
        Object::Service(o) => {
            let kind = match &o.kind {
                ServiceKind::Cluster(ips) => format!("{ips:?}"),
                ServiceKind::Headless => "headless".into(),
                ServiceKind::External(host) => format!("-> {host}"),
            };
            let externals = o.externals.iter().map(|external| match external {
                External::Address(address) => format!(" from {address}"),
                External::Host(host) => format!(" from {host}"),
            });
            kind + &externals.collect::<String>()
        }
        Object::EndpointSlice(o) => {
            let endpoints = o.endpoints.iter().map(|e| {
                let ready = if e.ready { "" } else { "!" };
                format!("{ready}{}/{:?}/{:?}/{:?}", e.address, e.hostname, e.pod, e.zone)
            });
            format!("{:?} {:?}", o.service, endpoints.collect::<Vec<_>>())
        }
        Object::Pod(o) => format!("{:?}", o.addresses),
        Object::ServiceImport(o) => format!("{:?}", o.kind),
        Object::Node(o) => {
            let ranges: Vec<String> = o.pod_ranges.iter().map(ToString::to_string).collect();
            format!("{:?} {:?} {ranges:?}", o.addresses, o.zone)
        }
        Object::Namespace(o) => format!("{:?}", o.labels),
    };
    format!("{} {}/{} {detail}", key.kind.plural(), key.name.namespace, key.name.name)
}

#[test]
fn each_kind_is_cut_down_to_what_is_used() {
    for (case, text, want) in [
        (
            "cluster IP, named port",
            "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n\
             spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}]}\n",
            "services shop/web [10.96.0.7]",
        ),
        (
            "addresses from outside, those of the load balancer last",
            "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n\
             spec: {clusterIP: 10.96.0.7, externalIPs: [192.0.2.7]}\n\
             status: {loadBalancer: {ingress: [{hostname: lb.example.com.}, \
             {ip: '2001:db8::7', hostname: other.example.com}, {}]}}\n",
            "services shop/web [10.96.0.7] from 192.0.2.7 from lb.example.com from 2001:db8::7",
        ),
        (
            "kind may stand last",
            "metadata: {name: web, namespace: shop}\nspec: {clusterIP: 10.96.0.7}\n\
             apiVersion: v1\nkind: Service\n",
            "services shop/web [10.96.0.7]",
        ),
        (
            "both families in the order of clusterIPs",
            "{apiVersion: v1, kind: Service, metadata: {name: web}, \
             spec: {clusterIP: 'fd00::7', clusterIPs: ['fd00::7', 10.96.0.7]}}",
            "services default/web [fd00::7, 10.96.0.7]",
        ),
        (
            "no address given: one by hash",
            "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}}",
            "services shop/web [10.102.213.234]",
        ),
        (
            "no address given: ipFamilies decides",
            "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, \
             spec: {ipFamilies: [IPv6, IPv4]}}",
            "services shop/web [fd00:10:96::2a60, 10.102.213.234]",
        ),
        (
            "no address given: a dual-stack policy",
            "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, \
             spec: {ipFamilyPolicy: PreferDualStack}}",
            "services shop/web [10.102.213.234, fd00:10:96::2a60]",
        ),
        (
            "headless",
            "{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: None}}",
            "services default/db headless",
        ),
        (
            "ExternalName without its trailing dot",
            "{apiVersion: v1, kind: Service, metadata: {name: ext}, \
             spec: {type: ExternalName, externalName: pay.example.}}",
            "services default/ext -> pay.example",
        ),
        (
            "slice: ready by default, zone folded, long pod names dropped",
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: db-1, \
             labels: {kubernetes.io/service-name: db}}, addressType: IPv4, endpoints: [\
             {addresses: [10.1.0.1], hostname: db-0, targetRef: {name: db-0}, zone: Zone-A}, \
             {addresses: [10.1.0.2], conditions: {ready: false}, targetRef: {name: \
             aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}]}",
            "endpointslices default/db-1 Some(\"db\") \
             [\"10.1.0.1/Some(\\\"db-0\\\")/Some(\\\"db-0\\\")/Some(\\\"zone-a\\\")\", \
             \"!10.1.0.2/None/None/None\"]",
        ),
        (
            "slice of names holds no address",
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: x}, \
             addressType: FQDN, endpoints: [{addresses: [a.example]}]}",
            "endpointslices default/x None []",
        ),
        (
            "pod",
            "{apiVersion: v1, kind: Pod, metadata: {name: p}, status: {phase: Running, \
             podIP: 10.1.0.9, podIPs: [{ip: 10.1.0.9}, {ip: 'fd00::9'}]}}",
            "pods default/p [10.1.0.9, fd00::9]",
        ),
        (
            "import",
            "{apiVersion: multicluster.x-k8s.io/v1alpha1, kind: ServiceImport, \
             metadata: {name: web, namespace: shop}, spec: {type: ClusterSetIP, ips: [10.3.0.1]}}",
            "serviceimports shop/web Cluster([10.3.0.1])",
        ),
        (
            "node: internal addresses only",
            "{apiVersion: v1, kind: Node, metadata: {name: n1, labels: \
             {topology.kubernetes.io/zone: a}}, status: {addresses: [{type: Hostname, address: n1}, \
             {type: InternalIP, address: 192.0.2.1}]}}",
            "nodes /n1 [192.0.2.1] Some(\"a\") []",
        ),
        (
            "node: its pod ranges",
            "{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDR: 10.244.1.7/24, \
             podCIDRs: [10.244.1.7/24, 'fd00:10:244:1::/64']}}",
            "nodes /n1 [] None [\"10.244.1.0/24\", \"fd00:10:244:1::/64\"]",
        ),
        (
            "node: a single pod range",
            "{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDR: 10.244.1.0/24}}",
            "nodes /n1 [] None [\"10.244.1.0/24\"]",
        ),
        (
            "namespace with sorted labels",
            "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {b: '2', a: '1'}}}",
            "namespaces /shop [(\"a\", \"1\"), (\"b\", \"2\")]",
        ),
    ] {
        assert_eq!(lines("case.yaml", text), [want], "{case}");
    }
}

#[test]
fn documents_lists_and_json_all_count() {
    let service = |name: &str| {
        format!(
            "{{\"apiVersion\": \"v1\", \"kind\": \"Service\", \
             \"metadata\": {{\"name\": \"{name}\"}}, \"spec\": {{\"clusterIP\": \"None\"}}}}"
        )
    };
    let (a, b) = (service("a"), service("b"));
    let bare = "{metadata: {name: b}, spec: {clusterIP: None}}";
    let both = ["services default/a headless", "services default/b headless"];
    for (case, text) in [
        ("documents", format!("# first\n---\n{a}\n---\n# nothing\n---\n{b}\n...\n")),
        ("documents with CRLF", format!("---\r\n{a}\r\n--- # second\r\n{b}\r\n")),
        ("directive", format!("%YAML 1.2\n---\n{a}\n---\n{b}\n")),
        ("byte order mark", format!("\u{feff}{a}\n---\n{b}\n")),
        ("list", format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{a},\n\t{b}]}}")),
        (
            "typed list",
            format!("apiVersion: v1\nkind: ServiceList\nitems:\n- {bare}\n- {b}\n")
                .replacen("name: b", "name: a", 1),
        ),
        (
            "list in a list",
            format!(
                "{{apiVersion: v1, kind: List, items: [{a}, {{apiVersion: v1, kind: List, items: [{b}]}}]}}"
            ),
        ),
        ("items first", format!("items: [{a}, {b}]\nkind: List\napiVersion: v1\n")),
        (
            "among kinds of no use",
            format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: [odd]\n---\n{a}\n---\n\
             apiVersion: serving.knative.dev/v1\nkind: Service\nspec: 7\n---\n{b}\n"
            ),
        ),
    ] {
        assert_eq!(lines("case.json", &text), both, "{case}");
    }
    for nothing in ["", "\n", "---\n", "# only\n", "null\n", "--- \n...\n"] {
        assert!(lines("case.yaml", nothing).is_empty(), "{nothing:?}");
    }
}

#[test]
fn ports_keep_their_order_and_protocols() {
    let text = "{apiVersion: v1, kind: Service, metadata: {name: dns}, spec: {ports: [\
                {name: dns, protocol: UDP, port: 53}, {port: 9153}, {protocol: SCTP, port: 7}]}}";
    let objects = parse("dns.yaml", text.as_bytes(), &everything()).unwrap();
    let Object::Service(service) = &objects[0] else { panic!("{objects:?}") };
    let ports: Vec<_> =
        service.ports.iter().map(|p| (p.name.as_deref(), p.protocol, p.port)).collect();
    let want = [
        (Some("dns"), Protocol::Udp, Some(53)),
        (None, Protocol::Tcp, Some(9153)),
        (None, Protocol::Sctp, Some(7)),
    ];
    assert_eq!(ports, want);
}

#[test]
fn what_nobody_needs_is_not_kept() {
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: p}}\n---\n\
                {apiVersion: v1, kind: Service, metadata: {name: s, labels: {a: b}}}";
    let needs = Needs { kinds: KindSet::default().with(Kind::Service), ..Needs::default() };
    let objects = parse("x.yaml", text.as_bytes(), &needs).unwrap();
    let [Object::Service(service)] = objects.as_slice() else { panic!("{objects:?}") };
    assert!(service.labels.is_empty());
}

#[test]
fn mistakes_name_place_cause_and_remedy() {
    let head = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n";
    for (case, text, want) in [
        (
            "broken indentation",
            "kind: Service\nmetadata:\n  name: web\n bad: x\n",
            &[
                "4:2 while parsing a block mapping, did not find expected key | check the indentation",
            ][..],
        ),
        (
            "a name for a port",
            &format!("{head}spec:\n  ports:\n  - port: http\n"),
            &["6:11 `http` is not a port | write a number from 1 to 65535"],
        ),
        ("text where a list belongs", &format!("{head}spec:\n  ports: none\n"), &["5:10 "]),
        (
            "port out of range",
            &format!("{head}spec:\n  ports:\n  - port: 70000\n"),
            &["6:11 `70000` is not a port | write a number"],
        ),
        (
            "bad address, protocol and type at once",
            &format!(
                "{head}spec:\n  type: Clusterip\n  clusterIP: 10.96.0.256\n  \
                 ports: [{{port: 80, protocol: tcp}}]\n"
            ),
            &[
                "5:9 `Clusterip` is not a type of Service | write ClusterIP,",
                "6:14 `10.96.0.256` is not an IP address | write an IPv4 address",
                "7:32 `tcp` is not a protocol of a port | write TCP, UDP or SCTP",
            ],
        ),
        (
            "ExternalName without target",
            &format!("{head}spec: {{type: ExternalName}}\n"),
            &["4:14 a Service of type ExternalName needs `externalName` | add `externalName"],
        ),
        (
            "a name that DNS cannot carry",
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: Web_1\n",
            &["4:9 `Web_1` cannot name a Service | use at most 63"],
        ),
        (
            "no name",
            "# two\n---\napiVersion: v1\nkind: Namespace\nmetadata: {}\n",
            &["3:1 an object without `metadata.name` | add `name` under `metadata`"],
        ),
        (
            "no kind",
            "\nresources: [a.yaml]\n",
            &["2:1 an object without `kind` | add `apiVersion`"],
        ),
        (
            "no apiVersion",
            "kind: Pod\n",
            &["1:7 a Pod without `apiVersion` | add `apiVersion` beside `kind`"],
        ),
        (
            "each document on its own",
            "kind: [\n---\nkind: Pod\n---\nkind: Node\n",
            &["1:7 ", "3:7 a Pod without `apiVersion` | ", "5:7 a Node without `apiVersion` | "],
        ),
        ("text", "just text\n", &["1:1 "]),
        ("same key twice", "apiVersion: v1\nkind: Pod\nkind: Node\n", &["3:1 "]),
    ] {
        let errors = parse("shop.yaml", text.as_bytes(), &everything()).unwrap_err();
        let got: Vec<String> = errors
            .mistakes
            .iter()
            .map(|m| format!("{}:{} {} | {}", m.line, m.column, m.what, m.help))
            .collect();
        let matches =
            got.len() == want.len() && got.iter().zip(want).all(|(g, w)| g.starts_with(w));
        assert!(matches, "{case}\n got {got:#?}\nwant {want:#?}");
        let report = errors.render();
        for mistake in &errors.mistakes {
            let place = format!("shop.yaml:{}:{}", mistake.line, mistake.column);
            assert!(report.contains(&place), "{case}: {place} is missing in\n{report}");
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_a_mistake_with_a_place() {
    let errors = parse("x.yaml", b"kind: Pod\nname: \xff\n", &everything()).unwrap_err();
    let mistake = &errors.mistakes[0];
    assert_eq!((mistake.line, mistake.column), (2, 7));
    assert!(mistake.what.contains("UTF-8"), "{mistake}");
}

#[test]
fn aliases_cannot_blow_up_a_small_file() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let before = format!("*a{}, ", i - 1).repeat(10);
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", before.trim_end_matches(", ")));
    }
    bomb.push_str("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: *a11\n");
    assert!(parse("bomb.yaml", bomb.as_bytes(), &everything()).is_err());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = parse("x.yaml", &bytes, &everything());
    }

    #[test]
    fn no_mangled_manifest_makes_the_parser_panic(
        cut in 0usize..400, at in 0usize..400, with in "[-:{}\\[\\]&*!|>'\"%@` \t\nékS0]{0,4}",
    ) {
        let whole = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata:\n    \
            name: web\n    namespace: shop\n  spec:\n    clusterIPs: [\"10.0.0.1\", 'fd00::1']\n    ports:\n    \
            - {name: http, port: 80}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\n";
        let (at, cut) = (at.min(whole.len()), cut.min(whole.len()));
        let mangled = format!("{}{with}{}", &whole[..at], &whole[at.max(cut)..]);
        if let Err(errors) = parse("x.yaml", mangled.as_bytes(), &everything()) {
            proptest::prop_assert!(!errors.mistakes.is_empty());
            errors.render();
        }
    }
}

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("daymark-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn source(&self) -> Source {
        Source::manifests(&self.0, everything()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn service(name: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{clusterIP: {address}}}\n"
    )
}

fn services(snapshot: &Snapshot) -> String {
    let mut all: Vec<String> = snapshot
        .services
        .iter()
        .filter_map(|(_, state)| state.service.as_ref())
        .map(|service| match &service.kind {
            ServiceKind::Cluster(ips) => format!("{}={}", service.name.name, ips[0]),
            other => format!("{}={other:?}", service.name.name),
        })
        .collect();
    all.sort();
    all.join(" ")
}

/// Waits until the Services are `want`; every state on the way must be one of `also`.
fn wait(reader: &Reader, want: &str, also: &[&str]) {
    struct Tell(mpsc::Sender<String>);
    impl Follow for Tell {
        fn follow(&mut self, _: &Snapshot, next: &Snapshot, _: &Delta) {
            let _ = self.0.send(services(next));
        }
    }
    let (tell, told) = mpsc::channel();
    let _subscription = reader.follow(Box::new(Tell(tell)));
    let mut last = String::from("unknown");
    while last != want {
        last = match told.recv_timeout(Duration::from_secs(20)) {
            Ok(state) => state,
            Err(_) => panic!("waiting for {want:?}, the state stays {last:?}"),
        };
        assert!(last == want || also.contains(&last.as_str()), "{last:?} on the way to {want:?}");
    }
}

#[test]
fn a_folder_is_complete_when_opening_it_returns() {
    let folder = Scratch::new("complete");
    folder.write("a.yaml", &service("web", "10.0.0.1"));
    folder.write("deep/er/b.yml", &service("db", "10.0.0.2"));
    folder
        .write("c.json", "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"}}");
    folder.write("notes.txt", "not: [a manifest");
    folder.write(".hidden.yaml", "not: [a manifest");
    folder.write(".git/x.yaml", "not: [a manifest");
    let source = folder.source();
    assert!(source.reader.synced());
    assert!(source.reader.age().is_some());
    let snapshot = source.reader.snapshot();
    assert_eq!(services(&snapshot), "db=10.0.0.2 web=10.0.0.1");
    let shop = snapshot.namespaces.get("shop").expect("implied by its Services");
    assert_eq!(shop.labels[0], ("kubernetes.io/metadata.name".into(), "shop".into()));
    assert!(source.status().troubles.is_empty());
}

#[test]
fn a_single_file_is_followed_too() {
    let folder = Scratch::new("single");
    folder.write("a.yaml", &service("web", "10.0.0.1"));
    folder.write("b.yaml", &service("other", "10.0.0.9"));
    let source = Source::manifests(folder.0.join("a.yaml"), everything()).unwrap();
    assert_eq!(services(&source.reader.snapshot()), "web=10.0.0.1");
    folder.write("a.yaml.new", &service("web", "10.0.0.2"));
    fs::rename(folder.0.join("a.yaml.new"), folder.0.join("a.yaml")).unwrap();
    wait(&source.reader, "web=10.0.0.2", &["web=10.0.0.1"]);
}

#[test]
fn changes_deletions_and_new_subfolders_are_followed() {
    let folder = Scratch::new("changes");
    folder.write("a.yaml", &service("web", "10.0.0.1"));
    let source = folder.source();
    folder.write("sub/b.yaml", &service("db", "10.0.0.2"));
    wait(&source.reader, "db=10.0.0.2 web=10.0.0.1", &["web=10.0.0.1"]);
    folder.write("sub/b.yaml", &service("db", "10.0.0.3"));
    wait(&source.reader, "db=10.0.0.3 web=10.0.0.1", &["db=10.0.0.2 web=10.0.0.1", "web=10.0.0.1"]);
    fs::remove_file(folder.0.join("a.yaml")).unwrap();
    wait(&source.reader, "db=10.0.0.3", &["db=10.0.0.3 web=10.0.0.1"]);
    fs::remove_dir_all(folder.0.join("sub")).unwrap();
    wait(&source.reader, "", &["db=10.0.0.3"]);
    assert!(source.reader.snapshot().namespaces.is_empty());
}

#[test]
fn a_config_map_swap_shows_the_new_files_at_once() {
    let folder = Scratch::new("swap");
    folder.write("..1/web.yaml", &service("web", "10.0.0.1"));
    folder.write("..1/db.yaml", &service("db", "10.0.0.1"));
    symlink("..1", folder.0.join("..data")).unwrap();
    for file in ["web.yaml", "db.yaml"] {
        symlink(Path::new("..data").join(file), folder.0.join(file)).unwrap();
    }
    let source = folder.source();
    assert_eq!(services(&source.reader.snapshot()), "db=10.0.0.1 web=10.0.0.1");
    for turn in 2..5 {
        let address = format!("10.0.0.{turn}");
        folder.write(&format!("..{turn}/web.yaml"), &service("web", &address));
        folder.write(&format!("..{turn}/db.yaml"), &service("db", &address));
        symlink(format!("..{turn}"), folder.0.join("..data_tmp")).unwrap();
        fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).unwrap();
        fs::remove_dir_all(folder.0.join(format!("..{}", turn - 1))).unwrap();
        let before = turn - 1;
        // Both files at once: never one old and one new.
        wait(
            &source.reader,
            &format!("db=10.0.0.{turn} web=10.0.0.{turn}"),
            &[&format!("db=10.0.0.{before} web=10.0.0.{before}")],
        );
    }
}

#[test]
fn a_broken_file_keeps_its_last_good_state_while_others_go_on() {
    let folder = Scratch::new("broken");
    folder.write("a.yaml", &service("web", "10.0.0.1"));
    folder.write("b.yaml", &service("db", "10.0.0.1"));
    let source = folder.source();
    let both = "db=10.0.0.1 web=10.0.0.1";
    folder.write("a.yaml", "kind: [\n");
    folder.write("b.yaml", &service("db", "10.0.0.2"));
    wait(&source.reader, "db=10.0.0.2 web=10.0.0.1", &[both]);
    let troubles = source.status().troubles;
    assert!(troubles[0].message.contains("a.yaml"), "{troubles:?}");
    folder.write("a.yaml", &service("web", "10.0.0.3"));
    wait(&source.reader, "db=10.0.0.2 web=10.0.0.3", &["db=10.0.0.2 web=10.0.0.1", both]);
    assert!(source.status().troubles.is_empty());
}

#[test]
fn of_two_files_with_one_object_the_later_name_wins() {
    let folder = Scratch::new("twice");
    folder.write("a.yaml", &service("web", "10.0.0.1"));
    folder.write("b.yaml", &service("web", "10.0.0.2"));
    let source = folder.source();
    assert_eq!(services(&source.reader.snapshot()), "web=10.0.0.2");
    fs::remove_file(folder.0.join("b.yaml")).unwrap();
    wait(&source.reader, "web=10.0.0.1", &["web=10.0.0.2"]);
}

#[test]
fn a_folder_that_vanishes_keeps_its_state_and_is_found_again() {
    let folder = Scratch::new("vanish");
    let root = folder.0.join("inner");
    folder.write("inner/a.yaml", &service("web", "10.0.0.1"));
    let source = Source::manifests(&root, everything()).unwrap();
    fs::rename(&root, folder.0.join("away")).unwrap();
    folder.write("next/a.yaml", &service("web", "10.0.0.2"));
    fs::rename(folder.0.join("next"), &root).unwrap();
    wait(&source.reader, "web=10.0.0.2", &["web=10.0.0.1"]);
    folder.write("inner/a.yaml", &service("web", "10.0.0.3"));
    wait(&source.reader, "web=10.0.0.3", &["web=10.0.0.2"]);
}

#[test]
fn what_cannot_be_opened_says_why() {
    let folder = Scratch::new("closed");
    let missing = Source::manifests(folder.0.join("nope"), everything());
    let Err(error @ ManifestError::Unreadable { .. }) = missing else { panic!("opened") };
    assert!(error.to_string().contains("nope"), "{error}");
    folder.write("a.yaml", "kind: Pod\n");
    folder.write("b.yaml", "kind: Node\n");
    let Err(ManifestError::Invalid(errors)) = Source::manifests(&folder.0, everything()) else {
        panic!("opened");
    };
    assert_eq!(errors.mistakes.len(), 2, "all files at once: {errors:?}");
}

#[test]
fn a_namespace_goes_with_the_last_object_that_implies_it() {
    let folder = Scratch::new("implied");
    folder.write("a.yaml", &service("web", "10.0.0.1"));
    let mut all = Folder::new(folder.0.clone(), everything());
    let first = all.pass().unwrap();
    assert_eq!(first.events.len(), 2, "a Service and its namespace: {:?}", first.events);
    folder.write("ns.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    assert!(all.pass().unwrap().events.is_empty(), "declaring it changes nothing");
    fs::remove_file(folder.0.join("a.yaml")).unwrap();
    assert_eq!(all.pass().unwrap().events.len(), 1, "the Service alone goes");
}
