//! Metrics: what CoreDNS exports under the same names, and `daymark_*` beside it.
//!
//! [`counters`] holds what is counted per query: arrays of integers that one thread writes without
//! locks and a scrape adds up. Everything rarer uses the `prometheus` crate's own types. Both end
//! in one [`Metrics`] registry.

pub mod cluster;
pub mod counters;
pub(crate) mod families;
mod forward;

use std::{
    any::Any,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use prometheus::{
    IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector,
    process_collector::ProcessCollector,
};

pub use counters::{Recorder, Series, SeriesId};
pub use families::rcode_label;
pub use forward::ForwardMetrics;

/// All metrics of one process. Shared by every server that a reload makes.
pub struct Metrics {
    registry: Registry,
    queries: Arc<Queries>,
    /// `coredns_plugin_enabled`.
    pub plugin_enabled: IntGaugeVec,
    /// `coredns_reload_failed_total`.
    pub reload_failed: IntCounter,
    /// Families of `forward`.
    pub forward: Arc<ForwardMetrics>,
    /// `daymark_loop_detected{zone, to}`: above 0 for an upstream that was found to lead back here.
    pub loop_detected: IntGaugeVec,
    /// `daymark_http_shed_total`.
    pub http_shed: IntCounter,
    /// `daymark_log_lost_total{log}`, of `queries` (the plugin `log`) and of the `server` itself.
    pub log_lost: IntCounterVec,
    reload_version: IntGaugeVec,
    /// `coredns_dns_https_responses_total{server, status}`.
    pub https_responses: IntCounterVec,
    /// `coredns_dns_https3_responses_total{server, status}`.
    pub https3_responses: IntCounterVec,
    /// `coredns_dns_quic_responses_total{server, status}`.
    pub quic_responses: IntCounterVec,
    /// The cluster tables in use.
    pub clusters: cluster::ClusterFamilies,
    /// Collectors that plugins of successive configurations share, by the name of a family.
    shared: Mutex<HashMap<String, Box<dyn Any + Send + Sync>>>,
}

/// The per-query counters of all threads and the label sets they are kept under.
#[derive(Default)]
pub struct Queries {
    series: Mutex<SeriesTable>,
    recorders: Mutex<Vec<Arc<Recorder>>>,
    /// Panics caught while answering (`coredns_panics_total`).
    pub panics: AtomicU64,
}

#[derive(Default)]
struct SeriesTable {
    ids: HashMap<Series, SeriesId>,
    all: Vec<Series>,
}

impl Metrics {
    /// A registry with the per-query families and those of the process in it. `version` is the
    /// program's own.
    pub fn new(version: &str) -> Self {
        let metrics = Metrics {
            registry: Registry::new(),
            queries: Arc::new(Queries::default()),
            plugin_enabled: gauges(
                "coredns_plugin_enabled",
                "A metric that indicates whether a plugin is enabled on per server and zone basis.",
                &["server", "zone", "view", "name"],
            ),
            reload_failed: counter(
                "coredns_reload_failed_total",
                "Reloads that failed; the last good configuration served on.",
            ),
            forward: Arc::new(ForwardMetrics::new()),
            loop_detected: gauges(
                "daymark_loop_detected",
                "Upstreams that lead back to this server and are not asked any more.",
                &["zone", "to"],
            ),
            http_shed: counter(
                "daymark_http_shed_total",
                "Connections to the HTTP pages turned away because a bound was hit.",
            ),
            log_lost: counters(
                "daymark_log_lost_total",
                "Log lines that were not written: the disk was full, or nobody took them in time.",
                &["log"],
            ),
            reload_version: gauges(
                "coredns_reload_version_info",
                "SHA-512 of the configuration that is served.",
                &["hash", "value"],
            ),
            https_responses: counters(
                "coredns_dns_https_responses_total",
                "Responses of DNS over HTTPS, by HTTP status.",
                &["server", "status"],
            ),
            https3_responses: counters(
                "coredns_dns_https3_responses_total",
                "Responses of DNS over HTTPS on HTTP/3, by HTTP status.",
                &["server", "status"],
            ),
            quic_responses: counters(
                "coredns_dns_quic_responses_total",
                "Queries over QUIC, by the code that their stream or connection ended with.",
                &["server", "status"],
            ),
            clusters: cluster::ClusterFamilies::default(),
            shared: Mutex::default(),
        };
        let build = gauges(
            "coredns_build_info",
            "Always 1, with what the program was built from.",
            &["version", "revision", "goversion"],
        );
        build.with_label_values(&[version, "", ""]).set(1);
        metrics.register(Box::new(families::QueryFamilies::new(Arc::clone(&metrics.queries))));
        metrics.register(Box::new(metrics.clusters.clone()));
        metrics.register(Box::new(metrics.plugin_enabled.clone()));
        metrics.register(Box::new(metrics.reload_failed.clone()));
        metrics.register(Box::new(metrics.http_shed.clone()));
        metrics.register(Box::new(metrics.log_lost.clone()));
        metrics.register(Box::new(metrics.reload_version.clone()));
        metrics.register(Box::new(metrics.https_responses.clone()));
        metrics.register(Box::new(metrics.https3_responses.clone()));
        metrics.register(Box::new(metrics.quic_responses.clone()));
        metrics.register(Box::new(build));
        metrics.register(Box::new(ProcessCollector::for_self()));
        metrics.register(Box::new(metrics.loop_detected.clone()));
        metrics.forward.register(&metrics);
        metrics
    }

    /// Notes the digest of the configuration that is served now, if the `reload` plugin shows it.
    pub fn configured(&self, digest: &str, reloads: bool) {
        self.reload_version.reset();
        if reloads {
            self.reload_version.with_label_values(&["sha512", digest]).set(1);
        }
    }

    /// Adds a collector. A second one of the same families is ignored: a reload registers again.
    pub fn register(&self, collector: Box<dyn Collector>) {
        if let Err(error) = self.registry.register(collector) {
            tracing::debug!(%error, "metrics registered before");
        }
    }

    /// The collector of these families that is registered, which is `collector` if none was: a
    /// reload goes on counting where the configuration before it stopped.
    pub fn shared<C: Collector + Clone + Send + Sync + 'static>(&self, collector: C) -> C {
        let key = collector.desc().first().map(|desc| desc.fq_name.clone()).unwrap_or_default();
        let mut shared = self.shared.lock();
        if let Some(held) = shared.get(&key).and_then(|held| held.downcast_ref::<C>()) {
            return held.clone();
        }
        self.register(Box::new(collector.clone()));
        shared.insert(key, Box::new(collector.clone()));
        collector
    }

    /// Takes a collector out, when what it counts is gone.
    pub fn unregister(&self, collector: Box<dyn Collector>) {
        if let Err(error) = self.registry.unregister(collector) {
            tracing::debug!(%error, "metrics not registered");
        }
    }

    /// The registry, for exposition.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The per-query counters.
    pub fn queries(&self) -> &Arc<Queries> {
        &self.queries
    }
}

/// A counter without labels. Names and help texts are constants of this crate.
pub(crate) fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect("a valid metric name")
}

/// Counters by label.
pub(crate) fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("valid metric and label names")
}

/// Gauges by label.
pub(crate) fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), labels).expect("valid metric and label names")
}

/// Most label sets that are counted apart; the rest is counted together with the first one. Label
/// sets come from the Corefile (server × zone × view), not from clients.
pub const MAX_SERIES: usize = 1024;

impl Queries {
    /// The id of a label set; the same for the same labels.
    pub fn series(&self, series: &Series) -> SeriesId {
        let mut table = self.series.lock();
        if let Some(id) = table.ids.get(series) {
            return *id;
        }
        if table.all.len() >= MAX_SERIES {
            return SeriesId(0);
        }
        let id = SeriesId(table.all.len() as u16);
        table.all.push(series.clone());
        table.ids.insert(series.clone(), id);
        id
    }

    /// A recorder for the calling thread (or one shared by several, at the price of atomics).
    pub fn recorder(&self) -> Arc<Recorder> {
        let recorder = Arc::new(Recorder::default());
        self.recorders.lock().push(Arc::clone(&recorder));
        recorder
    }

    /// Counts a panic that was caught.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}
