//! What the cluster is: Services, EndpointSlices, Namespaces, Pods, ServiceImports and Nodes, cut down
//! to what Daymark uses, and the store that turns a source's events into snapshots and deltas.
//!
//! This crate does no I/O, is never async and never names a Kubernetes type: `source` trims foreign
//! objects and feeds [`Writer`]; `dns`, `lb`, `policy` and `cni` follow it through [`Reader`].
//!
//! Start with [`object`] (the nouns), then [`event`] (what a source says), [`snapshot`] (what a
//! reader sees) and [`store`] (how one becomes the other).
#![forbid(unsafe_code)]

pub mod event;
pub mod name;
pub mod object;
pub mod selector;
pub mod snapshot;
pub mod store;

pub use event::{Event, Kind, KindSet, Needs, ObjectKey};
pub use name::{Interner, Name};
pub use object::{
    Endpoint, EndpointSlice, External, Labels, Namespace, Node, ObjectName, Pod, Port, Ports,
    Protocol, Service, ServiceImport, ServiceKind,
};
pub use selector::Selector;
pub use snapshot::{Delta, ServiceState, Snapshot};
pub use store::{Follow, Reader, Writer};
