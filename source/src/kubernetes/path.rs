//! Where each kind lives in the API.

use daymark_cluster::Kind;

/// Where a kind lives in the API.
pub(super) struct Path {
    /// API group; empty for the core.
    pub(super) group: &'static str,
    /// URL path of its list.
    pub(super) list: &'static str,
    /// Further query, beginning with `&`.
    pub(super) filter: &'static str,
}

/// Where `kind` lives.
pub(super) fn path(kind: Kind) -> Path {
    let (group, list) = match kind {
        Kind::Service => ("", "/api/v1/services"),
        Kind::EndpointSlice => ("discovery.k8s.io", "/apis/discovery.k8s.io/v1/endpointslices"),
        Kind::Namespace => ("", "/api/v1/namespaces"),
        Kind::Pod => ("", "/api/v1/pods"),
        Kind::ServiceImport => {
            ("multicluster.x-k8s.io", "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports")
        }
        Kind::Node => ("", "/api/v1/nodes"),
    };
    let filter = match kind {
        Kind::Pod => {
            "&fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed%2C\
             status.phase%21%3DUnknown"
        }
        _ => "",
    };
    Path { group, list, filter }
}
