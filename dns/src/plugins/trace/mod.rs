//! What becomes of queries, plugin by plugin, for a program that shows it. See README.md.
//!
//! A query that is traced knows the span that it is in ([`span::Current`]); handing it on begins another
//! within that one, which ends with the answer. Ended spans wait in a [`reporter`] and are sent behind
//! the query's back.

pub mod config;
mod datadog;
mod otlp;
pub mod parent;
mod post;
mod reporter;
pub mod span;
mod zipkin;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use futures::future::BoxFuture;
use http::StatusCode;
use parking_lot::Mutex;

use self::{
    config::{Config, Format},
    post::Target,
    reporter::{Held, Reporter, Sender, Sent},
    span::{Open, Span, TraceId, random_id},
};
use crate::{
    metrics::{Metrics, counters, rcode_label},
    plugin::{FailureReason, Next, Outcome, Plugin, Query},
    server::outbox::Outbox,
    wire::{mnemonics, text},
};

/// Plugins that are no part of the chain here, in the order in which CoreDNS's see a query.
pub const BESIDE: [&str; 4] = ["prometheus", "errors", "log", "dnstap"];
/// After these OTLP has a request tried again.
const BUSY: [StatusCode; 4] = [
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];
/// What the span of a whole query is called.
const WHOLE: &str = "servedns";

/// The `trace` plugin.
pub struct Trace {
    every: u64,
    format: Format,
    client_server: bool,
    /// Of [`BESIDE`] those that the block has.
    beside: Vec<&'static str>,
    tags: &'static Tags,
    seen: AtomicU64,
    reporter: Arc<Reporter>,
    held: Arc<Held>,
    run: Mutex<Option<BoxFuture<'static, ()>>>,
}

/// What is noted of a query.
struct Tags {
    name: &'static str,
    rtype: &'static str,
    proto: &'static str,
    remote: &'static str,
    rcode: &'static str,
}

const TAGS: Tags = Tags {
    name: "coredns.io/name",
    rtype: "coredns.io/type",
    proto: "coredns.io/proto",
    remote: "coredns.io/remote",
    rcode: "coredns.io/rcode",
};

const DATADOG_TAGS: Tags = Tags {
    name: "coredns.io@name",
    rtype: "coredns.io@type",
    proto: "coredns.io@proto",
    remote: "coredns.io@remote",
    rcode: "coredns.io@rcode",
};

/// Encodes spans and sends them.
struct Exporter {
    config: Config,
    target: Target,
    /// Who we are, for Zipkin.
    endpoint: serde_json::Value,
}

