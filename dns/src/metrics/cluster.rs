//! How current and how large the cluster tables are: `daymark_cluster_*` and `daymark_zone_*`.

use std::sync::Arc;

use daymark_cluster::Reader;
use parking_lot::Mutex;
use prometheus::{
    core::{Collector, Desc},
    proto::{self, MetricFamily, MetricType},
};

use super::families::{family, labels};
use crate::zone::Table;

/// A table and the store behind it.
pub struct Watched {
    /// The block's first zone.
    pub zone: String,
    /// The store.
    pub reader: Reader,
    /// What is answered from.
    pub table: Table,
}

/// Collects figures of the tables in use. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct ClusterFamilies {
    watched: Arc<Mutex<Vec<Watched>>>,
    descriptions: Arc<[Desc]>,
}

const NAMES: [(&str, &str); 6] = [
    (
        "daymark_cluster_age_seconds",
        "Time since the source last proved that the data is current; -1 if it never did.",
    ),
    ("daymark_cluster_revision", "Changes taken over since the start."),
    ("daymark_cluster_synced", "Whether everything was listed at least once."),
    (
        "daymark_cluster_saved_state_age_seconds",
        "Time since the state was saved that is answered from; 0 once the source has told all.",
    ),
    ("daymark_zone_services", "Services and ServiceImports that have names."),
    ("daymark_zone_bytes", "Memory that the zone tables take."),
];

impl Default for ClusterFamilies {
    fn default() -> Self {
        let describe = |(name, help): (&str, &str)| {
            Desc::new(name.to_owned(), help.to_owned(), Vec::new(), Default::default()).ok()
        };
        let descriptions = NAMES.into_iter().filter_map(describe).collect();
        ClusterFamilies { watched: Arc::default(), descriptions }
    }
}

impl ClusterFamilies {
    /// Shows these from now on, and no others.
    pub fn show(&self, watched: Vec<Watched>) {
        *self.watched.lock() = watched;
    }
}

impl Collector for ClusterFamilies {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let watched = self.watched.lock();
        if watched.is_empty() {
            return Vec::new();
        }
        let figures = |of: &Watched| {
            let directory = of.table.load();
            [
                of.reader.age().map_or(-1.0, |age| age.as_secs_f64()),
                of.reader.snapshot().revision as f64,
                f64::from(u8::from(of.reader.synced())),
                of.reader
                    .saved_at()
                    .and_then(|at| at.elapsed().ok())
                    .map_or(0.0, |age| age.as_secs_f64().max(f64::MIN_POSITIVE)),
                (directory.services.len() + directory.imports.len()) as f64,
                directory.heap() as f64,
            ]
        };
        let all: Vec<(&str, [f64; NAMES.len()])> =
            watched.iter().map(|of| (of.zone.as_str(), figures(of))).collect();
        let metric = |index: usize| {
            let gauges = all.iter().map(|(zone, figures)| {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(figures[index]);
                let mut metric = proto::Metric::from_label(labels(&[("zone", zone)], &[]));
                metric.set_gauge(gauge);
                metric
            });
            gauges.collect()
        };
        let families = NAMES.into_iter().enumerate();
        families.map(|(i, (name, help))| family(name, help, MetricType::GAUGE, metric(i))).collect()
    }
}
