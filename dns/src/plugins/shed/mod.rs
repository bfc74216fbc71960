//! Shows under CoreDNS's name what is dropped at a bound. See README.md.
//!
//! There is nothing in the chain: bounds are always on (`server/admission.rs`).

pub mod config;

use prometheus::{IntCounter, IntCounterVec};

use crate::metrics::{Metrics, counters};

/// What was dropped over UDP on one address.
pub struct Shed {
    /// Queries: their client had its share of places on the long way, or there was none.
    pub queries: IntCounter,
    /// Replies that the socket did not take.
    pub replies: IntCounter,
}

impl Shed {
    /// The counters of the address that metrics call `server`.
    pub fn new(server: &str, metrics: &Metrics) -> Self {
        let dropped: IntCounterVec = metrics.shared(counters(
            "coredns_shed_dropped_total",
            "Queries and replies dropped, by server and reason.",
            &["server", "reason"],
        ));
        Shed {
            queries: dropped.with_label_values(&[server, "query"]),
            replies: dropped.with_label_values(&[server, "response"]),
        }
    }
}
