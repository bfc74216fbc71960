//! The file that describes a lab: one `Lab`, and pods as ordinary manifests.
//!
//! ```yaml
//! apiVersion: lab.daymark.io/v1alpha1
//! kind: Lab
//! metadata: {name: two-nodes}
//! spec:
//!   routing: auto                     # native, vxlan, or auto
//!   nodes:
//!   - {name: n1, podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"]}
//!   - {name: n2, podCIDRs: [10.244.2.0/24, "fd00:10:244:2::/64"]}
//! ---
//! apiVersion: v1
//! kind: Pod
//! metadata: {name: web, namespace: shop}
//! spec: {nodeName: n1, containers: [{name: web, ports: [{containerPort: 8080}]}]}
//! ```
//!
//! Of Pods, Deployments, StatefulSets, ReplicaSets and DaemonSets the lab uses names, labels,
//! annotations, `nodeName`, `replicas` and the containers' ports. Pods without a node take turns.

use std::{collections::BTreeSet, path::Path};

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::Value;

mod workload;

pub use self::workload::{ContainerPort, Pod};

/// A lab as its file describes it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// `metadata.name`: what the lab is called among those that run.
    pub name: String,
    /// How packets get from node to node.
    pub routing: Routing,
    /// The nodes, one at least.
    pub nodes: Vec<Node>,
    /// The pods, each with its node.
    pub pods: Vec<Pod>,
    /// All other objects (Services, Namespaces, policies), as they were written.
    pub others: Vec<Value>,
}

/// How packets get from node to node: as `daymark agent --routing` has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// Native within a subnet, VXLAN else.
    #[default]
    Auto,
    /// Routes to the other nodes.
    Native,
    /// Tunnels to the other nodes.
    Vxlan,
}

impl Routing {
    /// As flags have it.
    pub fn name(self) -> &'static str {
        match self {
            Routing::Auto => "auto",
            Routing::Native => "native",
            Routing::Vxlan => "vxlan",
        }
    }
}

