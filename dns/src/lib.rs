//! A CoreDNS-compatible DNS server for Kubernetes.

pub mod authority;
pub mod corefile;
pub mod expression;
pub mod metrics;
pub mod plugin;
pub mod plugins;
pub mod server;
pub mod wire;
pub mod zone;
