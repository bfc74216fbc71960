//! A CoreDNS-compatible DNS server for Kubernetes, as a library.
//!
//! [`Builder`] puts a server together from a Corefile, plugins of one's own ([`Extension`] and
//! [`plugin::Plugin`]) and a source of clusters ([`ClusterSource`]). This crate pulls in no Kubernetes
//! client: `daymark-source` is one source, and a [`daymark_cluster::Writer`] that is fed by anything
//! else is another.

pub mod authority;
mod builder;
pub mod corefile;
pub mod expression;
pub mod metrics;
pub mod plugin;
pub mod plugins;
pub mod server;
pub mod wire;
pub mod zone;

pub use self::{
    builder::Builder,
    plugins::extension::Extension,
    server::{
        Server, StartError,
        cluster_source::{ClusterSource, OpenCluster},
    },
};
