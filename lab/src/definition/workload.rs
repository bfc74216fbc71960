//! Pods, and what makes pods, as the lab reads them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Node;

/// A pod of the lab.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pod {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// The node that it is on.
    pub node: String,
    /// Ports of all its containers.
    pub ports: Vec<ContainerPort>,
}

/// A port of a container (`v1` ContainerPort).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// `name`.
    pub name: Option<String>,
    /// `containerPort`.
    pub container_port: u16,
    /// `protocol`: TCP, UDP or SCTP.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// `hostPort`.
    pub host_port: Option<u16>,
    /// `hostIP`.
    #[serde(rename = "hostIP")]
    pub host_ip: Option<String>,
}

fn tcp() -> String {
    "TCP".to_owned()
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<String>,
    containers: Vec<Container>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
struct Container {
    ports: Vec<ContainerPort>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Template {
    metadata: Metadata,
    spec: PodSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WorkloadSpec {
    replicas: Option<u32>,
    template: Template,
}

#[derive(Deserialize)]
struct Object<S> {
    #[serde(default)]
    metadata: Metadata,
    spec: S,
}

/// What can't be, and what to do.
pub(super) struct Mistake {
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

/// The pods that `objects` make, each on one of `nodes`, and the objects that make none.
pub(super) fn pods(objects: Vec<Value>, nodes: &[Node]) -> Result<(Vec<Pod>, Vec<Value>), Mistake> {
    let mut found = Vec::new();
    let mut others = Vec::new();
    let mut turn = nodes.iter().cycle();
    for object in objects {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "Pod" => {
                let pod: Object<PodSpec> = read(&kind, object)?;
                let name = pod.metadata.name.clone().unwrap_or_default();
                found.push((name, pod.metadata, pod.spec));
            }
            "Deployment" | "StatefulSet" | "ReplicaSet" | "DaemonSet" => {
                let set: Object<WorkloadSpec> = read(&kind, object)?;
                let template = set.spec.template;
                let metadata =
                    Metadata { namespace: set.metadata.namespace, ..template.metadata.clone() };
                let owner = set.metadata.name.unwrap_or_default();
                if kind == "DaemonSet" {
                    found.extend(nodes.iter().map(|node| {
                        let spec =
                            PodSpec { node_name: Some(node.name.clone()), ..template.spec.clone() };
                        (format!("{owner}-{}", node.name), metadata.clone(), spec)
                    }));
                } else {
                    found.extend((0..set.spec.replicas.unwrap_or(1)).map(|index| {
                        (format!("{owner}-{index}"), metadata.clone(), template.spec.clone())
                    }));
                }
            }
            _ => others.push(object),
        }
    }
    let mut pods: Vec<Pod> = Vec::with_capacity(found.len());
    for (name, metadata, spec) in found {
        let namespace = metadata.namespace.unwrap_or_else(|| "default".to_owned());
        let node = match spec.node_name {
            Some(wanted) => match nodes.iter().find(|node| node.name == wanted) {
                Some(node) => node,
                None => {
                    let what =
                        format!("Pod {namespace}/{name} wants node `{wanted}`, which is not there");
                    return Err(Mistake { what, remedy: "name one of spec.nodes" });
                }
            },
            None => turn.next().unwrap_or(&nodes[0]),
        };
        if name.is_empty()
            || pods.iter().any(|pod| (&pod.namespace, &pod.name) == (&namespace, &name))
        {
            let what = format!("two Pods are called {namespace}/{name}");
            return Err(Mistake { what, remedy: "give each a name of its own" });
        }
        pods.push(Pod {
            namespace,
            name,
            labels: metadata.labels,
            annotations: metadata.annotations,
            node: node.name.clone(),
            ports: spec.containers.into_iter().flat_map(|container| container.ports).collect(),
        });
    }
    Ok((pods, others))
}

fn read<S: serde::de::DeserializeOwned>(kind: &str, object: Value) -> Result<Object<S>, Mistake> {
    let name = object["metadata"]["name"].as_str().unwrap_or("?").to_owned();
    serde_json::from_value(object).map_err(|error| Mistake {
        what: format!("{kind} `{name}`: {error}"),
        remedy: "write it as the Kubernetes API has it",
    })
}
