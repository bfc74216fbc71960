//! Nodes and pods on one machine, as network namespaces that the real CNI plugin and the real programs
//! wire: to try Daymark out, for tests and for benchmarks.
//!
//! A node is a network namespace on a virtual wire, with a state folder, a bpffs and a cgroup2 subtree
//! of its own, in which `daymark agent` runs. A pod is a network namespace for which the CNI plugin is
//! called as a container runtime would, with a small server that answers on the pod's ports. What the
//! kubelet does on a real node the lab's own process does here ([`kubelet`]).
//!
//! Start with [`definition`] (the file that people write), then [`lab`] (up and down), then [`kubelet`].

pub mod api;
pub mod capture;
pub mod definition;
pub mod kubelet;
pub mod lab;
pub mod layout;
pub mod namespace;
pub mod objects;
pub mod plugin;
pub mod processes;
pub mod server;
pub mod wire;
