//! How long a change took from the cluster to the answer:
//! `coredns_kubernetes_dns_programming_duration_seconds`.

use std::{sync::Arc, time::SystemTime};

use daymark_cluster::{
    Delta, EndpointSlice, Kind, ServiceKind, ServiceState, Snapshot, store::Follow,
};
use prometheus::{HistogramOpts, HistogramVec, exponential_buckets};

use crate::metrics::Metrics;

/// Observes slices that carry the time of the change they tell of (annotation
/// `endpoints.kubernetes.io/last-change-trigger-time`), once they can be answered from.
pub struct Programming {
    durations: HistogramVec,
}

impl Programming {
    /// A follower to subscribe behind the table's.
    pub fn new(metrics: &Metrics) -> Box<Self> {
        let options = HistogramOpts::new(
            "coredns_kubernetes_dns_programming_duration_seconds",
            "Time from a change of endpoints to the answer that shows it, by kind of Service.",
        );
        // 1 ms to some 9 minutes, as in CoreDNS.
        let buckets = exponential_buckets(0.001, 2.0, 20).expect("a valid series of buckets");
        let durations = HistogramVec::new(options.buckets(buckets), &["service_kind"])
            .expect("valid metric and label names");
        Box::new(Programming { durations: metrics.shared(durations) })
    }
}

impl Follow for Programming {
    fn follow(&mut self, previous: &Snapshot, next: &Snapshot, delta: &Delta) {
        // What is listed first changed at some time before the start: that says nothing.
        if !previous.synced.contains(Kind::EndpointSlice) {
            return;
        }
        let now = SystemTime::now();
        for name in &delta.services {
            let Some(state) = next.services.get(name) else { continue };
            let Some(kind) = service_kind(state) else { continue };
            let before = previous.services.get(name);
            for slice in state.slices.iter().filter(|slice| is_new(slice, before)) {
                let since =
                    slice.triggered.and_then(|triggered| now.duration_since(triggered).ok());
                if let Some(since) = since {
                    self.durations.with_label_values(&[kind]).observe(since.as_secs_f64());
                }
            }
        }
    }
}

/// CoreDNS's label; none while the Service is not known or is an alias.
fn service_kind(state: &ServiceState) -> Option<&'static str> {
    match state.service.as_ref()?.kind {
        ServiceKind::Cluster(_) => Some("cluster_ip"),
        ServiceKind::Headless => Some("headless_with_selector"),
        ServiceKind::External(_) => None,
    }
}

fn is_new(slice: &Arc<EndpointSlice>, before: Option<&Arc<ServiceState>>) -> bool {
    let held = before.into_iter().flat_map(|state| &state.slices);
    !held.into_iter().any(|held| held == slice)
}

#[cfg(test)]
mod tests {
    use daymark_cluster::{Event, KindSet, ObjectName, Service, Writer, event::Object};

    use super::*;

    fn slice(triggered: Option<SystemTime>) -> Event {
        let slice = EndpointSlice {
            name: ObjectName::new("shop", "web-1"),
            service: Some("web".into()),
            import: None,
            cluster_id: None,
            ports: Arc::default(),
            endpoints: Box::default(),
            triggered,
            labels: Box::default(),
        };
        Event::Apply { object: Object::EndpointSlice(Arc::new(slice)), version: 0 }
    }

    #[test]
    fn a_change_with_its_time_is_observed_once_and_the_first_list_never() {
        let metrics = Metrics::new("test");
        let kinds: KindSet = [Kind::EndpointSlice].into_iter().collect();
        let mut writer = Writer::new(kinds);
        let programming = Programming::new(&metrics);
        let durations = programming.durations.clone();
        let _following = writer.reader().follow(programming);
        let count = || durations.with_label_values(&["headless_with_selector"]).get_sample_count();
        let service = Service {
            name: ObjectName::new("shop", "web"),
            kind: ServiceKind::Headless,
            ports: Arc::default(),
            externals: Box::default(),
            labels: Box::default(),
        };
        let then = SystemTime::now();
        writer.apply([Event::Apply { object: Object::Service(Arc::new(service)), version: 0 }]);
        writer.apply([slice(Some(then)), Event::ListDone(Kind::EndpointSlice)]);
        assert_eq!(count(), 0, "the first list");
        writer.apply([slice(None)]);
        assert_eq!(count(), 0, "no time given");
        writer.apply([slice(Some(then))]);
        writer.apply([slice(Some(then))]);
        assert_eq!(count(), 1);
    }
}
