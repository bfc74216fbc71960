//! Cluster names and addresses from Kubernetes. See README.md for what its directive may say.

pub mod config;
pub mod selector;