/// A node of a lab.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Its name, a label of DNS.
    pub name: String,
    /// `Node.spec.podCIDRs`.
    #[serde(rename = "podCIDRs")]
    pub pod_ranges: Vec<IpNetwork>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    #[serde(default)]
    routing: Routing,
    nodes: Vec<Node>,
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// It can't be read.
    #[error("cannot read `{path}`: {cause}; check the path and that this user may read it")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It is no YAML, or has fields of other shapes than they should have.
    #[error("`{path}`: {cause}")]
    Syntax {
        /// The file.
        path: String,
        /// Where and what.
        cause: String,
    },
    /// What it says can't be.
    #[error("`{path}`: {what}; {remedy}")]
    Wrong {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl Definition {
    /// Reads the file.
    ///
    /// # Errors
    /// [`DefinitionError`].
    pub fn read(path: &Path) -> Result<Self, DefinitionError> {
        let text = std::fs::read_to_string(path).map_err(|cause| DefinitionError::Unreadable {
            path: path.display().to_string(),
            cause,
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// The lab that `text`, the contents of the file `path`, describes.
    ///
    /// # Errors
    /// [`DefinitionError`], except for `Unreadable`.
    pub fn parse(path: &str, text: &str) -> Result<Self, DefinitionError> {
        let syntax = |cause: String| DefinitionError::Syntax { path: path.to_owned(), cause };
        let wrong = |what: String, remedy: &'static str| DefinitionError::Wrong {
            path: path.to_owned(),
            what,
            remedy,
        };
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(text).map_err(|error| syntax(error.to_string()))?;
        let (labs, objects): (Vec<Value>, Vec<Value>) = documents
            .into_iter()
            .filter(|document| !document.is_null())
            .partition(|document| document["kind"] == "Lab");
        let [lab] = labs.as_slice() else {
            let what = format!("{} objects of kind Lab", labs.len());
            return Err(wrong(what, "write exactly one, as in examples/lab/two-nodes.yaml"));
        };
        let spec: Spec = serde_json::from_value(lab["spec"].clone())
            .map_err(|error| syntax(format!("spec of the Lab: {error}")))?;
        let name = lab["metadata"]["name"].as_str().unwrap_or("lab").to_owned();
        let mut names = BTreeSet::new();
        for name in std::iter::once(&name).chain(spec.nodes.iter().map(|node| &node.name)) {
            if !is_label(name) {
                let remedy = "use at most 40 lower-case letters, digits and dashes";
                return Err(wrong(format!("`{name}` cannot be a name"), remedy));
            }
        }
        for node in &spec.nodes {
            if !names.insert(node.name.as_str()) {
                return Err(wrong(format!("two nodes are called `{}`", node.name), "rename one"));
            }
            if !matches!(node.pod_ranges.len(), 1 | 2) {
                let what = format!("node `{}` has {} ranges", node.name, node.pod_ranges.len());
                return Err(wrong(what, "give it one of IPv4, one of IPv6, or one of each"));
            }
        }
        if spec.nodes.is_empty() || spec.nodes.len() > MAX_NODES {
            let what = format!("{} nodes", spec.nodes.len());
            return Err(wrong(what, "write between 1 and 100 under spec.nodes"));
        }
        let (pods, others) = workload::pods(objects, &spec.nodes)
            .map_err(|error| wrong(error.what, error.remedy))?;
        Ok(Definition { name, routing: spec.routing, nodes: spec.nodes, pods, others })
    }
}

/// More have no addresses on the wire.
const MAX_NODES: usize = 100;

/// Whether it fits names of devices, folders and objects.
fn is_label(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = "kind: Lab\nmetadata: {name: demo}\nspec: {nodes: [{name: n1, podCIDRs: \
                       [10.244.1.0/24]}, {name: n2, podCIDRs: [10.244.2.0/24, 'fd00:2::/64']}]}\n";

    #[test]
    fn pods_get_nodes_in_turn_and_daemons_one_on_each() {
        let text = format!(
            "{LAB}---\nkind: Deployment\nmetadata: {{name: web, namespace: shop}}\nspec: {{replicas: 3, \
             template: {{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: c, ports: \
             [{{containerPort: 8080}}]}}]}}}}}}\n---\nkind: DaemonSet\nmetadata: {{name: probe}}\nspec: \
             {{template: {{spec: {{}}}}}}\n---\nkind: Pod\nmetadata: {{name: one}}\nspec: {{nodeName: n2}}\n\
             ---\nkind: Service\nmetadata: {{name: web}}\n"
        );
        let lab = Definition::parse("x.yaml", &text).expect("a lab");
        let pods: Vec<String> = lab
            .pods
            .iter()
            .map(|pod| format!("{}/{} {}", pod.namespace, pod.name, pod.node))
            .collect();
        assert_eq!(
            pods,
            [
                "shop/web-0 n1",
                "shop/web-1 n2",
                "shop/web-2 n1",
                "default/probe-n1 n1",
                "default/probe-n2 n2",
                "default/one n2"
            ]
        );
        assert_eq!(lab.pods[0].labels["app"], "web");
        assert_eq!(lab.pods[0].ports[0].container_port, 8080);
        assert_eq!(lab.others.len(), 1);
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (text, said) in [
            ("kind: Pod\n", "x.yaml`: 0 objects of kind Lab; write exactly one"),
            ("kind: Lab\nspec: {nodes: []}\n", "0 nodes; write between 1 and 100"),
            (
                "kind: Lab\nspec: {nodes: [{name: A, podCIDRs: [10.0.0.0/24]}]}\n",
                "`A` cannot be a name",
            ),
            ("kind: Lab\nspec: {nodes: [{name: a, podCIDRs: []}]}\n", "node `a` has 0 ranges"),
            ("kind: Lab\nspec: {nodes: [{name: a, podCIDR: x}]}\n", "unknown field `podCIDR`"),
            (
                &format!("{LAB}---\nkind: Pod\nmetadata: {{name: p}}\nspec: {{nodeName: n9}}\n"),
                "Pod default/p wants node `n9`, which is not there",
            ),
        ] {
            let error = Definition::parse("x.yaml", text).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
