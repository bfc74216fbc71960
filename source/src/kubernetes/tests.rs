use std::{fs, net::IpAddr, path::PathBuf, time::Duration};

use daymark_cluster::{Delta, Follow, Kind, KindSet, ServiceKind, Snapshot};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::double::{Double, Reply, failure};
use super::*;
use crate::Source;

mod decode;
mod double;
mod encodings;
mod messages;
mod saved;
mod two_ways;

const SERVICES: &str = "/api/v1/services";

fn only(kinds: &[Kind]) -> Needs {
    Needs { kinds: kinds.iter().copied().collect::<KindSet>(), ..Needs::default() }
}

fn config(url: &str) -> ApiConfig {
    ApiConfig {
        backoff: Backoff { min: Duration::from_millis(1), max: Duration::from_millis(20) },
        ..ApiConfig::new(Access::Endpoint { url: url.to_owned(), tls: None })
    }
}

fn follow(double: &Double) -> Source {
    let needs = only(&[Kind::Service]);
    Source::kubernetes(&config(&double.url()), needs, Arc::new(())).unwrap()
}

fn service(name: &str, version: u64, last: u8) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop", "resourceVersion": version.to_string(),
        "managedFields": [{"f:spec": {}}]}, "spec": {"clusterIP": format!("10.0.0.{last}")}})
}

fn event(verb: &str, object: Value) -> Value {
    json!({"type": verb, "object": object})
}

fn added(name: &str, version: u64, last: u8) -> Value {
    event("ADDED", service(name, version, last))
}

fn bookmark(version: u64) -> Value {
    event("BOOKMARK", json!({"metadata": {"resourceVersion": version.to_string()}}))
}

fn end_of_list(version: u64) -> Value {
    event(
        "BOOKMARK",
        json!({"metadata": {"resourceVersion": version.to_string(),
        "annotations": {"k8s.io/initial-events-end": "true"}}}),
    )
}

fn expired() -> Value {
    event("ERROR", failure(410, "Expired", "too old resource version: 1 (2)"))
}

/// As text: the API writes metadata before items, and that order counts.
fn list(version: u64, next: &str, items: &[Value]) -> String {
    let metadata = json!({"resourceVersion": version.to_string(), "continue": next});
    let items = Value::from(items);
    format!("{{\"kind\":\"ServiceList\",\"metadata\":{metadata},\"items\":{items}}}")
}

fn no_streaming() -> Reply {
    Reply::failure(422, "Invalid", "sendInitialEvents: Forbidden")
}

fn services(snapshot: &Snapshot) -> String {
    let mut all: Vec<String> = snapshot
        .services
        .iter()
        .filter_map(|(_, state)| state.service.as_ref())
        .map(|service| match &service.kind {
            ServiceKind::Cluster(ips) => {
                let IpAddr::V4(ip) = ips[0] else { panic!("{service:?}") };
                format!("{}={}", service.name.name, ip.octets()[3])
            }
            other => format!("{}={other:?}", service.name.name),
        })
        .collect();
    all.sort();
    all.join(" ")
}

/// Waits until the Services are `want`, and returns every state on the way, that one included.
async fn wait(reader: &Reader, want: &str) -> Vec<String> {
    struct Tell(mpsc::UnboundedSender<String>);
    impl Follow for Tell {
        fn follow(&mut self, _: &Snapshot, next: &Snapshot, _: &Delta) {
            let _ = self.0.send(services(next));
        }
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let _subscription = reader.follow(Box::new(Tell(tell)));
    let mut states: Vec<String> = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(20), told.recv()).await {
            Ok(Some(state)) => states.push(state),
            _ => panic!("waiting for {want:?}, the states were {states:?}"),
        }
        if states.last().is_some_and(|state| state == want) {
            return states;
        }
    }
}

async fn wait_synced(reader: &Reader) {
    let synced = async {
        while !reader.synced() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), synced).await.expect("never synced");
}

