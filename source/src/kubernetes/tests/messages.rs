//! The API's protobuf as `prost` writes it, out of the JSON of the same objects. Declared anew from
//! the `generated.proto` files, with some fields that nobody reads, and filled as Go does it: a text
//! that is no pointer is written even if it is empty.

use std::collections::BTreeMap;

use daymark_cluster::Kind;
use prost::Message;
use serde_json::Value;

#[derive(Clone, PartialEq, Message)]
struct WatchEvent {
    #[prost(string, optional, tag = "1")]
    r#type: Option<String>,
    #[prost(message, optional, tag = "2")]
    object: Option<RawExtension>,
}

#[derive(Clone, PartialEq, Message)]
struct RawExtension {
    #[prost(bytes = "vec", optional, tag = "1")]
    raw: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", optional, tag = "2")]
    raw: Option<Vec<u8>>,
    #[prost(string, optional, tag = "3")]
    content_encoding: Option<String>,
    #[prost(string, optional, tag = "4")]
    content_type: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, optional, tag = "1")]
    api_version: Option<String>,
    #[prost(string, optional, tag = "2")]
    kind: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, optional, tag = "2")]
    status: Option<String>,
    #[prost(string, optional, tag = "3")]
    message: Option<String>,
    #[prost(string, optional, tag = "4")]
    reason: Option<String>,
    #[prost(int32, optional, tag = "6")]
    code: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    generate_name: Option<String>,
    #[prost(string, optional, tag = "3")]
    namespace: Option<String>,
    #[prost(string, optional, tag = "6")]
    resource_version: Option<String>,
    #[prost(int64, optional, tag = "7")]
    generation: Option<i64>,
    #[prost(message, optional, tag = "9")]
    deletion_timestamp: Option<Time>,
    #[prost(btree_map = "string, string", tag = "11")]
    labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    annotations: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "17")]
    managed_fields: Vec<ManagedFieldsEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(int64, optional, tag = "1")]
    seconds: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct ManagedFieldsEntry {
    #[prost(string, optional, tag = "1")]
    manager: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    spec: Option<ServiceSpec>,
    #[prost(message, optional, tag = "3")]
    status: Option<ServiceStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct ServiceStatus {
    #[prost(message, optional, tag = "1")]
    load_balancer: Option<LoadBalancerStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct LoadBalancerStatus {
    #[prost(message, repeated, tag = "1")]
    ingress: Vec<LoadBalancerIngress>,
}

#[derive(Clone, PartialEq, Message)]
struct LoadBalancerIngress {
    #[prost(string, optional, tag = "1")]
    ip: Option<String>,
    #[prost(string, optional, tag = "2")]
    hostname: Option<String>,
    #[prost(string, optional, tag = "3")]
    ip_mode: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ServiceSpec {
    #[prost(message, repeated, tag = "1")]
    ports: Vec<ServicePort>,
    #[prost(btree_map = "string, string", tag = "2")]
    selector: BTreeMap<String, String>,
    #[prost(string, optional, tag = "3")]
    cluster_ip: Option<String>,
    #[prost(string, optional, tag = "4")]
    r#type: Option<String>,
    #[prost(string, repeated, tag = "5")]
    external_ips: Vec<String>,
    #[prost(string, optional, tag = "10")]
    external_name: Option<String>,
    #[prost(bool, optional, tag = "13")]
    publish_not_ready_addresses: Option<bool>,
    #[prost(string, optional, tag = "17")]
    ip_family_policy: Option<String>,
    #[prost(string, repeated, tag = "18")]
    cluster_ips: Vec<String>,
    #[prost(string, repeated, tag = "19")]
    ip_families: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ServicePort {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    protocol: Option<String>,
    #[prost(int32, optional, tag = "3")]
    port: Option<i32>,
    #[prost(message, optional, tag = "4")]
    target_port: Option<IntOrString>,
    #[prost(int32, optional, tag = "5")]
    node_port: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct IntOrString {
    #[prost(int64, optional, tag = "1")]
    r#type: Option<i64>,
    #[prost(int32, optional, tag = "2")]
    int_val: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct EndpointSlice {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    endpoints: Vec<Endpoint>,
    #[prost(message, repeated, tag = "3")]
    ports: Vec<EndpointPort>,
    #[prost(string, optional, tag = "4")]
    address_type: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct EndpointPort {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    protocol: Option<String>,
    #[prost(int32, optional, tag = "3")]
    port: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Endpoint {
    #[prost(string, repeated, tag = "1")]
    addresses: Vec<String>,
    #[prost(message, optional, tag = "2")]
    conditions: Option<EndpointConditions>,
    #[prost(string, optional, tag = "3")]
    hostname: Option<String>,
    #[prost(message, optional, tag = "4")]
    target_ref: Option<ObjectReference>,
    #[prost(string, optional, tag = "6")]
    node_name: Option<String>,
    #[prost(string, optional, tag = "7")]
    zone: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct EndpointConditions {
    #[prost(bool, optional, tag = "1")]
    ready: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    serving: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectReference {
    #[prost(string, optional, tag = "1")]
    kind: Option<String>,
    #[prost(string, optional, tag = "3")]
    name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Namespace {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
}

#[derive(Clone, PartialEq, Message)]
struct Pod {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "3")]
    status: Option<PodStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct PodStatus {
    #[prost(string, optional, tag = "1")]
    phase: Option<String>,
    #[prost(string, optional, tag = "6")]
    pod_ip: Option<String>,
    #[prost(message, repeated, tag = "12")]
    pod_ips: Vec<PodIp>,
}

#[derive(Clone, PartialEq, Message)]
struct PodIp {
    #[prost(string, optional, tag = "1")]
    ip: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    spec: Option<NodeSpec>,
    #[prost(message, optional, tag = "3")]
    status: Option<NodeStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeSpec {
    #[prost(string, optional, tag = "1")]
    pod_cidr: Option<String>,
    #[prost(string, repeated, tag = "7")]
    pod_cidrs: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeStatus {
    #[prost(message, repeated, tag = "5")]
    addresses: Vec<NodeAddress>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeAddress {
    #[prost(string, optional, tag = "1")]
    r#type: Option<String>,
    #[prost(string, optional, tag = "2")]
    address: Option<String>,
}

/// A frame of a watch: an event of JSON as the API writes it in protobuf.
pub(super) fn frame(kind: Kind, event: &Value) -> Vec<u8> {
    let message = event_message(kind, event);
    [&(message.len() as u32).to_be_bytes(), message.as_slice()].concat()
}

/// The same without its length.
pub(super) fn event_message(kind: Kind, event: &Value) -> Vec<u8> {
    let object = &event["object"];
    let raw = match event["type"].as_str() {
        Some("ERROR") => failure(object),
        _ => wrapped(message(kind, object)),
    };
    let object = Some(RawExtension { raw: Some(raw) });
    WatchEvent { r#type: text(&event["type"]), object }.encode_to_vec()
}

/// A `Status` as the body of a response.
pub(super) fn failure(status: &Value) -> Vec<u8> {
    let code = status["code"].as_i64().map(|code| code as i32);
    let (message, reason) = (value(&status["message"]), value(&status["reason"]));
    wrapped(Status { status: value(&status["status"]), message, reason, code }.encode_to_vec())
}

/// An object's message with what the API puts around it.
fn wrapped(raw: Vec<u8>) -> Vec<u8> {
    let type_meta = TypeMeta { api_version: Some("v1".into()), kind: Some("Thing".into()) };
    let unknown = Unknown {
        type_meta: Some(type_meta),
        raw: Some(raw),
        content_encoding: Some(String::new()),
        content_type: Some(String::new()),
    };
    [b"k8s\0".as_slice(), &unknown.encode_to_vec()].concat()
}

fn message(kind: Kind, object: &Value) -> Vec<u8> {
    let (metadata, spec, status) =
        (Some(metadata(&object["metadata"])), &object["spec"], &object["status"]);
    match kind {
        Kind::Service => {
            let spec = (!spec.is_null()).then(|| service_spec(spec));
            let ingress = all(&status["loadBalancer"]["ingress"], |ingress| LoadBalancerIngress {
                ip: value(&ingress["ip"]),
                hostname: value(&ingress["hostname"]),
                ip_mode: Some("VIP".to_owned()),
            });
            // Go writes the status even if it is empty.
            let load_balancer = Some(LoadBalancerStatus { ingress });
            let status = Some(ServiceStatus { load_balancer });
            Service { metadata, spec, status }.encode_to_vec()
        }
        Kind::EndpointSlice => {
            let address_type = value(&object["addressType"]);
            let ports = all(&object["ports"], |port| EndpointPort {
                name: text(&port["name"]),
                protocol: text(&port["protocol"]),
                port: number(&port["port"]),
            });
            let endpoints = all(&object["endpoints"], endpoint);
            EndpointSlice { metadata, endpoints, ports, address_type }.encode_to_vec()
        }
        Kind::Namespace => Namespace { metadata }.encode_to_vec(),
        Kind::Pod => {
            let status = Some(PodStatus {
                phase: value(&status["phase"]),
                pod_ip: value(&status["podIP"]),
                pod_ips: all(&status["podIPs"], |ip| PodIp { ip: value(&ip["ip"]) }),
            });
            Pod { metadata, status }.encode_to_vec()
        }
        Kind::Node => {
            let addresses = all(&status["addresses"], |address| NodeAddress {
                r#type: value(&address["type"]),
                address: value(&address["address"]),
            });
            let spec = spec.is_object().then(|| NodeSpec {
                pod_cidr: value(&spec["podCIDR"]),
                pod_cidrs: all(&spec["podCIDRs"], string),
            });
            Node { metadata, spec, status: Some(NodeStatus { addresses }) }.encode_to_vec()
        }
        Kind::ServiceImport => panic!("custom resources have no protobuf"),
    }
}

fn metadata(json: &Value) -> ObjectMeta {
    ObjectMeta {
        name: value(&json["name"]),
        generate_name: Some(String::new()),
        namespace: value(&json["namespace"]),
        resource_version: value(&json["resourceVersion"]),
        generation: Some(7),
        // Go's zero time is null in JSON and empty in protobuf.
        deletion_timestamp: json
            .get("deletionTimestamp")
            .map(|time| Time { seconds: time.is_string().then_some(7) }),
        labels: pairs(&json["labels"]),
        annotations: pairs(&json["annotations"]),
        managed_fields: vec![ManagedFieldsEntry { manager: Some("x".into()) }],
    }
}

fn service_spec(json: &Value) -> ServiceSpec {
    let port = |port: &Value| ServicePort {
        name: value(&port["name"]),
        protocol: value(&port["protocol"]),
        port: number(&port["port"]),
        target_port: Some(IntOrString { r#type: Some(0), int_val: Some(8080) }),
        node_port: Some(0),
    };
    ServiceSpec {
        ports: all(&json["ports"], port),
        selector: BTreeMap::from([("app".to_owned(), "x".to_owned())]),
        cluster_ip: value(&json["clusterIP"]),
        r#type: value(&json["type"]),
        external_ips: all(&json["externalIPs"], string),
        external_name: value(&json["externalName"]),
        publish_not_ready_addresses: Some(false),
        ip_family_policy: text(&json["ipFamilyPolicy"]),
        cluster_ips: all(&json["clusterIPs"], string),
        ip_families: all(&json["ipFamilies"], string),
    }
}

fn endpoint(json: &Value) -> Endpoint {
    let target = &json["targetRef"];
    Endpoint {
        addresses: all(&json["addresses"], string),
        conditions: Some(EndpointConditions {
            ready: json["conditions"]["ready"].as_bool(),
            serving: Some(true),
        }),
        hostname: text(&json["hostname"]),
        target_ref: (!target.is_null())
            .then(|| ObjectReference { kind: Some("Pod".into()), name: value(&target["name"]) }),
        node_name: Some("node".into()),
        zone: text(&json["zone"]),
    }
}

/// A text that is a pointer in Go.
fn text(json: &Value) -> Option<String> {
    json.as_str().map(str::to_owned)
}

/// A text that is none.
fn value(json: &Value) -> Option<String> {
    Some(json.as_str().unwrap_or_default().to_owned())
}

fn string(json: &Value) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

fn number(json: &Value) -> Option<i32> {
    json.as_i64().map(|number| number as i32)
}

fn all<T>(json: &Value, each: impl Fn(&Value) -> T) -> Vec<T> {
    json.as_array().into_iter().flatten().map(each).collect()
}

fn pairs(json: &Value) -> BTreeMap<String, String> {
    let pairs = json.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), string(value))).collect()
}
