use std::time::Duration;

use hickory_proto::{op::ResponseCode, rr::RecordType};

use super::{config::Batches, span::Parent, *};
use crate::{
    plugin::{Answer, Failure},
    plugins::stand_in::{Chained, query},
};

/// Keeps what it is sent, and does with it as it is told.
#[derive(Clone)]
struct Kept {
    spans: Arc<Mutex<Vec<Span>>>,
    becomes: fn() -> Sent,
}

impl Kept {
    fn new(becomes: fn() -> Sent) -> Self {
        Kept { spans: Arc::default(), becomes }
    }

    fn take(&self) -> Vec<Span> {
        std::mem::take(&mut self.spans.lock())
    }
}

impl Sender for Kept {
    fn send<'a>(&'a self, spans: &'a [Span]) -> BoxFuture<'a, Sent> {
        self.spans.lock().extend(spans.iter().cloned());
        Box::pin(std::future::ready((self.becomes)()))
    }
}

fn config(format: Format) -> Config {
    Config {
        format,
        endpoint: "http://localhost:1/".parse().unwrap(),
        every: 1,
        service: "dns".to_owned(),
        client_server: false,
        analytics_rate: 0.0,
        batches: Batches::default(),
    }
}

/// A plugin whose spans are kept, in front of one that answers so.
fn traced(
    config: &Config,
    beside: &[&'static str],
    says: impl Fn(&Query) -> Outcome + Send + Sync + 'static,
) -> (Chained, Kept) {
    let trace = Trace::new(config, None, beside.to_vec(), &Metrics::new("test")).unwrap();
    let kept = Kept::new(|| Sent::Taken);
    tokio::spawn(Arc::clone(&trace.reporter).run(kept.clone()));
    (Chained::of(trace, says), kept)
}

async fn spans_of(chain: &Chained, kept: &Kept, query: &Query) -> Vec<Span> {
    // What is answered is looked at by the spans.
    drop(chain.serve(query).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    kept.take()
}

fn good(query: &Query) -> Outcome {
    Ok(Answer::to(query))
}

fn tag<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    span.tags.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
}

#[tokio::test(start_paused = true)]
async fn a_span_is_within_that_of_the_plugin_before() {
    let (chain, kept) = traced(&config(Format::Zipkin), &["errors", "log"], good);
    let asked = query("WWW.example.org.", RecordType::from(65280));
    let spans = spans_of(&chain, &kept, &asked).await;
    let names: Vec<&str> = spans.iter().map(|span| span.name).collect();
    assert_eq!(names, ["stand_in", "log", "errors", "servedns"]);
    for (span, outer) in spans.iter().zip(&spans[1..]) {
        assert_eq!((span.parent, span.trace), (Some(outer.id), outer.trace));
        assert!(!span.is_server && span.tags.is_empty());
    }
    let whole = &spans[3];
    assert_eq!((whole.parent, whole.is_server), (None, true));
    assert_eq!(whole.trace, TraceId { high: 0, low: whole.id });
    assert_eq!(tag(whole, "coredns.io/name"), Some("www.example.org."));
    assert_eq!(tag(whole, "coredns.io/type"), Some("TYPE65280"));
    assert_eq!(tag(whole, "coredns.io/proto"), Some("udp"));
    assert_eq!(tag(whole, "coredns.io/remote"), Some("127.0.0.1"));
    assert_eq!(tag(whole, "coredns.io/rcode"), Some("NOERROR"));
    assert!(whole.failure.is_none());
}

#[tokio::test(start_paused = true)]
async fn one_of_every_so_many_queries_is_traced() {
    let asked = query("www.example.org.", RecordType::A);
    for (every, traced_ones) in [(0, 0), (1, 6), (2, 3), (4, 1), (7, 0)] {
        let (chain, kept) = traced(&Config { every, ..config(Format::Otlp) }, &[], good);
        let mut wholes = 0;
        for _ in 0..6 {
            let spans = spans_of(&chain, &kept, &asked).await;
            wholes += spans.iter().filter(|span| span.name == "servedns").count();
        }
        assert_eq!(wholes, traced_ones, "every {every}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_told_and_what_policy_dropped_is_not() {
    type Case = (fn() -> Failure, &'static str, Option<&'static str>);
    let cases: [Case; 3] = [
        (
            || Failure::new("forward", FailureReason::Overload("too many".into())),
            "SERVFAIL",
            Some("plugin/forward: too many"),
        ),
        (|| Failure::new("acl", FailureReason::Dropped), "NOERROR", None),
        (
            || Failure::with_code("acl", ResponseCode::Refused, FailureReason::Refused),
            "REFUSED",
            None,
        ),
    ];
    for (failure, code, told) in cases {
        let (chain, kept) = traced(&config(Format::Zipkin), &[], move |_| Err(failure()));
        let spans = spans_of(&chain, &kept, &query("a.test.", RecordType::A)).await;
        let whole = spans.last().unwrap();
        assert_eq!(tag(whole, "coredns.io/rcode"), Some(code));
        assert_eq!(whole.failure.as_ref().map(|(_, what)| &**what), told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clients_span_is_gone_on_with() {
    let trace = TraceId { high: 1, low: 2 };
    let with = |sampled| {
        let mut asked = query("a.test.", RecordType::A);
        asked.origin.parent = Some(Parent { trace, span: 3, sampled });
        asked
    };
    let (chain, kept) = traced(&config(Format::Zipkin), &[], good);
    let spans = spans_of(&chain, &kept, &with(None)).await;
    assert_eq!((spans[1].trace, spans[1].parent, spans[1].is_shared), (trace, Some(3), false));
    assert!(spans_of(&chain, &kept, &with(Some(false))).await.is_empty());
    let shared = Config { client_server: true, ..config(Format::Otlp) };
    let (chain, kept) = traced(&shared, &[], good);
    let spans = spans_of(&chain, &kept, &with(Some(true))).await;
    assert_eq!((spans[1].id, spans[1].parent, spans[1].is_shared), (3, None, true));
    assert_eq!(spans[0].parent, Some(3));
    let (chain, kept) = traced(&config(Format::Datadog), &[], good);
    let spans = spans_of(&chain, &kept, &with(Some(true))).await;
    assert_eq!((spans.len(), spans[0].parent), (1, None));
    assert_ne!(spans[0].trace, trace);
}

#[tokio::test(start_paused = true)]
async fn a_question_nested_in_a_traced_one_is_part_of_its_trace() {
    let (chain, kept) = traced(&config(Format::Zipkin), &[], good);
    drop(chain.serve(&query("a.test.", RecordType::A)).await);
    let nested = chain.seen().remove(0);
    let spans = spans_of(&chain, &kept, &nested).await;
    let names: Vec<&str> = spans.iter().map(|span| span.name).collect();
    assert_eq!(names, ["stand_in", "servedns", "stand_in", "trace"]);
    assert!(spans.iter().all(|span| span.trace == spans[0].trace));
    assert_eq!(spans[3].parent, Some(spans[0].id));
}

fn span(id: u64) -> Span {
    let start = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001);
    Span {
        trace: TraceId { high: 0, low: 7 },
        id,
        parent: None,
        name: "servedns",
        is_server: true,
        is_shared: false,
        start,
        duration: Duration::from_nanos(1_500),
        tags: vec![("coredns.io/type", "A".to_owned())],
        failure: None,
    }
}

fn reporter(batches: Batches) -> Arc<Reporter> {
    Reporter::new(batches, prometheus::IntCounter::new("lost", "lost").unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_oldest_spans_go_where_there_are_too_many() {
    let reporter = reporter(Batches { backlog: 3, ..Batches::default() });
    (1..=5).for_each(|id| reporter.report(span(id)));
    let kept = Kept::new(|| Sent::Taken);
    tokio::spawn(Arc::clone(&reporter).run(kept.clone()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(kept.take().iter().map(|span| span.id).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(reporter.lost.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait_and_one_that_failed_is_tried_again() {
    let reporter =
        reporter(Batches { size: 2, interval: Duration::from_secs(3600), ..Batches::default() });
    let kept = Kept::new(|| Sent::Failed("away".to_owned()));
    tokio::spawn(Arc::clone(&reporter).run(kept.clone()));
    tokio::time::sleep(Duration::from_millis(1)).await;
    reporter.report(span(1));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(kept.take().is_empty());
    reporter.report(span(2));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(kept.take().len(), 2);
    // Not at once, however many come.
    reporter.report(span(3));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(kept.take().is_empty());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(kept.take().iter().map(|span| span.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(reporter.lost.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_sent_at_the_end() {
    let reporter = reporter(Batches { interval: Duration::from_secs(3600), ..Batches::default() });
    let kept = Kept::new(|| Sent::Refused("no".to_owned()));
    tokio::spawn(Arc::clone(&reporter).run(kept.clone()));
    reporter.report(span(1));
    Held(Arc::clone(&reporter)).finish().await;
    assert_eq!((kept.take().len(), reporter.lost.get()), (1, 1));
    reporter.report(span(2));
    assert_eq!(reporter.lost.get(), 2);
}

#[test]
fn zipkin_has_spans_as_its_library_for_go_writes_them() {
    let mut failed = Span { parent: Some(9), is_shared: true, ..span(10) };
    failed.failure = Some((failed.start, "plugin/forward: i/o \"timeout\"".to_owned()));
    let at: SocketAddr = "[::1]:53".parse().unwrap();
    let body = zipkin::encode(&[span(7), failed], &zipkin::endpoint("My DNS", Some(at)));
    let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let local = serde_json::json!({ "serviceName": "my dns", "ipv6": "::1", "port": 53 });
    assert_eq!(
        read,
        serde_json::json!([
            {
                "timestamp": 1_700_000_000_000_001_u64, "duration": 1,
                "traceId": "0000000000000007", "id": "0000000000000007", "name": "servedns",
                "kind": "SERVER", "localEndpoint": local, "tags": { "coredns.io/type": "A" },
            },
            {
                "timestamp": 1_700_000_000_000_001_u64, "duration": 1,
                "traceId": "0000000000000007", "id": "000000000000000a",
                "parentId": "0000000000000009", "name": "servedns", "kind": "SERVER",
                "shared": true, "localEndpoint": local,
                "tags": { "coredns.io/type": "A", "error": "true" },
                "annotations": [
                    { "timestamp": 1_700_000_000_000_001_u64, "value": "event:error" },
                    {
                        "timestamp": 1_700_000_000_000_001_u64,
                        "value": "error.object:plugin/forward: i/o \"timeout\"",
                    },
                ],
            },
        ])
    );
}

#[test]
fn datadog_has_as_many_traces_as_spans() {
    for (count, head) in [(1, vec![0x91]), (15, vec![0x9f]), (16, vec![0xdc, 0, 16])] {
        let body = datadog::encode(&vec![span(1); count], "dns", 0.5);
        assert!(body.starts_with(&[&head[..], &[0x91, 0x8c, 0xa4], b"name"].concat()), "{body:?}");
        let rates = body.windows(13).filter(|part| *part == b"_dd1.sr.eausr").count();
        assert_eq!(rates, count);
    }
    let long = Span { tags: vec![("a", "x".repeat(70_000))], ..span(1) };
    let body = datadog::encode(&[long], "dns", 0.0);
    assert!(body.windows(6).any(|part| part == [0xdb, 0, 1, 0x11, 0x70, b'x']));
}