impl Trace {
    /// A plugin by its settings, for a block that listens at `at` and has `beside`. It keeps spans
    /// until it is started.
    ///
    /// # Errors
    /// In words for people: the endpoint can't be reached as it should be.
    pub fn new(
        config: &Config,
        at: Option<SocketAddr>,
        beside: Vec<&'static str>,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let lost = metrics.shared(counters(
            "daymark_trace_lost_total",
            "Spans of `trace` that reached nobody, by endpoint.",
            &["endpoint"],
        ));
        let lost = lost.with_label_values(&[&config.endpoint.to_string()]);
        let reporter = Reporter::new(config.batches, lost);
        let exporter = Exporter {
            target: Target::new(&config.endpoint)?,
            endpoint: zipkin::endpoint(&config.service, at),
            config: config.clone(),
        };
        let run = Arc::clone(&reporter).run(exporter);
        Ok(Trace {
            every: config.every,
            format: config.format,
            client_server: config.client_server,
            beside,
            tags: if config.format == Format::Datadog { &DATADOG_TAGS } else { &TAGS },
            seen: AtomicU64::new(0),
            held: Arc::new(Held(Arc::clone(&reporter))),
            reporter,
            run: Mutex::new(Some(Box::pin(run))),
        })
    }

    /// Begins to send, on the runtime that calls it.
    pub fn start(&self) {
        self.run.lock().take().map(tokio::spawn);
    }

    /// What waits to be sent.
    pub fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::clone(&self.held) as Arc<dyn Outbox>
    }

    /// Whether it is the next query's turn.
    fn is_due(&self) -> bool {
        let number = self.seen.fetch_add(1, Relaxed).wrapping_add(1);
        self.every != 0 && number.is_multiple_of(self.every)
    }

    /// The span of the whole query.
    fn begin(&self, query: &Query) -> Option<Open> {
        let parent = query.origin.parent.filter(|_| self.format != Format::Datadog);
        if parent.is_some_and(|parent| parent.sampled == Some(false)) {
            return None;
        }
        let id = random_id();
        let reporter = Arc::clone(&self.reporter);
        let mut open = match parent {
            Some(parent) if self.client_server => {
                let mut open = Open::new(WHOLE, parent.trace, parent.span, None, reporter);
                open.change(|span| span.is_shared = true);
                open
            }
            Some(parent) => Open::new(WHOLE, parent.trace, id, Some(parent.span), reporter),
            None => {
                let high = match self.format {
                    Format::Zipkin => 0,
                    // The time, as Datadog's own tracers have it.
                    Format::Datadog => (micros(SystemTime::now()) / 1_000_000) << 32,
                    Format::Otlp => random_id(),
                };
                Open::new(WHOLE, TraceId { high, low: id }, id, None, reporter)
            }
        };
        open.change(|span| span.is_server = true);
        Some(open)
    }

    /// Notes what was asked and what came of it.
    fn note(&self, open: &mut Open, query: &Query, outcome: &Outcome) {
        let origin = &query.origin;
        open.tag(self.tags.name, text::folded(query.name()));
        open.tag(self.tags.rtype, mnemonics::rtype_text(query.rtype().into()));
        open.tag(self.tags.proto, origin.transport.label());
        open.tag(self.tags.remote, origin.client.ip().to_canonical().to_string());
        let code = match outcome {
            Ok(answer) => answer.code(),
            Err(failure) if failure.reason == FailureReason::Dropped => Default::default(),
            Err(failure) => failure.code,
        };
        open.tag(self.tags.rcode, rcode_label(u16::from(code).into()));
        if let Err(failure) = outcome
            && !matches!(failure.reason, FailureReason::Dropped | FailureReason::Refused)
        {
            open.fail(format!("plugin/{}: {}", failure.plugin, failure.reason));
        }
    }
}

impl Plugin for Trace {
    fn name(&self) -> &'static str {
        "trace"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let due = self.is_due() && !query.span.is_open();
            let Some(mut whole) = due.then(|| self.begin(query)).flatten() else {
                return next.serve(query).await;
            };
            query.metadata.set("trace/traceid", || whole.trace());
            let mut traced = query.clone();
            let mut beside = Vec::new();
            // Datadog is told of the whole alone, as by CoreDNS.
            if self.format != Format::Datadog {
                traced.span = whole.current();
                for name in &self.beside {
                    if let Some(open) = traced.span.child(name) {
                        traced.span = open.current();
                        beside.push(open);
                    }
                }
            }
            let outcome = next.serve(&traced).await;
            // The innermost ends first.
            while beside.pop().is_some() {}
            self.note(&mut whole, query, &outcome);
            outcome
        })
    }
}

impl Sender for Exporter {
    fn send<'a>(&'a self, spans: &'a [Span]) -> BoxFuture<'a, Sent> {
        let service = &self.config.service;
        let (content, fields, body) = match self.config.format {
            // The request itself is not to be traced by what it passes.
            Format::Zipkin => (
                "application/json",
                vec![("b3", "0".to_owned())],
                zipkin::encode(spans, &self.endpoint),
            ),
            Format::Datadog => (
                "application/msgpack",
                vec![
                    ("x-datadog-trace-count", spans.len().to_string()),
                    ("datadog-meta-lang", "rust".to_owned()),
                    ("datadog-meta-tracer-version", env!("CARGO_PKG_VERSION").to_owned()),
                ],
                datadog::encode(spans, service, self.config.analytics_rate),
            ),
            Format::Otlp => ("application/x-protobuf", Vec::new(), otlp::encode(spans, service)),
        };
        Box::pin(async move {
            match self.target.post(content, &fields, body).await {
                Ok(status) if status.is_success() => Sent::Taken,
                Ok(status) if self.config.format == Format::Otlp && BUSY.contains(&status) => {
                    Sent::Failed(format!("status code {}", status.as_u16()))
                }
                Ok(status) => Sent::Refused(format!(
                    "failed the request with status code {}",
                    status.as_u16()
                )),
                Err(what) => Sent::Failed(what),
            }
        })
    }
}

/// Microseconds since 1970.
fn micros(at: SystemTime) -> u64 {
    otlp::nanos(at) / 1000
}

#[cfg(test)]
mod tests;
