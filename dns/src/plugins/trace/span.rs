//! What a query did and for how long: spans, one within the other.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::reporter::Reporter;

/// A trace's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId {
    /// The first eight octets; 0 where there are eight in all.
    pub high: u64,
    /// The last eight.
    pub low: u64,
}

/// A client's span that a query belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its trace.
    pub trace: TraceId,
    /// Its number.
    pub span: u64,
    /// Whether the client keeps the trace; `None` leaves that to us.
    pub sampled: Option<bool>,
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Span {
    /// The trace that it is part of.
    pub trace: TraceId,
    /// Its number, never 0.
    pub id: u64,
    /// The span that it is within.
    pub parent: Option<u64>,
    /// What was done.
    pub name: &'static str,
    /// Whether it answers a client.
    pub is_server: bool,
    /// Whether the client began it.
    pub is_shared: bool,
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// What else is known.
    pub tags: Vec<(&'static str, String)>,
    /// What went wrong, and when.
    pub failure: Option<(SystemTime, String)>,
}

/// The span that a query is in now; none if it is not traced.
#[derive(Clone, Default)]
pub struct Current(Option<Arc<Within>>);

struct Within {
    reporter: Arc<Reporter>,
    trace: TraceId,
    span: u64,
}

/// A span that goes on. It ends when it is dropped, and is reported.
pub struct Open {
    span: Option<Span>,
    begun: Instant,
    reporter: Arc<Reporter>,
}

impl fmt::Display for TraceId {
    /// 16 digits of hexadecimal, or 32.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.high != 0 {
            write!(f, "{:016x}", self.high)?;
        }
        write!(f, "{:016x}", self.low)
    }
}

/// A number that no other span is likely to have.
pub(super) fn random_id() -> u64 {
    rand::random_range(1..=u64::MAX)
}

impl Current {
    /// Whether the query is traced.
    pub fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a span within this one. `None` if the query is not traced.
    pub fn child(&self, name: &'static str) -> Option<Open> {
        let within = self.0.as_ref()?;
        let (parent, reporter) = (Some(within.span), Arc::clone(&within.reporter));
        Some(Open::new(name, within.trace, random_id(), parent, reporter))
    }
}

impl Open {
    pub(super) fn new(
        name: &'static str,
        trace: TraceId,
        id: u64,
        parent: Option<u64>,
        reporter: Arc<Reporter>,
    ) -> Self {
        let span = Span {
            trace,
            id,
            parent,
            name,
            is_server: false,
            is_shared: false,
            start: SystemTime::now(),
            duration: Duration::ZERO,
            tags: Vec::new(),
            failure: None,
        };
        Open { span: Some(span), begun: Instant::now(), reporter }
    }

    /// For what goes on within this span.
    pub fn current(&self) -> Current {
        let within = |span: &Span| Within {
            reporter: Arc::clone(&self.reporter),
            trace: span.trace,
            span: span.id,
        };
        Current(self.span.as_ref().map(within).map(Arc::new))
    }

    /// The number of its trace.
    pub(super) fn trace(&self) -> String {
        self.span.as_ref().map(|span| span.trace.to_string()).unwrap_or_default()
    }

    /// Notes something about it.
    pub fn tag(&mut self, name: &'static str, value: impl Into<String>) {
        self.change(|span| span.tags.push((name, value.into())));
    }

    /// Notes what went wrong.
    pub fn fail(&mut self, what: impl Into<String>) {
        self.change(|span| span.failure = Some((SystemTime::now(), what.into())));
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut Span)) {
        if let Some(span) = &mut self.span {
            change(span);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.duration = self.begun.elapsed();
            self.reporter.report(span);
        }
    }
}
