//! Where a lab keeps what: everything below one folder, so that taking the folder away takes all.

use std::path::{Path, PathBuf};

/// The folder of one lab.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The lab `name` among those in `labs`.
    pub fn new(labs: &Path, name: &str) -> Self {
        Layout { root: labs.join(name) }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Namespaces are mounted on files in here.
    pub fn namespaces(&self) -> PathBuf {
        self.root.join("ns")
    }

    /// The network namespace of the wire that nodes hang on.
    pub fn wire(&self) -> PathBuf {
        self.namespaces().join("wire")
    }

    /// The network namespace of a node.
    pub fn node_namespace(&self, node: &str) -> PathBuf {
        self.namespaces().join(format!("node-{node}"))
    }

    /// The network namespace of a pod.
    pub fn pod_namespace(&self, namespace: &str, name: &str) -> PathBuf {
        self.namespaces().join(format!("pod-{namespace}_{name}"))
    }

    /// What runs, one file each (see [`crate::processes`]).
    pub fn processes(&self) -> PathBuf {
        self.root.join("processes")
    }

    /// The manifests that the nodes' agents follow.
    pub fn cluster(&self) -> PathBuf {
        self.root.join("cluster")
    }

    /// Names the control group below which nodes have theirs.
    pub fn control_group(&self) -> PathBuf {
        self.root.join("control-group")
    }

    /// What `lab status` reads.
    pub fn status(&self) -> PathBuf {
        self.root.join("status.json")
    }

    /// What is a node's own.
    pub fn node(&self, node: &str) -> NodeLayout {
        NodeLayout { root: self.root.join("nodes").join(node) }
    }
}

/// The folder of one node.
#[derive(Clone, Debug)]
pub struct NodeLayout {
    root: PathBuf,
}

impl NodeLayout {
    /// The folder itself, which is the agent's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A bpffs of the node's own is mounted here.
    pub fn bpffs(&self) -> PathBuf {
        self.root.join("bpf")
    }

    /// The folder that the runtime reads network configurations from.
    pub fn network_configurations(&self) -> PathBuf {
        self.root.join("net.d")
    }

    /// Standard output and error of what runs on the node.
    pub fn log(&self) -> PathBuf {
        self.root.join("agent.log")
    }
}
