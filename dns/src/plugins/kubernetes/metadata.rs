//! What `kubernetes` knows about a query, for `metadata`: who asks, and the parts of the name.

use std::{net::IpAddr, sync::Arc};

use dashmap::DashMap;
use daymark_cluster::{Delta, ObjectName, Pod, Snapshot, store::Follow};
use hickory_proto::rr::Name;

use crate::{
    plugin::Query,
    plugins::metadata::Provider,
    server::long::fold,
    wire::{name::FoldedName, text},
    zone::{
        View,
        view::{PodMode, ZoneKind},
    },
};

/// Knows the pods by address and the zones of one block.
pub struct Known {
    view: Arc<View>,
    pods: Pods,
}

/// Pods by address; several that share one (on the host's network) by their names.
type Pods = Arc<DashMap<IpAddr, Vec<Arc<Pod>>>>;

impl Known {
    /// The provider, and the follower that tells it of pods where the block has `pods verified`.
    pub fn new(view: &Arc<View>) -> (Arc<Self>, Option<Box<dyn Follow>>) {
        let pods = Pods::default();
        let follower = (view.pods == PodMode::Verified)
            .then(|| Box::new(PodFollower(Arc::clone(&pods))) as Box<dyn Follow>);
        (Arc::new(Known { view: Arc::clone(view), pods }), follower)
    }

    fn client(&self, address: IpAddr) -> Option<Arc<Pod>> {
        self.pods.get(&address.to_canonical()).and_then(|pods| pods.first().cloned())
    }

    /// Part `label` of the name, as [`Parts`] has it. `None` outside the block's zones.
    fn part(&self, name: &Name, label: &str) -> Option<String> {
        let mut folded = FoldedName::default();
        fold(name, &mut folded)?;
        let found = self
            .view
            .zones
            .iter()
            .find_map(|zone| Some((zone, folded.labels_above(&zone.wire, zone.labels)?)));
        let (zone, above) = found?;
        let labels = name.iter().take(above).map(|label| {
            let one = Name::from_labels([label]).map(|one| text::folded(&one));
            one.map(|text| text.trim_end_matches('.').to_owned()).unwrap_or_default()
        });
        let labels: Vec<String> = labels.collect();
        let multicluster = zone.kind == ZoneKind::ClusterSet;
        let zonal = self.view.zonal && !multicluster;
        let parts = Parts::of(&labels, multicluster, zonal);
        match (label, parts) {
            ("parse-error", None) => Some("invalid query name".to_owned()),
            (_, None) | ("parse-error", _) => None,
            ("port-name", Some(parts)) => Some(parts.port),
            ("protocol", Some(parts)) => Some(parts.protocol),
            ("endpoint", Some(parts)) => Some(parts.endpoint),
            ("cluster", Some(parts)) if multicluster => Some(parts.cluster),
            ("zone", Some(parts)) if self.view.zonal => Some(parts.zone),
            ("service", Some(parts)) => Some(parts.service),
            ("namespace", Some(parts)) => Some(parts.namespace),
            ("kind", Some(parts)) => Some(parts.kind),
            _ => None,
        }
    }
}

impl Provider for Known {
    fn value(&self, query: &Query, label: &str) -> Option<String> {
        let label = label.strip_prefix("kubernetes/")?;
        let client = || self.client(query.origin.client.ip());
        match label {
            "client-namespace" => client().map(|pod| pod.name.namespace.to_string()),
            "client-pod-name" => client().map(|pod| pod.name.name.to_string()),
            _ => match label.strip_prefix("client-label/") {
                Some(key) => {
                    let pod = client()?;
                    let found = pod.labels.iter().find(|(known, _)| &**known == key);
                    found.map(|(_, value)| value.to_string())
                }
                None => self.part(query.name(), label),
            },
        }
    }
}

/// The parts of a name; empty where it does not say.
#[derive(Default)]
struct Parts {
    port: String,
    protocol: String,
    endpoint: String,
    cluster: String,
    zone: String,
    service: String,
    namespace: String,
    kind: String,
}

impl Parts {
    /// Parts by place, as CoreDNS tells them apart, whether or not there is such a name. `None` if no
    /// name has this form.
    fn of(labels: &[String], multicluster: bool, zonal: bool) -> Option<Self> {
        let mut parts = Parts::default();
        let Some((kind, rest)) = labels.split_last() else { return Some(parts) };
        if !matches!(&**kind, "svc" | "pod") {
            return None;
        }
        // The bare `svc` and `pod` are taken for the zone itself.
        if rest.is_empty() {
            return Some(parts);
        }
        parts.kind.clone_from(kind);
        let Some((namespace, rest)) = rest.split_last() else { return Some(parts) };
        parts.namespace.clone_from(namespace);
        let Some((service, rest)) = rest.split_last() else { return Some(parts) };
        parts.service.clone_from(service);
        let bare = |label: &String| label.strip_prefix('_').unwrap_or(label).to_owned();
        match rest {
            [] => {}
            [endpoint] => parts.endpoint.clone_from(endpoint),
            [endpoint, cluster]
                if multicluster && !endpoint.starts_with('_') && !cluster.starts_with('_') =>
            {
                parts.endpoint.clone_from(endpoint);
                parts.cluster.clone_from(cluster);
            }
            [port, protocol] => (parts.port, parts.protocol) = (bare(port), bare(protocol)),
            [zone @ .., directive, anchor]
                if zonal
                    && kind == "svc"
                    && anchor == "_zone"
                    && matches!(&**directive, "pin" | "prefer") =>
            {
                parts.zone = zone.join(".");
            }
            _ => return None,
        }
        Some(parts)
    }
}

