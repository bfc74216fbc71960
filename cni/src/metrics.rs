//! What is counted and measured about attachments.

use std::time::Duration;

use daymark_cni_spec::{CniError, Verb};
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::ipam::Fill;

/// Upper bounds of the latencies in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0];

/// Handles to all of them; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    seconds: HistogramVec,
    errors: IntCounterVec,
    addresses: IntGaugeVec,
    /// Attachments that there are.
    pub attachments: IntGauge,
    /// Requests that had to wait because as many as may be were at work.
    pub waited: IntCounter,
    /// Connections that were refused: not root's, or not a request.
    pub refused: IntCounter,
    /// Deletions that a plugin had written down and that were made up for.
    pub replayed: IntCounter,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// If the registry has one of these names already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let seconds = HistogramOpts::new(
            "daymark_cni_request_duration_seconds",
            "How long the agent took for a request of the CNI plugin.",
        );
        let opts = |name: &str, help: &str| Opts::new(name, help);
        let metrics = Metrics {
            seconds: HistogramVec::new(seconds.buckets(BUCKETS.to_vec()), &["verb"])?,
            errors: IntCounterVec::new(
                opts(
                    "daymark_cni_errors_total",
                    "Requests of the CNI plugin that failed, by code.",
                ),
                &["verb", "code"],
            )?,
            addresses: IntGaugeVec::new(
                opts(
                    "daymark_ipam_addresses",
                    "Pod addresses of the node: taken, and all there are.",
                ),
                &["range", "state"],
            )?,
            attachments: IntGauge::new("daymark_cni_attachments", "Attachments that there are.")?,
            waited: IntCounter::new(
                "daymark_cni_waited_total",
                "Requests that found as many at work as there may be, and waited.",
            )?,
            refused: IntCounter::new(
                "daymark_cni_refused_total",
                "Connections to the plugin's socket that were not root's, or brought no request.",
            )?,
            replayed: IntCounter::new(
                "daymark_cni_replayed_deletions_total",
                "Deletions that were noted while the agent was away, and made up for.",
            )?,
        };
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.addresses.clone()))?;
        registry.register(Box::new(metrics.attachments.clone()))?;
        for counter in [&metrics.waited, &metrics.refused, &metrics.replayed] {
            registry.register(Box::new(counter.clone()))?;
        }
        Ok(metrics)
    }

    pub(crate) fn observe(&self, verb: Verb, took: Duration, error: Option<&CniError>) {
        self.seconds.with_label_values(&[verb.as_str()]).observe(took.as_secs_f64());
        if let Some(error) = error {
            self.errors.with_label_values(&[verb.as_str(), &error.code.to_string()]).inc();
        }
    }

    pub(crate) fn observe_fill(&self, fill: &[Fill]) {
        for Fill { range, taken, size } in fill {
            let range = range.to_string();
            let set = |state: &str, value: i64| {
                self.addresses.with_label_values(&[range.as_str(), state]).set(value);
            };
            set("taken", i64::try_from(*taken).unwrap_or(i64::MAX));
            set("size", i64::try_from(*size).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use daymark_cni_spec::code;

    use super::*;

    #[test]
    fn requests_are_timed_and_errors_told_by_code() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        assert!(Metrics::new(&registry).is_err(), "the names are taken");
        let error = CniError::new(code::EXHAUSTED, "no address is left");
        metrics.observe(Verb::Add, Duration::from_millis(3), Some(&error));
        metrics.observe(Verb::Add, Duration::from_millis(4), None);
        let range = "10.0.0.0/24".parse().unwrap();
        metrics.observe_fill(&[Fill { range, taken: 7, size: 253 }]);
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in [
            "daymark_cni_request_duration_seconds_count{verb=\"ADD\"} 2",
            "daymark_cni_errors_total{code=\"101\",verb=\"ADD\"} 1",
            "daymark_ipam_addresses{range=\"10.0.0.0/24\",state=\"taken\"} 7",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
