//! A made cluster of any size: as API objects, and as a zone file with the same names.

use daymark_tests::control_plane::ControlPlane;
use serde_json::{Value, json};

/// Namespaces that Services are spread over.
const NAMESPACES: usize = 20;
/// Every so many Services one is headless.
const HEADLESS_EVERY: usize = 20;
/// Endpoints of each Service.
pub const ENDPOINTS: usize = 3;

/// A cluster of Services with three endpoints each.
#[derive(Clone, Copy, Debug)]
pub struct Cluster {
    /// How many Services.
    pub services: usize,
}

/// A Service of the cluster.
#[derive(Clone, Copy, Debug)]
pub struct MadeService(usize);

impl Cluster {
    /// Its Services.
    pub fn iter(&self) -> impl Iterator<Item = MadeService> + use<> {
        (0..self.services).map(MadeService)
    }

    /// Makes its objects in an API server, several at once.
    ///
    /// # Errors
    /// What the API server said first.
    pub fn load(&self, plane: &ControlPlane) -> anyhow::Result<()> {
        let namespace = |n: usize| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("ns{n}")}});
        plane.make_all(&(0..NAMESPACES).map(namespace).collect::<Vec<_>>())?;
        let objects: Vec<Value> =
            self.iter().flat_map(|service| [service.object(), service.slice(0)]).collect();
        plane.make_all(&objects)
    }

    /// A zone file with the names that questions ask for.
    pub fn zone(&self) -> String {
        let mut zone = String::from(
            "$ORIGIN cluster.local.\n$TTL 30\n\
             @ SOA ns.dns hostmaster 1 7200 1800 86400 30\n@ NS ns.dns\nns.dns A 127.0.0.1\n",
        );
        for service in self.iter() {
            let name = service.relative();
            match service.cluster_ip() {
                Some(address) => zone.push_str(&format!(
                    "{name} A {address}\n_http._tcp.{name} SRV 0 100 80 {name}\n"
                )),
                None => {
                    for address in service.addresses(0) {
                        zone.push_str(&format!("{name} A {address}\n"));
                    }
                }
            }
            for address in service.addresses(0) {
                zone.push_str(&format!("{}.{name} A {address}\n", address.replace('.', "-")));
            }
        }
        zone
    }
}

impl MadeService {
    /// The Service of this number.
    pub fn number(n: usize) -> Self {
        MadeService(n)
    }

    /// Whether it is headless.
    pub fn is_headless(self) -> bool {
        self.0.is_multiple_of(HEADLESS_EVERY)
    }

    /// Its name below the cluster's zone.
    fn relative(self) -> String {
        format!("{}.{}.svc", self.name(), self.namespace())
    }

    /// Its fully qualified name, without the last dot.
    pub fn domain(self) -> String {
        format!("{}.cluster.local", self.relative())
    }

    fn name(self) -> String {
        format!("svc-{}", self.0)
    }

    /// Its namespace.
    pub fn namespace(self) -> String {
        format!("ns{}", self.0 % NAMESPACES)
    }

    /// Its ClusterIP; none if it is headless. From 10.96.0.0/16, clear of the addresses that the API
    /// server gives out first; room for some 60,000.
    fn cluster_ip(self) -> Option<String> {
        let n = self.0 + 1024;
        (!self.is_headless()).then(|| format!("10.96.{}.{}", n >> 8, n & 255))
    }

    /// Addresses of its endpoints; `turn` changes the last one.
    fn addresses(self, turn: usize) -> Vec<String> {
        (0..ENDPOINTS)
            .map(|k| {
                let n = self.0 * 4 + k + if k == 0 { turn * 65_536 } else { 0 };
                format!("172.{}.{}.{}", 16 + (n >> 16), (n >> 8) & 255, n & 255)
            })
            .collect()
    }

    /// The address that `turn` changes.
    pub fn turned_address(self, turn: usize) -> String {
        self.addresses(turn).swap_remove(0)
    }

    fn object(self) -> Value {
        let address = self.cluster_ip().unwrap_or_else(|| "None".to_owned());
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": self.name(), "namespace": self.namespace()},
            "spec": {
                "clusterIP": address, "clusterIPs": [address],
                "selector": {"app": self.name()},
                "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
            },
        })
    }

    /// Its EndpointSlice.
    pub fn slice(self, turn: usize) -> Value {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{}-abcde", self.name()), "namespace": self.namespace(),
                "labels": {"kubernetes.io/service-name": self.name()},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": self.endpoints(turn),
        })
    }

    /// The `endpoints` of its EndpointSlice.
    pub fn endpoints(self, turn: usize) -> Value {
        let endpoint = |(k, address): (usize, String)| {
            json!({
                "addresses": [address], "conditions": {"ready": true},
                "nodeName": format!("node-{}", (self.0 + k) % 100),
                "targetRef": {
                    "kind": "Pod", "namespace": self.namespace(),
                    "name": format!("{}-7d4b9c5f6d-{k:05}", self.name()),
                },
            })
        };
        self.addresses(turn).into_iter().enumerate().map(endpoint).collect()
    }

    /// Path of its EndpointSlice in the API.
    pub fn slice_path(self) -> String {
        let (namespace, name) = (self.namespace(), self.name());
        format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}-abcde")
    }
}
