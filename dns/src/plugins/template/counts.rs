//! What templates count.

use prometheus::IntCounterVec;

use crate::metrics::{Metrics, counters};

const MATCHES: [&str; 5] = ["server", "zone", "view", "class", "type"];
const FAILURES: [&str; 7] = ["server", "zone", "view", "class", "type", "section", "template"];

/// Counters of all templates of the process.
#[derive(Clone)]
pub(super) struct Counts {
    /// Queries that a template was for.
    pub(super) matches: IntCounterVec,
    /// Templates that could not be filled in.
    pub(super) failures: IntCounterVec,
    /// Texts that were no records.
    pub(super) rr_failures: IntCounterVec,
}

impl Counts {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let shared = |name, help, labels| metrics.shared(counters(name, help, labels));
        Counts {
            matches: shared(
                "coredns_template_matches_total",
                "Queries that a template was for.",
                &MATCHES[..],
            ),
            failures: shared(
                "coredns_template_template_failures_total",
                "Templates that could not be filled in.",
                &FAILURES[..],
            ),
            rr_failures: shared(
                "coredns_template_rr_failures_total",
                "Templates that made no record.",
                &FAILURES[..],
            ),
        }
    }
}
