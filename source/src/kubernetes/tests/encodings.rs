//! Which encoding is asked for, and that what comes counts.

use super::{
    messages::{failure as protobuf_failure, frame},
    *,
};

const IMPORTS: &str = "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports";

/// A watch in protobuf of these events.
fn frames(reply: Reply, events: &[Value]) -> Reply {
    reply.protobuf(events.iter().map(|event| frame(Kind::Service, event)).collect())
}

fn accepted(seen: &double::Seen) -> String {
    let mut lines = seen.head.lines();
    let accept =
        lines.find_map(|line| line.to_lowercase().strip_prefix("accept: ").map(Into::into));
    accept.unwrap_or_default()
}

#[tokio::test]
async fn protobuf_is_followed_like_json() {
    let double = Double::start().await;
    let (reply, live) = Reply::live(&[]);
    let list = [added("a", 3, 1), added("b", 5, 2), end_of_list(9)];
    double.script(
        SERVICES,
        [frames(reply, &list), Reply::watch(&[added("d", 14, 4), end_of_list(20)])],
    );
    let source = follow(&double);
    wait(&source.reader, "a=1 b=2").await;
    assert!(source.reader.synced());
    for (event, want) in [
        (event("MODIFIED", service("a", 10, 7)), "a=7 b=2"),
        (event("DELETED", service("b", 11, 2)), "a=7"),
        (added("c", 12, 3), "a=7 c=3"),
    ] {
        // In two parts, cut within the length.
        let bytes = frame(Kind::Service, &event);
        let (start, end) = bytes.split_at(3);
        live.send(start.to_vec()).unwrap();
        live.send(end.to_vec()).unwrap();
        wait(&source.reader, want).await;
    }
    let seen = double.seen(SERVICES);
    assert_eq!(seen.len(), 1, "{seen:?}");
    let both = "application/vnd.kubernetes.protobuf, application/json;q=0.9";
    assert_eq!(accepted(&seen[0]), both);
    // What the next answer is written in counts, not what this one was.
    live.send(frame(Kind::Service, &expired())).unwrap();
    wait(&source.reader, "d=4").await;
}

#[tokio::test]
async fn a_failure_in_protobuf_is_understood() {
    let double = Double::start().await;
    let refused = failure(422, "Invalid", "sendInitialEvents: Forbidden");
    let gone = failure(410, "Expired", "too old resource version");
    double.script(
        SERVICES,
        [
            Reply::failure(422, "", "").protobuf(vec![protobuf_failure(&refused)]),
            Reply::json(200, &list(20, "", &[service("a", 3, 1)])),
            Reply::failure(410, "", "").protobuf(vec![protobuf_failure(&gone)]),
            Reply::json(200, &list(40, "", &[service("b", 5, 2)])),
        ],
    );
    let source = follow(&double);
    wait(&source.reader, "b=2").await;
    let seen = double.seen(SERVICES);
    assert_eq!(accepted(&seen[1]), "application/json", "pages are JSON");
    assert!(accepted(&seen[2]).contains("protobuf"), "{seen:?}");
}

#[tokio::test]
async fn custom_resources_are_asked_for_as_json() {
    let double = Double::start().await;
    let needs = only(&[Kind::ServiceImport]);
    let _source = Source::kubernetes(&config(&double.url()), needs, Arc::new(())).unwrap();
    assert_eq!(accepted(&double.request(IMPORTS, 1).await), "application/json");
}

#[tokio::test]
async fn who_refuses_the_offer_of_protobuf_is_asked_for_json() {
    let double = Double::start().await;
    double.script(
        SERVICES,
        [
            Reply::failure(406, "NotAcceptable", "only application/json is served"),
            Reply::ended(&[added("a", 3, 1), end_of_list(9)]),
            Reply::watch(&[added("b", 12, 2)]),
        ],
    );
    let source = follow(&double);
    wait(&source.reader, "a=1 b=2").await;
    let accepted: Vec<String> = double.seen(SERVICES).iter().map(accepted).collect();
    assert!(accepted[0].contains("protobuf"), "{accepted:?}");
    assert_eq!(accepted[1..], ["application/json", "application/json"]);
}

#[tokio::test]
async fn a_stream_that_is_not_what_it_says_is_told_of_and_resumed() {
    let double = Double::start().await;
    let list = [added("a", 3, 1), end_of_list(9), added("b", 12, 2)];
    double.script(
        SERVICES,
        [
            frames(Reply::ended(&[]), &list),
            Reply::ended(&[]).protobuf(vec![b"{\"type\":\"ADDED\"}\n".to_vec()]),
            Reply::ended(&[]).protobuf(vec![b"\0\0\0\x03abc".to_vec()]),
            frames(Reply::watch(&[]), &[event("MODIFIED", service("a", 14, 4))]),
        ],
    );
    let source = follow(&double);
    wait(&source.reader, "a=4 b=2").await;
    for n in [2, 3, 4] {
        let seen = double.request(SERVICES, n).await;
        assert!(seen.query.contains("resourceVersion=12"), "{seen:?}");
    }
}
