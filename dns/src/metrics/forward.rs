//! Families of `forward`: one set for each process, whatever is reloaded.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec};

use super::{
    Metrics, counter, counters,
    counters::{TIME_BOUNDS, time_bound},
};

/// What `forward` counts. The label `proxy_name` is always `forward`, as in CoreDNS.
pub struct ForwardMetrics {
    /// `coredns_forward_healthcheck_broken_total`.
    pub all_down: IntCounter,
    /// `coredns_forward_max_concurrent_rejects_total`.
    pub rejects: IntCounter,
    /// `coredns_proxy_request_duration_seconds{proxy_name, to, rcode}`.
    pub duration: HistogramVec,
    /// `coredns_proxy_healthcheck_failures_total{proxy_name, to}`.
    pub check_failures: IntCounterVec,
    /// `coredns_proxy_conn_cache_hits_total{proxy_name, to, proto}`.
    pub hits: IntCounterVec,
    /// `coredns_proxy_conn_cache_misses_total{proxy_name, to, proto}`.
    pub misses: IntCounterVec,
}

impl ForwardMetrics {
    pub(super) fn new() -> Self {
        ForwardMetrics {
            all_down: counter(
                "coredns_forward_healthcheck_broken_total",
                "Queries for which every upstream was down.",
            ),
            rejects: counter(
                "coredns_forward_max_concurrent_rejects_total",
                "Queries refused because too many were under way.",
            ),
            duration: HistogramVec::new(
                HistogramOpts::new(
                    "coredns_proxy_request_duration_seconds",
                    "Time that an upstream took to reply.",
                )
                .buckets((0..TIME_BOUNDS).map(time_bound).collect()),
                &["proxy_name", "to", "rcode"],
            )
            .expect("valid metric and label names"),
            check_failures: counters(
                "coredns_proxy_healthcheck_failures_total",
                "Health checks that failed.",
                &["proxy_name", "to"],
            ),
            hits: counters(
                "coredns_proxy_conn_cache_hits_total",
                "Queries that found an open connection.",
                &["proxy_name", "to", "proto"],
            ),
            misses: counters(
                "coredns_proxy_conn_cache_misses_total",
                "Queries that had to open a connection.",
                &["proxy_name", "to", "proto"],
            ),
        }
    }

    pub(super) fn register(&self, metrics: &Metrics) {
        metrics.register(Box::new(self.all_down.clone()));
        metrics.register(Box::new(self.rejects.clone()));
        metrics.register(Box::new(self.duration.clone()));
        metrics.register(Box::new(self.check_failures.clone()));
        metrics.register(Box::new(self.hits.clone()));
        metrics.register(Box::new(self.misses.clone()));
    }
}