/// Keeps [`Known::pods`].
struct PodFollower(Pods);

impl Follow for PodFollower {
    fn follow(&mut self, previous: &Snapshot, next: &Snapshot, delta: &Delta) {
        for name in &delta.pods {
            if let Some(pod) = previous.pods.get(name) {
                self.forget(pod);
            }
            let Some(pod) = next.pods.get(name) else { continue };
            for address in &pod.addresses {
                let mut pods = self.0.entry(address.to_canonical()).or_default();
                let key = |pod: &Pod| pod.name.clone();
                let at = pods.partition_point(|held| key(held) < pod.name);
                pods.insert(at, Arc::clone(pod));
            }
        }
    }
}

impl PodFollower {
    fn forget(&self, pod: &Pod) {
        let is_it = |name: &ObjectName| *name == pod.name;
        for address in &pod.addresses {
            let address = address.to_canonical();
            if let Some(mut pods) = self.0.get_mut(&address) {
                pods.retain(|held| !is_it(&held.name));
            }
            self.0.remove_if(&address, |_, pods| pods.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use daymark_cluster::{
        Event, Kind, Writer,
        event::{Object, ObjectKey},
    };
    use hickory_proto::rr::RecordType;

    use super::*;
    use crate::plugins::stand_in;

    #[test]
    fn a_name_is_taken_apart_by_place() {
        let parts = |text: &str, multicluster, zonal| {
            let labels: Vec<String> = text.split('.').map(str::to_owned).collect();
            let parts = Parts::of(&labels, multicluster, zonal)?;
            Some([
                parts.kind,
                parts.namespace,
                parts.service,
                parts.endpoint,
                parts.cluster,
                parts.port,
                parts.protocol,
                parts.zone,
            ])
        };
        let some = |wanted: [&str; 8]| Some(wanted.map(str::to_owned));
        assert_eq!(parts("svc", false, false), some([""; 8]));
        assert_eq!(parts("shop.svc", false, false), some(["svc", "shop", "", "", "", "", "", ""]));
        assert_eq!(
            parts("a.web.shop.svc", false, false),
            some(["svc", "shop", "web", "a", "", "", "", ""])
        );
        assert_eq!(
            parts("_http._tcp.web.shop.svc", true, false),
            some(["svc", "shop", "web", "", "", "http", "tcp", ""])
        );
        assert_eq!(
            parts("a.c1.web.shop.svc", true, false),
            some(["svc", "shop", "web", "a", "c1", "", "", ""])
        );
        assert_eq!(
            parts("a.b.pin._zone.web.shop.svc", false, true),
            some(["svc", "shop", "web", "", "", "", "", "a.b"])
        );
        assert_eq!(parts("a.b.pin._zone.web.shop.svc", false, false), None);
        assert_eq!(parts("web.shop.nonsense", false, false), None);
    }

    #[test]
    fn the_clients_pod_is_known_for_as_long_as_it_is_there() {
        let mut view = View::new(Vec::new());
        view.pods = PodMode::Verified;
        let (known, follower) = Known::new(&Arc::new(view));
        let mut writer = Writer::new([Kind::Pod].into_iter().collect());
        let _following = writer.reader().follow(follower.unwrap());
        let pod = |name: &str, address: &str, version| {
            let pod = Pod {
                name: ObjectName::new("shop", name),
                addresses: [address.parse().unwrap()].into(),
                labels: [("app".into(), "web".into())].into(),
            };
            Event::Apply { object: Object::Pod(Arc::new(pod)), version }
        };
        let query = stand_in::from(stand_in::query("a.test.", RecordType::A), "::ffff:10.0.0.1");
        let value = |label: &str| known.value(&query, &format!("kubernetes/{label}"));
        writer.apply([pod("web-2", "10.0.0.1", 1), pod("web-1", "10.0.0.1", 1)]);
        assert_eq!(value("client-pod-name").as_deref(), Some("web-1"), "the first by name");
        assert_eq!(value("client-namespace").as_deref(), Some("shop"));
        assert_eq!(value("client-label/app").as_deref(), Some("web"));
        assert_eq!(value("client-label/other"), None);
        writer.apply([pod("web-1", "10.0.0.2", 2)]);
        assert_eq!(value("client-pod-name").as_deref(), Some("web-2"));
        let gone = ObjectKey { kind: Kind::Pod, name: ObjectName::new("shop", "web-2") };
        writer.apply([Event::Delete { key: gone, version: 3 }]);
        assert_eq!(value("client-pod-name"), None);
        assert!(!known.pods.contains_key(&"10.0.0.1".parse().unwrap()));
    }
}
