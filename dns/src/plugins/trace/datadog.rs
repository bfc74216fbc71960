//! What Datadog's agent takes (version 0.4 of its traces): MessagePack, a list of traces, each a list of
//! spans. Only what answers a client is sent, as CoreDNS does.

use super::{otlp::nanos, span::Span};

/// The body of a request with these, each a trace of its own.
pub(super) fn encode(spans: &[Span], service: &str, analytics_rate: f64) -> Vec<u8> {
    let mut out = Vec::new();
    head(&mut out, 0x90, 0xdc, spans.len());
    for span in spans {
        head(&mut out, 0x90, 0xdc, 1);
        encode_one(&mut out, span, service, analytics_rate);
    }
    out
}

fn encode_one(out: &mut Vec<u8>, span: &Span, service: &str, analytics_rate: f64) {
    head(out, 0x80, 0xde, 12);
    for (name, value) in
        [("name", span.name), ("service", service), ("resource", span.name), ("type", "")]
    {
        text(out, name);
        text(out, value);
    }
    text(out, "start");
    signed(out, nanos(span.start) as i64);
    text(out, "duration");
    signed(out, span.duration.as_nanos() as i64);
    for (name, value) in [
        ("span_id", span.id),
        ("trace_id", span.trace.low),
        ("parent_id", span.parent.unwrap_or(0)),
    ] {
        text(out, name);
        unsigned(out, value);
    }
    text(out, "error");
    signed(out, span.failure.is_some().into());
    let mut meta = vec![
        ("dns", "true".to_owned()),
        ("language", "rust".to_owned()),
        ("_dd.p.tid", format!("{:016x}", span.trace.high)),
    ];
    meta.extend(span.tags.iter().cloned());
    if let Some((_, what)) = &span.failure {
        meta.extend([("error.message", what.clone()), ("error.type", "dns_error".to_owned())]);
    }
    text(out, "meta");
    head(out, 0x80, 0xde, meta.len());
    for (name, value) in &meta {
        text(out, name);
        text(out, value);
    }
    let mut metrics = vec![("_dd.top_level", 1.0), ("_sampling_priority_v1", 1.0)];
    if analytics_rate > 0.0 {
        metrics.push(("_dd1.sr.eausr", analytics_rate));
    }
    text(out, "metrics");
    head(out, 0x80, 0xde, metrics.len());
    for (name, value) in metrics {
        text(out, name);
        out.push(0xcb);
        out.extend(f64::to_be_bytes(value));
    }
}

/// The head of a list or a map: `short` for up to 15, else `long` with 16 bits, or the next with 32.
fn head(out: &mut Vec<u8>, short: u8, long: u8, count: usize) {
    match count {
        0..=15 => out.push(short | count as u8),
        16..=0xffff => {
            out.push(long);
            out.extend((count as u16).to_be_bytes());
        }
        _ => {
            out.push(long + 1);
            out.extend((count as u32).to_be_bytes());
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        short @ 0..=31 => out.push(0xa0 | short as u8),
        long @ 32..=0xff => out.extend([0xd9, long as u8]),
        long @ 0x100..=0xffff => {
            out.push(0xda);
            out.extend((long as u16).to_be_bytes());
        }
        long => {
            out.push(0xdb);
            out.extend((long as u32).to_be_bytes());
        }
    }
    out.extend(text.as_bytes());
}

fn signed(out: &mut Vec<u8>, number: i64) {
    out.push(0xd3);
    out.extend(number.to_be_bytes());
}

fn unsigned(out: &mut Vec<u8>, number: u64) {
    out.push(0xcf);
    out.extend(number.to_be_bytes());
}
