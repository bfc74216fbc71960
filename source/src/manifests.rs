//! A folder of Kubernetes manifests as a source: for a laptop, for tests, for a cluster without an
//! API server.
//!
//! Files `*.yaml`, `*.yml` and `*.json` are read, in subfolders too; names that begin with a dot are
//! passed over, which also fits a mounted ConfigMap with its `..data` link. Service, EndpointSlice,
//! Namespace, Pod, ServiceImport and Node are understood, also inside a `List`; other kinds are
//! ignored. Three things differ from an API server, where somebody else does them:
//! - a namespace that objects use exists, declared or not;
//! - an object without a namespace is in `default`;
//! - a Service of type ClusterIP without `clusterIP` gets an address by the hash of its namespace
//!   and name: in 10.96.0.0/12, and with `ipFamilies` or `ipFamilyPolicy` also or only in
//!   fd00:10:96::/112.
//!
//! EndpointSlices come from the files alone: nobody selects Pods here.
//!
//! Start with [`parse`] (one file), then `folder` (all of them), then `watch` (over time).

mod address;
mod error;
mod folder;
mod parse;
mod plan;
mod watch;

pub use self::{
    error::{ManifestError, ManifestErrors, Mistake},
    parse::{MAX_FILE, parse},
};
pub(crate) use self::{folder::Folder, watch::Watcher};

#[cfg(test)]
mod tests;