async fn wait_trouble(source: &Source, part: &str) -> crate::Trouble {
    let found = async {
        loop {
            let troubles = source.status().troubles;
            if let Some(trouble) = troubles.into_iter().find(|t| t.message.contains(part)) {
                return trouble;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(20), found).await {
        Ok(trouble) => trouble,
        Err(_) => panic!("no trouble has {part:?}: {:?}", source.status()),
    }
}

#[tokio::test]
async fn a_streaming_list_is_followed_on_the_same_stream() {
    let double = Double::start().await;
    let (reply, live) = Reply::live(&[added("a", 3, 1), added("b", 5, 2), end_of_list(9)]);
    double.script(SERVICES, [reply]);
    let source = follow(&double);
    wait(&source.reader, "a=1 b=2").await;
    assert!(source.reader.synced());
    assert!(source.reader.age().is_some());
    for (line, want) in [
        (event("MODIFIED", service("a", 10, 7)), "a=7 b=2"),
        (event("DELETED", service("b", 11, 2)), "a=7"),
        (added("c", 12, 3), "a=7 c=3"),
    ] {
        live.send(format!("{line}\n").into_bytes()).unwrap();
        wait(&source.reader, want).await;
    }
    let seen = double.seen(SERVICES);
    assert_eq!(seen.len(), 1, "{seen:?}");
    for part in ["watch=1", "sendInitialEvents=true", "resourceVersionMatch=NotOlderThan"] {
        assert!(seen[0].query.contains(part), "{seen:?}");
    }
    assert!(seen[0].head.to_lowercase().contains("user-agent: daymark/"), "{seen:?}");
}

#[tokio::test]
async fn without_streaming_lists_it_pages_and_remembers() {
    let double = Double::start().await;
    double.script(
        SERVICES,
        [
            no_streaming(),
            Reply::json(200, &list(20, "p/2=", &[service("a", 3, 1), service("b", 5, 2)])),
            Reply::json(200, &list(20, "", &[service("c", 7, 3)])),
            Reply::ended(&[bookmark(30), expired()]),
            Reply::json(200, &list(40, "", &[service("b", 5, 2), service("c", 33, 4)])),
        ],
    );
    let source = follow(&double);
    let states = wait(&source.reader, "b=2 c=4").await;
    let mut filled = states.iter().skip_while(|state| state.is_empty());
    assert!(
        filled.all(|state| !state.is_empty()),
        "a relist never empties what is shown: {states:?}"
    );
    double.request(SERVICES, 6).await;
    let queries: Vec<String> = double.seen(SERVICES).into_iter().map(|seen| seen.query).collect();
    assert!(queries[0].contains("sendInitialEvents"), "{queries:#?}");
    assert_eq!(queries[1], "limit=500");
    assert_eq!(queries[2], "limit=500&continue=p%2F2%3D");
    assert!(queries[3].contains("watch=1") && queries[3].contains("resourceVersion=20"));
    assert_eq!(queries[4], "limit=500&resourceVersion=30&resourceVersionMatch=NotOlderThan");
    assert!(queries[5].contains("watch=1") && queries[5].contains("resourceVersion=40"));
}

#[tokio::test]
async fn a_relist_after_410_sweeps_what_is_gone_and_keeps_the_rest() {
    for as_status in [true, false] {
        let double = Double::start().await;
        let second = if as_status {
            Reply::failure(410, "Gone", "too old resource version")
        } else {
            Reply::ended(&[expired()])
        };
        double.script(
            SERVICES,
            [
                Reply::ended(&[added("a", 3, 1), added("b", 5, 2), end_of_list(9)]),
                second,
                Reply::watch(&[added("b", 5, 2), added("c", 12, 3), end_of_list(15)]),
            ],
        );
        let source = follow(&double);
        let states = wait(&source.reader, "b=2 c=3").await;
        let allowed = ["", "a=1 b=2", "b=2 c=3"];
        assert!(states.iter().all(|state| allowed.contains(&state.as_str())), "{states:?}");
        let seen = double.request(SERVICES, 3).await;
        assert!(seen.query.contains("resourceVersion=9&") || seen.query.ends_with("Version=9"));
        assert!(seen.query.contains("sendInitialEvents"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_silent_watch_is_begun_anew_from_the_last_bookmark() {
    let double = Double::start().await;
    double.script(
        SERVICES,
        [
            Reply::watch(&[added("a", 3, 1), end_of_list(9), bookmark(21), bookmark(15)]),
            Reply::watch(&[event("MODIFIED", service("a", 22, 2))]),
        ],
    );
    let mut config = config(&double.url());
    config.silence = Duration::from_millis(200);
    let source = Source::kubernetes(&config, only(&[Kind::Service]), Arc::new(())).unwrap();
    wait(&source.reader, "a=2").await;
    let again = double.request(SERVICES, 2).await;
    assert!(again.query.contains("resourceVersion=21"), "not the older bookmark: {again:?}");
    let next = double.request(SERVICES, 3).await;
    assert!(next.query.contains("resourceVersion=22"), "{next:?}");
}

#[tokio::test]
async fn a_stream_that_breaks_off_resumes_from_the_last_whole_line() {
    let double = Double::start().await;
    let half = br#"{"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVer"#;
    double.script(
        SERVICES,
        [
            Reply::ended(&[added("a", 3, 1), end_of_list(9), added("b", 12, 2)]).with(half),
            Reply::ended(&[]).with(b"<html>\n"),
            Reply::watch(&[event("MODIFIED", service("a", 14, 4))]),
        ],
    );
    let source = follow(&double);
    wait(&source.reader, "a=4 b=2").await;
    for n in [2, 3] {
        let seen = double.request(SERVICES, n).await;
        assert!(seen.query.contains("resourceVersion=12"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_stale_list_never_replaces_newer_data() {
    let double = Double::start().await;
    double.script(
        SERVICES,
        [
            no_streaming(),
            Reply::json(200, &list(20, "", &[service("a", 3, 1), service("b", 5, 2)])),
            Reply::ended(&[event("DELETED", service("b", 30, 2)), added("c", 31, 3), expired()]),
            // A server that has not caught up: it still has `b` and not yet `c`.
            Reply::json(200, &list(25, "", &[service("a", 3, 1), service("b", 5, 2)])),
            Reply::failure(504, "Timeout", "Too large resource version: 31, current: 25"),
            Reply::json(200, &list(40, "", &[service("a", 35, 5), service("c", 31, 3)])),
        ],
    );
    let source = follow(&double);
    wait(&source.reader, "a=1 c=3").await;
    let states = wait(&source.reader, "a=5 c=3").await;
    assert!(states.iter().all(|state| !state.contains('b')), "{states:?}");
    assert!(states.iter().all(|state| state.contains("c=3")), "{states:?}");
}

#[tokio::test]
async fn a_history_that_went_back_for_good_is_taken_over() {
    let double = Double::start().await;
    let behind = || Reply::failure(504, "Timeout", "Too large resource version: 31, current: 7");
    double.script(SERVICES, [Reply::ended(&[added("a", 30, 1), end_of_list(31), expired()])]);
    double.script(SERVICES, (0..20).map(|_| behind()));
    double.script(SERVICES, [Reply::watch(&[added("a", 4, 2), end_of_list(7), added("b", 8, 3)])]);
    let source = follow(&double);
    wait(&source.reader, "a=2 b=3").await;
    let last = double.request(SERVICES, 22).await;
    assert!(!last.query.contains("resourceVersion="), "the most recent, by quorum: {last:?}");
}

#[tokio::test]
async fn what_is_forbidden_is_told_with_its_remedy_and_tried_again() {
    let double = Double::start().await;
    let forbidden = || {
        Reply::failure(
            403,
            "Forbidden",
            "endpointslices.discovery.k8s.io is forbidden: User \"system:serviceaccount:x:dns\" \
             cannot list resource \"endpointslices\"",
        )
    };
    let slices = "/apis/discovery.k8s.io/v1/endpointslices";
    double.script(SERVICES, [Reply::watch(&[end_of_list(9)])]);
    double.script(slices, [forbidden(), forbidden(), forbidden()]);
    double.script(slices, [Reply::watch(&[end_of_list(9)])]);
    let needs = only(&[Kind::Service, Kind::EndpointSlice]);
    let source = Source::kubernetes(&config(&double.url()), needs, Arc::new(())).unwrap();
    let trouble = wait_trouble(&source, "403").await;
    assert_eq!(trouble.kind, Some(Kind::EndpointSlice));
    for part in [
        "http://127.0.0.1:",
        "list and watch endpointslices",
        "system:serviceaccount:x:dns",
        "{apiGroups: [\"discovery.k8s.io\"], resources: [endpointslices], verbs: [list, watch]}",
    ] {
        assert!(trouble.message.contains(part), "{part} is missing in {}", trouble.message);
    }
    wait_synced(&source.reader).await;
    assert!(source.status().troubles.is_empty());
}

#[tokio::test]
async fn a_rotated_token_is_used_on_the_next_request() {
    let double = Double::start().await;
    let folder = std::env::temp_dir().join(format!("daymark-token-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let token = folder.join("token");
    fs::write(&token, "first\n").unwrap();
    let file = folder.join("kubeconfig");
    fs::write(
        &file,
        format!(
            "{{apiVersion: v1, kind: Config, current-context: x, \
             clusters: [{{name: x, cluster: {{server: '{}'}}}}], \
             users: [{{name: x, user: {{tokenFile: '{}'}}}}], \
             contexts: [{{name: x, context: {{cluster: x, user: x}}}}]}}",
            double.url(),
            token.display()
        ),
    )
    .unwrap();
    let (reply, live) = Reply::live(&[end_of_list(9)]);
    double.script(SERVICES, [reply]);
    let access = Access::Kubeconfig { path: PathBuf::from(&file), context: None };
    let config = ApiConfig { access, ..config("") };
    let source = Source::kubernetes(&config, only(&[Kind::Service]), Arc::new(())).unwrap();
    wait_synced(&source.reader).await;
    fs::write(&token, "second\n").unwrap();
    drop(live);
    double.request(SERVICES, 2).await;
    let seen = double.seen(SERVICES);
    let bearer = |n: usize| {
        let mut lines = seen[n].head.lines();
        lines.find(|line| line.to_lowercase().starts_with("authorization:")).unwrap().to_owned()
    };
    assert!(bearer(0).ends_with("Bearer first"), "{}", bearer(0));
    assert!(bearer(1).ends_with("Bearer second"), "{}", bearer(1));
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn an_api_that_is_away_is_named_and_found_again() {
    let double = Double::start().await;
    let address = double.address;
    double.script(SERVICES, [Reply::watch(&[added("a", 3, 1), end_of_list(9)])]);
    let source = follow(&double);
    wait(&source.reader, "a=1").await;
    drop(double);
    let trouble = wait_trouble(&source, "cannot be reached").await;
    assert_eq!(trouble.kind, None);
    assert!(trouble.message.contains(&format!("http://{address}")), "{trouble:?}");
    assert!(trouble.message.contains("check that the API server runs"), "{trouble:?}");
    assert_eq!(services(&source.reader.snapshot()), "a=1", "the last state stays");
    let double = Double::at(address).await;
    let (relist, live) = Reply::live(&[added("a", 10, 2), end_of_list(12)]);
    double.script(SERVICES, [Reply::ended(&[expired()]), relist]);
    wait(&source.reader, "a=2").await;
    assert!(source.status().troubles.is_empty());
    drop(live);
    assert!(double.request(SERVICES, 1).await.query.contains("resourceVersion=9"));
}

#[tokio::test]
async fn a_host_that_has_no_address_is_named() {
    let needs = only(&[Kind::Service]);
    let source =
        Source::kubernetes(&config("http://api.invalid:6443"), needs, Arc::new(())).unwrap();
    let trouble = wait_trouble(&source, "api.invalid:6443").await;
    assert!(trouble.message.contains("check the host name"), "{trouble:?}");
}

#[tokio::test]
async fn without_its_crd_an_import_holds_up_nobody() {
    let double = Double::start().await;
    let imports = "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports";
    double.script(SERVICES, [Reply::watch(&[added("a", 3, 1), end_of_list(9)])]);
    double.script(imports, [Reply::failure(404, "NotFound", "not found")]);
    let needs = only(&[Kind::Service, Kind::ServiceImport]);
    let source = Source::kubernetes(&config(&double.url()), needs, Arc::new(())).unwrap();
    wait_synced(&source.reader).await;
    let trouble = wait_trouble(&source, "serviceimports").await;
    assert!(trouble.message.contains("install the ServiceImport CRD"), "{trouble:?}");
    double.request(imports, 2).await;
}

#[tokio::test]
async fn dropping_the_source_ends_its_requests() {
    let double = Double::start().await;
    let (reply, live) = Reply::live(&[added("a", 3, 1), end_of_list(9)]);
    double.script(SERVICES, [reply]);
    let source = follow(&double);
    wait(&source.reader, "a=1").await;
    let reader = source.reader.clone();
    drop(source);
    // The response's receiver goes once the double notices that nobody reads.
    let closed = async {
        while live.send(b"\n".to_vec()).is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed).await.expect("the stream stayed open");
    assert_eq!(services(&reader.snapshot()), "a=1", "readers keep the last state");
}

#[tokio::test]
async fn those_who_count_are_told() {
    #[derive(Default)]
    struct Count(parking_lot::Mutex<Vec<String>>);
    impl ApiObserver for Count {
        fn requested(&self, request: Requested<'_>) {
            let (method, code) = (request.method, request.code);
            self.0.lock().push(format!("{method} watch={} {code:?}", request.watch));
        }
        fn listed(&self, kind: Kind) {
            self.0.lock().push(format!("listed {}", kind.plural()));
        }
        fn restarted(&self, _: Kind, why: Restart) {
            self.0.lock().push(format!("restarted {why:?}"));
        }
        fn changed(&self, _: Kind, count: usize) {
            self.0.lock().push(format!("changed {count}"));
        }
    }
    let double = Double::start().await;
    double.script(
        SERVICES,
        [
            no_streaming(),
            Reply::json(200, &list(20, "", &[service("a", 3, 1), service("b", 3, 1)])),
            Reply::ended(&[added("c", 21, 3)]),
        ],
    );
    let count = Arc::new(Count::default());
    let observer: Arc<dyn ApiObserver> = Arc::<Count>::clone(&count);
    let _source =
        Source::kubernetes(&config(&double.url()), only(&[Kind::Service]), observer).unwrap();
    double.request(SERVICES, 4).await;
    let told: Vec<String> =
        count.0.lock().iter().filter(|line| *line != "changed 0").take(7).cloned().collect();
    let want = [
        "GET watch=true Some(422)",
        "GET watch=false Some(200)",
        "changed 2",
        "listed services",
        "GET watch=true Some(200)",
        "changed 1",
        "restarted Ended",
    ];
    assert_eq!(told, want);
}
