//! A CoreDNS-compatible DNS server for Kubernetes.
pub mod wire;
pub mod zone;
pub mod plugins;
