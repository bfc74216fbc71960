//! The objects of a lab as manifests, for the agents to follow: nodes, pods once they have addresses,
//! the EndpointSlices of Services with a selector, and whatever else the definition has.

use std::{collections::BTreeMap, fs, net::IpAddr, path::Path};

use anyhow::Context;
use serde_json::{Value, json};

use crate::{
    definition::{Definition, Pod},
    wire::Addresses,
};

/// A pod that runs.
#[derive(Clone, Debug)]
pub struct Running<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The Node objects.
pub fn nodes(definition: &Definition) -> Vec<Value> {
    let nodes = definition.nodes.iter().enumerate();
    nodes
        .map(|(index, node)| {
            let addresses = Addresses::of_node(index);
            json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": { "name": node.name },
                "spec": {
                    "podCIDR": node.pod_ranges.first(),
                    "podCIDRs": node.pod_ranges,
                },
                "status": { "addresses": [
                    { "type": "InternalIP", "address": addresses.v4 },
                    { "type": "InternalIP", "address": addresses.v6 },
                    { "type": "Hostname", "address": node.name },
                ] },
            })
        })
        .collect()
}

/// The Pod objects, running.
pub fn pods(running: &[Running]) -> Vec<Value> {
    let pod = |running: &Running| {
        let pod = running.pod;
        let ips: Vec<Value> = running.addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "namespace": pod.namespace, "name": pod.name, "labels": pod.labels },
            "spec": { "nodeName": pod.node },
            "status": { "phase": "Running", "podIP": running.addresses.first(), "podIPs": ips },
        })
    };
    running.iter().map(pod).collect()
}

/// One EndpointSlice for each family of each Service that selects pods, as the endpoint slice
/// controller makes them. Named target ports are looked up in the first pod that has them.
pub fn slices(definition: &Definition, running: &[Running]) -> Vec<Value> {
    let services = definition.others.iter().filter(|object| object["kind"] == "Service");
    services.flat_map(|service| of_service(service, running)).collect()
}

fn of_service(service: &Value, running: &[Running]) -> Vec<Value> {
    let selector: BTreeMap<String, String> =
        serde_json::from_value(service["spec"]["selector"].clone()).unwrap_or_default();
    if selector.is_empty() {
        return Vec::new();
    }
    let namespace = service["metadata"]["namespace"].as_str().unwrap_or("default");
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let chosen: Vec<&Running> = running
        .iter()
        .filter(|running| running.pod.namespace == namespace)
        .filter(|running| {
            selector.iter().all(|(key, value)| running.pod.labels.get(key) == Some(value))
        })
        .collect();
    let ports: Vec<Value> = service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|port| {
            let number = target(port, &chosen)?;
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            Some(json!({ "name": port["name"], "port": number, "protocol": protocol }))
        })
        .collect();
    let family = |kind: &str, suffix: &str, wanted: fn(&IpAddr) -> bool| {
        let endpoints: Vec<Value> = chosen
            .iter()
            .filter_map(|running| {
                let address = running.addresses.iter().find(|address| wanted(address))?;
                Some(json!({
                    "addresses": [address],
                    "conditions": { "ready": true, "serving": true, "terminating": false },
                    "nodeName": running.pod.node,
                    "targetRef": {
                        "kind": "Pod", "namespace": namespace, "name": running.pod.name,
                    },
                }))
            })
            .collect();
        (!endpoints.is_empty()).then(|| {
            json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "namespace": namespace,
                    "name": format!("{name}-{suffix}"),
                    "labels": { "kubernetes.io/service-name": name },
                },
                "addressType": kind,
                "endpoints": endpoints,
                "ports": ports,
            })
        })
    };
    [family("IPv4", "v4", IpAddr::is_ipv4), family("IPv6", "v6", IpAddr::is_ipv6)]
        .into_iter()
        .flatten()
        .collect()
}

/// The number of a ServicePort's `targetPort`.
fn target(port: &Value, chosen: &[&Running]) -> Option<u16> {
    let target = &port["targetPort"];
    if let Some(name) = target.as_str() {
        let mut ports = chosen.iter().flat_map(|running| &running.pod.ports);
        return ports
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port);
    }
    let number = if target.is_null() { &port["port"] } else { target };
    number.as_u64().and_then(|number| number.try_into().ok())
}

/// Writes objects as one file, which appears whole.
///
/// # Errors
/// If it can't be written.
pub fn write(folder: &Path, name: &str, items: &[Value]) -> anyhow::Result<()> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    let file = folder.join(name);
    // Names that begin with a dot are passed over by whoever reads the folder.
    let draft = folder.join(format!(".{name}"));
    fs::write(&draft, list.to_string())
        .and_then(|()| fs::rename(&draft, &file))
        .with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_get_slices_of_the_pods_that_they_select() {
        let text = "kind: Lab\nspec: {nodes: [{name: n1, podCIDRs: [10.244.1.0/24]}]}\n---\nkind: Pod\n\
                    metadata: {name: a, labels: {app: web}}\nspec: {containers: [{ports: [{name: http, \
                    containerPort: 8080}]}]}\n---\nkind: Pod\nmetadata: {name: b}\nspec: {}\n---\n\
                    kind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{name: h, \
                    port: 80, targetPort: http}, {name: d, port: 53, protocol: UDP}]}\n---\nkind: Service\n\
                    metadata: {name: none}\nspec: {ports: [{port: 80}]}\n";
        let lab = Definition::parse("x", text).expect("a lab");
        let addresses = [vec!["10.244.1.2", "fd00::2"], vec!["10.244.1.3"]];
        let running: Vec<Running> = std::iter::zip(&lab.pods, addresses)
            .map(|(pod, texts)| Running {
                pod,
                addresses: texts.iter().map(|text| text.parse().expect("an address")).collect(),
            })
            .collect();
        let slices = slices(&lab, &running);
        let shown: Vec<String> = slices
            .iter()
            .map(|slice| {
                let [endpoints, ports] = [&slice["endpoints"], &slice["ports"]];
                format!(
                    "{} {} {}",
                    slice["metadata"]["name"], endpoints[0]["addresses"], ports[0]["port"]
                )
            })
            .collect();
        assert_eq!(shown, ["\"web-v4\" [\"10.244.1.2\"] 8080", "\"web-v6\" [\"fd00::2\"] 8080"]);
        assert_eq!(slices[0]["ports"][1], json!({ "name": "d", "port": 53, "protocol": "UDP" }));
    }
}
