//! Zipkin's second version in JSON, as its library for Go writes it.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::{micros, span::Span};

/// Who we are, in each span.
pub(super) fn endpoint(service: &str, at: Option<SocketAddr>) -> Value {
    let mut endpoint = json!({ "serviceName": service.to_lowercase() });
    if let Some(at) = at {
        let family = if at.is_ipv4() { "ipv4" } else { "ipv6" };
        endpoint[family] = json!(at.ip().to_string());
        endpoint["port"] = json!(at.port());
    }
    endpoint
}

/// The body of a request with these.
pub(super) fn encode(spans: &[Span], endpoint: &Value) -> Vec<u8> {
    let all: Vec<Value> = spans.iter().map(|span| encoded(span, endpoint)).collect();
    Value::Array(all).to_string().into_bytes()
}

fn encoded(span: &Span, endpoint: &Value) -> Value {
    let mut out = json!({
        "timestamp": micros(span.start),
        // None is shorter than the clock can tell.
        "duration": (span.duration.as_micros() as u64).max(1),
        "traceId": span.trace.to_string(),
        "id": format!("{:016x}", span.id),
        "name": span.name,
        "localEndpoint": endpoint,
    });
    if let Some(parent) = span.parent {
        out["parentId"] = json!(format!("{parent:016x}"));
    }
    if span.is_server {
        out["kind"] = json!("SERVER");
    }
    if span.is_shared {
        out["shared"] = json!(true);
    }
    let mut tags: Map<String, Value> =
        span.tags.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    if let Some((at, what)) = &span.failure {
        tags.insert("error".to_owned(), json!("true"));
        let note = |value: String| json!({ "timestamp": micros(*at), "value": value });
        out["annotations"] =
            json!([note("event:error".to_owned()), note(format!("error.object:{what}"))]);
    }
    if !tags.is_empty() {
        out["tags"] = Value::Object(tags);
    }
    out
}
