//! A lab whose nodes are those of a real API server: what the kubelet writes there. The other objects
//! are what users write, and what controllers make of them, EndpointSlices among it, is theirs.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    definition::{Definition, Pod},
    layout::Layout,
    namespace,
    wire::Addresses,
};

/// How often a node says that it lives (`spec.renewTime` of its Lease), as the kubelet does.
pub const RENEWAL: Duration = Duration::from_secs(10);
/// The taint that an agent takes away.
const TAINT: &str = "daymark.io/agent-not-ready";

/// What a pod's container is called, and the image that it would have: the lab's own server runs in it.
const CONTAINER: &str = "lab";
const IMAGE: &str = "daymark.local/lab";

/// Writes to an API server.
pub trait Api: Send + Sync {
    /// POST to a collection; `false` if the object is there already.
    ///
    /// # Errors
    /// What the server said.
    fn create(&self, collection: &str, object: &Value) -> anyhow::Result<bool>;

    /// PATCH by a JSON merge patch (RFC 7396).
    ///
    /// # Errors
    /// What the server said.
    fn merge(&self, object: &str, patch: &Value) -> anyhow::Result<()>;

    /// DELETE, at once.
    ///
    /// # Errors
    /// What the server said.
    fn delete(&self, object: &str) -> anyhow::Result<()>;
}

/// An API server, and how agents reach it.
#[derive(Clone)]
pub struct Server {
    /// What we write through.
    pub api: Arc<dyn Api>,
    /// What agents are given.
    pub kubeconfig: PathBuf,
    /// Where it listens, on loopback.
    pub address: SocketAddr,
}

/// Where the API server of a kubeconfig listens.
///
/// # Errors
/// If that is not on loopback: only from there the lab can lead its nodes to it.
pub fn address(kubeconfig: &str) -> anyhow::Result<SocketAddr> {
    let file: Value = serde_saphyr::from_str(kubeconfig).context("reading the kubeconfig")?;
    let server = file["clusters"][0]["cluster"]["server"].as_str().unwrap_or_default();
    let authority = server.strip_prefix("https://").unwrap_or(server).trim_end_matches('/');
    let address = authority.parse::<SocketAddr>().ok().filter(|found| found.ip().is_loopback());
    address.with_context(|| {
        format!(
            "the API server `{server}` is not https://127.0.0.1:PORT; a lab needs one on loopback"
        )
    })
}

impl Server {
    /// Makes Nodes, namespaces and the definition's other objects.
    ///
    /// # Errors
    /// What the server said.
    pub fn register(&self, definition: &Definition) -> anyhow::Result<()> {
        for (index, node) in definition.nodes.iter().enumerate() {
            let object = json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": { "name": node.name, "labels": { "kubernetes.io/hostname": node.name } },
                "spec": {
                    "podCIDR": node.pod_ranges.first(),
                    "podCIDRs": node.pod_ranges,
                    "taints": [{ "key": TAINT, "effect": "NoSchedule" }],
                },
            });
            let new = self.api.create("/api/v1/nodes", &object)?;
            ensure!(new, "the API server has a Node `{}` already", node.name);
            let own = Addresses::of_node(index);
            let status = json!({ "status": {
                "addresses": [
                    { "type": "InternalIP", "address": own.v4 },
                    { "type": "InternalIP", "address": own.v6 },
                    { "type": "Hostname", "address": node.name },
                ],
                "conditions": [ready()],
            } });
            self.api.merge(&format!("/api/v1/nodes/{}/status", node.name), &status)?;
            self.renew(&node.name, true)?;
        }
        let of_object =
            |object: &Value| object["metadata"]["namespace"].as_str().map(str::to_owned);
        let namespaces: BTreeSet<String> = definition
            .pods
            .iter()
            .map(|pod| pod.namespace.clone())
            .chain(definition.others.iter().filter_map(of_object))
            .collect();
        for namespace in namespaces {
            let object = json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace },
            });
            self.api.create("/api/v1/namespaces", &object)?;
        }
        for object in &definition.others {
            self.api.create(&collection(object)?, object)?;
        }
        Ok(())
    }

    /// Says that a node lives.
    ///
    /// # Errors
    /// What the server said.
    pub fn renew(&self, node: &str, first: bool) -> anyhow::Result<()> {
        const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        let spec = json!({
            "holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": now(),
        });
        if first {
            // The API server makes the namespace too, in its own time.
            let namespace = json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "kube-node-lease" },
            });
            self.api.create("/api/v1/namespaces", &namespace)?;
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": { "name": node }, "spec": spec,
            });
            if self.api.create(LEASES, &lease)? {
                return Ok(());
            }
        }
        self.api.merge(&format!("{LEASES}/{node}"), &json!({ "spec": spec }))
    }

    /// Makes the Pod object, bound to its node.
    ///
    /// # Errors
    /// What the server said.
    pub fn create_pod(&self, pod: &Pod) -> anyhow::Result<()> {
        let ports: Vec<Value> = pod
            .ports
            .iter()
            .map(|port| {
                json!({
                    "name": port.name, "containerPort": port.container_port,
                    "protocol": port.protocol, "hostPort": port.host_port, "hostIP": port.host_ip,
                })
            })
            .collect();
        let object = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": pod.name, "labels": pod.labels, "annotations": pod.annotations,
            },
            "spec": {
                "nodeName": pod.node,
                "automountServiceAccountToken": false,
                "tolerations": [{ "operator": "Exists" }],
                "containers": [{ "name": CONTAINER, "image": IMAGE, "ports": ports }],
            },
        });
        self.api.create(&format!("/api/v1/namespaces/{}/pods", pod.namespace), &object)?;
        Ok(())
    }

    /// Says that a pod runs, and at which addresses.
    ///
    /// # Errors
    /// What the server said.
    pub fn runs(&self, pod: &Pod, addresses: &[IpAddr]) -> anyhow::Result<()> {
        let ips: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        let status = json!({ "status": {
            "phase": "Running",
            "podIP": addresses.first(),
            "podIPs": ips,
            "conditions": [ready()],
            "containerStatuses": [{
                "name": CONTAINER, "image": IMAGE, "imageID": "", "ready": true, "started": true,
                "restartCount": 0, "state": { "running": { "startedAt": now() } },
            }],
        } });
        self.api.merge(&format!("{}/status", path(pod)), &status)
    }

    /// Takes pods, nodes and the definition's other objects away; goes on after an error.
    pub fn forget(&self, definition: &Definition) {
        let pods = definition.pods.iter().map(path);
        let nodes = definition.nodes.iter().map(|node| format!("/api/v1/nodes/{}", node.name));
        let others = definition.others.iter().filter_map(|object| {
            Some(format!("{}/{}", collection(object).ok()?, object["metadata"]["name"].as_str()?))
        });
        for object in pods.chain(nodes).chain(others) {
            // The server may be gone before us.
            let _ = self.api.delete(&object);
        }
    }
}

