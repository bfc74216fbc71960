//! What the programs count, for Prometheus.

use std::sync::Arc;

use daymark_abi::counter;
use daymark_loader::Kernel;
use prometheus::{
    IntCounterVec, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Reads the programs' counters when somebody asks.
pub(crate) struct KernelMetrics {
    datapath: Arc<Kernel>,
    families: Families,
}

/// Made anew for each page: the kernel's figures are the only ones.
#[derive(Clone)]
struct Families {
    drops: [IntCounterVec; 2],
    traffic: [IntCounterVec; 2],
    causes: IntCounterVec,
    fill: [IntGaugeVec; 2],
}

impl Families {
    fn new() -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels)
        };
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["table"]);
        Ok(Families {
            drops: [
                counter(
                    "daymark_drop_count_total",
                    "Packets dropped, by reason and direction.",
                    &["reason", "direction"],
                )?,
                counter(
                    "daymark_drop_bytes_total",
                    "Octets of packets dropped, by reason and direction.",
                    &["reason", "direction"],
                )?,
            ],
            traffic: [
                counter(
                    "daymark_forward_count_total",
                    "Packets that the programs saw and did not drop, by hook.",
                    &["hook"],
                )?,
                counter("daymark_forward_bytes_total", "Their octets, by hook.", &["hook"])?,
            ],
            causes: counter(
                "daymark_datapath_events_total",
                "What happened to connections, ports and events, by cause.",
                &["cause"],
            )?,
            fill: [
                gauge("daymark_map_entries", "Entries of a table of the programs.")?,
                gauge("daymark_map_limit", "Entries that the table can have.")?,
            ],
        })
    }

    fn all(&self) -> Vec<&dyn Collector> {
        vec![
            &self.drops[0],
            &self.drops[1],
            &self.traffic[0],
            &self.traffic[1],
            &self.causes,
            &self.fill[0],
            &self.fill[1],
        ]
    }
}

impl KernelMetrics {
    /// Metrics of these programs.
    pub(crate) fn new(datapath: Arc<Kernel>) -> prometheus::Result<Self> {
        Ok(KernelMetrics { datapath, families: Families::new()? })
    }

    fn read(&self, families: &Families) -> Result<(), daymark_loader::DatapathError> {
        for dropped in self.datapath.drops()? {
            let direction = match dropped.direction {
                counter::INGRESS => "INGRESS",
                _ => "EGRESS",
            };
            let labels = [dropped.reason.name(), direction];
            families.drops[0].with_label_values(&labels).inc_by(dropped.count.packets);
            families.drops[1].with_label_values(&labels).inc_by(dropped.count.bytes);
        }
        for seen in self.datapath.traffic()? {
            families.traffic[0].with_label_values(&[seen.hook]).inc_by(seen.count.packets);
            families.traffic[1].with_label_values(&[seen.hook]).inc_by(seen.count.bytes);
        }
        for (cause, count) in self.datapath.causes()? {
            families.causes.with_label_values(&[cause]).inc_by(count);
        }
        for fill in self.datapath.tables()? {
            let set = |gauge: &IntGaugeVec, value: u64| {
                gauge.with_label_values(&[fill.table]).set(value.try_into().unwrap_or(i64::MAX));
            };
            set(&families.fill[0], fill.entries);
            set(&families.fill[1], fill.limit.into());
        }
        Ok(())
    }
}

impl Collector for KernelMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.families.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Names and labels are the same as in `families`, which could be made.
        let Ok(families) = Families::new() else { return Vec::new() };
        if let Err(error) = self.read(&families) {
            tracing::warn!(%error, "the programs' counters can't be read");
        }
        families.all().into_iter().flat_map(Collector::collect).collect()
    }
}
