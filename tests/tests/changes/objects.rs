//! Objects that the tests make and change.

use serde_json::{Value, json};

/// A namespace.
pub(crate) fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

/// A Service with this `clusterIP` (`None` for a headless one) and the TCP port `http` 80.
pub(crate) fn service(namespace: &str, name: &str, cluster_ip: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "clusterIP": cluster_ip,
            "ipFamilyPolicy": "SingleStack",
            "ipFamilies": ["IPv4"],
            "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }],
        },
    })
}

/// An EndpointSlice of a Service.
pub(crate) fn slice(
    namespace: &str,
    name: &str,
    service: &str,
    addresses: &[(&str, bool)],
) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": endpoints(addresses),
    })
}

/// Endpoints, ready or not.
pub(crate) fn endpoints(addresses: &[(&str, bool)]) -> Value {
    let endpoint = |(address, ready): &(&str, bool)| {
        json!({
            "addresses": [address],
            "conditions": { "ready": ready, "serving": ready, "terminating": false },
        })
    };
    addresses.iter().map(endpoint).collect()
}

/// Where a Service is.
pub(crate) fn service_path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/services/{name}")
}

/// Where an EndpointSlice is.
pub(crate) fn slice_path(namespace: &str, name: &str) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}")
}
