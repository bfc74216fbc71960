//! OpenTelemetry's protocol (OTLP 1.x) in protobuf: the messages of its trace service that are used.

use std::time::SystemTime;

use prost::Message;

use super::span::Span;

/// `Span.SpanKind`: inside of us, and answering a client.
const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
/// `Status.StatusCode`.
const ERROR: i32 = 2;
/// Who makes the spans.
const SCOPE: &str = "daymark";

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<OneSpan>,
}

/// `InstrumentationScope`.
#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

/// `AnyValue`, of which we have texts.
#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
}

/// `Span`.
#[derive(Clone, PartialEq, Message)]
struct OneSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start: u64,
    #[prost(fixed64, tag = "8")]
    end: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(fixed64, tag = "1")]
    time: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "3")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

/// The body of a request with these.
pub(super) fn encode(spans: &[Span], service: &str) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let scope = Scope { name: SCOPE.to_owned(), version };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: spans.iter().map(encoded).collect() };
    let resource = Resource { attributes: vec![text("service.name", service)] };
    let all = ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans] };
    Request { resource_spans: vec![all] }.encode_to_vec()
}

fn encoded(span: &Span) -> OneSpan {
    let start = nanos(span.start);
    let event = |(at, what): &(SystemTime, String)| Event {
        time: nanos(*at),
        name: "exception".to_owned(),
        attributes: vec![text("exception.message", what)],
    };
    let status = |(_, what): &(SystemTime, String)| Status { message: what.clone(), code: ERROR };
    OneSpan {
        trace_id: [span.trace.high.to_be_bytes(), span.trace.low.to_be_bytes()].concat(),
        span_id: span.id.to_be_bytes().to_vec(),
        parent_span_id: span.parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
        name: span.name.to_owned(),
        kind: if span.is_server { SERVER } else { INTERNAL },
        start,
        end: start.saturating_add(span.duration.as_nanos() as u64),
        attributes: span.tags.iter().map(|(name, value)| text(name, value)).collect(),
        events: span.failure.iter().map(event).collect(),
        status: span.failure.as_ref().map(status),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { text: Some(value.to_owned()) }) }
}

/// Nanoseconds since 1970.
pub(super) fn nanos(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
