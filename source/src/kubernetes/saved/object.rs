//! Objects as the API would show them, with what we keep of them and nothing else.

use std::net::IpAddr;

use daymark_cluster::{
    Endpoint, EndpointSlice, External, Kind, Labels, Name, Node, Pod, Port, Service, ServiceImport,
    ServiceKind, event::Object,
};
use serde_json::{Map, Value, json};

/// The kind that the API calls so.
pub(super) fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "Service" => Kind::Service,
        "EndpointSlice" => Kind::EndpointSlice,
        "Namespace" => Kind::Namespace,
        "Pod" => Kind::Pod,
        "ServiceImport" => Kind::ServiceImport,
        "Node" => Kind::Node,
        _ => return None,
    })
}

/// An object of this version.
pub(in crate::kubernetes) fn json(object: &Object, version: u64) -> Value {
    let key = object.key();
    let mut metadata = Map::from_iter([
        ("name".to_owned(), json!(key.name.name.as_str())),
        ("resourceVersion".to_owned(), json!(version.to_string())),
    ]);
    if !key.name.namespace.is_empty() {
        metadata.insert("namespace".to_owned(), json!(key.name.namespace.as_str()));
    }
    let (kind, labels, body) = match object {
        Object::Service(service) => ("Service", own(&service.labels), self::service(service)),
        Object::EndpointSlice(slice) => ("EndpointSlice", of_slice(slice), self::slice(slice)),
        Object::Namespace(namespace) => ("Namespace", own(&namespace.labels), json!({})),
        Object::Pod(pod) => ("Pod", own(&pod.labels), self::pod(pod)),
        Object::ServiceImport(import) => {
            ("ServiceImport", own(&import.labels), self::import(import))
        }
        Object::Node(node) => ("Node", of_node(node), self::node(node)),
    };
    if !labels.is_empty() {
        metadata.insert("labels".to_owned(), Value::Object(labels));
    }
    let mut whole = Map::from_iter([
        ("kind".to_owned(), json!(kind)),
        ("metadata".to_owned(), Value::Object(metadata)),
    ]);
    if let Value::Object(body) = body {
        whole.extend(body);
    }
    Value::Object(whole)
}

fn own(labels: &Labels) -> Map<String, Value> {
    labels.iter().map(|(key, value)| (key.to_string(), json!(value.as_str()))).collect()
}

fn of_slice(slice: &EndpointSlice) -> Map<String, Value> {
    let mut labels = own(&slice.labels);
    let mut put = |key: &str, value: &Option<Name>| {
        if let Some(value) = value {
            labels.insert(key.to_owned(), json!(value.as_str()));
        }
    };
    put("kubernetes.io/service-name", &slice.service);
    put("multicluster.kubernetes.io/service-name", &slice.import);
    put("multicluster.kubernetes.io/source-cluster", &slice.cluster_id);
    labels
}

fn of_node(node: &Node) -> Map<String, Value> {
    let zone = node.zone.iter();
    zone.map(|zone| ("topology.kubernetes.io/zone".to_owned(), json!(zone.as_str()))).collect()
}

fn service(service: &Service) -> Value {
    let ports = ports(&service.ports);
    let spec = match &service.kind {
        ServiceKind::Cluster(addresses) => json!({
            "type": "ClusterIP",
            "clusterIP": addresses.first().map(ToString::to_string).unwrap_or_default(),
            "clusterIPs": texts(addresses),
            "ports": ports,
        }),
        ServiceKind::Headless => json!({
            "type": "ClusterIP",
            "clusterIP": "None",
            "clusterIPs": ["None"],
            "ports": ports,
        }),
        ServiceKind::External(name) => json!({
            "type": "ExternalName",
            "externalName": name.as_str(),
            "ports": ports,
        }),
    };
    if service.externals.is_empty() {
        return json!({ "spec": spec });
    }
    // All addresses as those of the load balancer: the order is kept.
    let ingress = |external: &External| match external {
        External::Address(address) => json!({ "ip": address.to_string() }),
        External::Host(name) => json!({ "hostname": name.as_str() }),
    };
    let ingress: Vec<Value> = service.externals.iter().map(ingress).collect();
    json!({ "spec": spec, "status": { "loadBalancer": { "ingress": ingress } } })
}

fn import(import: &ServiceImport) -> Value {
    let ports = ports(&import.ports);
    json!({ "spec": match &import.kind {
        ServiceKind::Cluster(addresses) => {
            json!({ "type": "ClusterSetIP", "ips": texts(addresses), "ports": ports })
        }
        ServiceKind::Headless | ServiceKind::External(_) => {
            json!({ "type": "Headless", "ports": ports })
        }
    }})
}

fn slice(slice: &EndpointSlice) -> Value {
    let v6 = slice.endpoints.first().is_some_and(|endpoint| endpoint.address.is_ipv6());
    let endpoint = |endpoint: &Endpoint| {
        let mut shown = json!({
            "addresses": [endpoint.address.to_string()],
            "conditions": { "ready": endpoint.ready },
        });
        if let Some(name) = &endpoint.hostname {
            shown["hostname"] = json!(name.as_str());
        }
        if let Some(pod) = &endpoint.pod {
            shown["targetRef"] = json!({ "kind": "Pod", "name": pod.as_str() });
        }
        if let Some(zone) = &endpoint.zone {
            shown["zone"] = json!(zone.as_str());
        }
        shown
    };
    json!({
        "addressType": if v6 { "IPv6" } else { "IPv4" },
        "ports": ports(&slice.ports),
        "endpoints": slice.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn pod(pod: &Pod) -> Value {
    let addresses: Vec<Value> =
        pod.addresses.iter().map(|address| json!({ "ip": address.to_string() })).collect();
    let first = pod.addresses.first().map(ToString::to_string);
    json!({ "status": { "phase": "Running", "podIP": first, "podIPs": addresses } })
}

fn node(node: &Node) -> Value {
    let address =
        |address: &IpAddr| json!({ "type": "InternalIP", "address": address.to_string() });
    let ranges: Vec<String> = node.pod_ranges.iter().map(ToString::to_string).collect();
    json!({
        "spec": { "podCIDRs": ranges },
        "status": { "addresses": node.addresses.iter().map(address).collect::<Vec<_>>() },
    })
}

fn texts(addresses: &[IpAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn ports(ports: &[Port]) -> Vec<Value> {
    let port = |port: &Port| {
        let mut shown = Map::new();
        if let Some(name) = &port.name {
            shown.insert("name".to_owned(), json!(name.as_str()));
        }
        shown.insert("protocol".to_owned(), json!(port.protocol.label().to_uppercase()));
        if let Some(number) = port.port {
            shown.insert("port".to_owned(), json!(number));
        }
        Value::Object(shown)
    };
    ports.iter().map(port).collect()
}