fn path(pod: &Pod) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name)
}

fn ready() -> Value {
    json!({ "type": "Ready", "status": "True", "reason": "Lab", "lastTransitionTime": now() })
}

/// Now, in microseconds, as the API writes it (RFC 3339).
fn now() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

/// The collection that an object belongs to.
fn collection(object: &Value) -> anyhow::Result<String> {
    let version = object["apiVersion"].as_str().context("an object without apiVersion")?;
    let kind = object["kind"].as_str().context("an object without kind")?.to_lowercase();
    // The rule that kubectl guesses by too.
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    };
    let group =
        if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    Ok(match kind.as_str() {
        "namespace" | "node" | "clusterrole" | "clusterrolebinding" => format!("{group}/{plural}"),
        _ => {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
            format!("{group}/namespaces/{namespace}/{plural}")
        }
    })
}

/// Leads connections from within each node to the API server, whose address is loopback there too.
///
/// # Errors
/// If the address can't be had on a node.
pub fn relay(layout: &Layout, definition: &Definition, address: SocketAddr) -> anyhow::Result<()> {
    for node in &definition.nodes {
        let listener = namespace::inside(&layout.node_namespace(&node.name), || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
        .with_context(|| format!("listening on {address} of {}", node.name))?;
        let listener = TcpListener::from_std(listener)?;
        tokio::spawn(async move {
            loop {
                let Ok((mut inside, _)) = listener.accept().await else {
                    // Too many files, which passes; not at once.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                tokio::spawn(async move {
                    if let Ok(mut outside) = TcpStream::connect(address).await {
                        // Either end may break off.
                        let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                    }
                });
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_are_found_by_kind() {
        for (version, kind, namespace, collection) in [
            ("v1", "Service", Some("shop"), "/api/v1/namespaces/shop/services"),
            ("v1", "Namespace", None, "/api/v1/namespaces"),
            (
                "networking.k8s.io/v1",
                "NetworkPolicy",
                None,
                "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
            ),
        ] {
            let metadata = json!({ "name": "x", "namespace": namespace });
            let object = json!({ "apiVersion": version, "kind": kind, "metadata": metadata });
            assert_eq!(super::collection(&object).expect(kind), collection);
        }
    }

    #[test]
    fn only_a_server_on_loopback_will_do() {
        let file =
            |server: &str| format!("clusters: [{{name: x, cluster: {{server: '{server}'}}}}]");
        let found = address(&file("https://127.0.0.1:6443")).expect("on loopback");
        assert_eq!(found, SocketAddr::from(([127, 0, 0, 1], 6443)));
        let refused = address(&file("https://192.0.2.1:6443")).expect_err("elsewhere").to_string();
        assert!(refused.contains("`https://192.0.2.1:6443` is not"), "{refused}");
    }
}
