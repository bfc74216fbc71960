//! What the API client does, as CoreDNS counts it (`coredns_kubernetes_rest_client_*`).

use std::{sync::Arc, time::Duration};

use daymark_cluster::Kind;
use daymark_dns::metrics::Metrics;
use daymark_source::kubernetes::{ApiObserver, Requested, Restart};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};

/// Counts requests, waits and relists.
pub(crate) struct ApiMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
    waits: HistogramVec,
    lists: IntCounterVec,
    restarts: IntCounterVec,
    changes: IntCounterVec,
    saves: IntCounterVec,
}

impl ApiMetrics {
    /// Counters in the server's registry.
    pub(crate) fn new(metrics: &Metrics) -> Arc<Self> {
        Arc::new(ApiMetrics {
            requests: metrics.shared(counters(
                "coredns_kubernetes_rest_client_requests_total",
                "HTTP requests to the API server by status code, method and host.",
                &["code", "method", "host"],
            )),
            durations: metrics.shared(histograms(
                "coredns_kubernetes_rest_client_request_duration_seconds",
                "Time until the API server answered, by verb and host; watches left out.",
            )),
            waits: metrics.shared(histograms(
                "coredns_kubernetes_rest_client_rate_limiter_duration_seconds",
                "Time that requests waited for the limits of the Corefile, by verb and host.",
            )),
            lists: metrics.shared(counters(
                "daymark_source_lists_total",
                "Complete lists taken over, by kind.",
                &["kind"],
            )),
            restarts: metrics.shared(counters(
                "daymark_source_watch_restarts_total",
                "Watches that go on from where another one stopped, by kind and reason.",
                &["kind", "reason"],
            )),
            saves: metrics.shared(counters(
                "daymark_state_saves_total",
                "Times that the state was to be written to disk, by what came of it.",
                &["outcome"],
            )),
            changes: metrics.shared(counters(
                "daymark_source_changes_total",
                "Changes seen, those of lists included, by kind.",
                &["kind"],
            )),
        })
    }
}

impl ApiObserver for ApiMetrics {
    fn requested(&self, request: Requested<'_>) {
        let code = request.code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
        self.requests.with_label_values(&[code.as_str(), request.method, request.host]).inc();
        if !request.watch {
            let duration = self.durations.with_label_values(&[request.method, request.host]);
            duration.observe(request.latency.as_secs_f64());
        }
    }

    fn limited(&self, host: &str, method: &'static str, waited: Duration) {
        self.waits.with_label_values(&[method, host]).observe(waited.as_secs_f64());
    }

    fn listed(&self, kind: Kind) {
        self.lists.with_label_values(&[kind.plural()]).inc();
    }

    fn restarted(&self, kind: Kind, why: Restart) {
        let reason = match why {
            Restart::Ended => "ended",
            Restart::Broken => "broken",
            Restart::Silent => "silent",
        };
        self.restarts.with_label_values(&[kind.plural(), reason]).inc();
    }

    fn saved(&self, well: bool) {
        let outcome = if well { "success" } else { "failure" };
        self.saves.with_label_values(&[outcome]).inc();
    }

    fn changed(&self, kind: Kind, count: usize) {
        self.changes.with_label_values(&[kind.plural()]).inc_by(count as u64);
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("valid metric and label names")
}

fn histograms(name: &str, help: &str) -> HistogramVec {
    let options = HistogramOpts::new(name, help);
    HistogramVec::new(options, &["verb", "host"]).expect("valid metric and label names")
}
