//! Programs of others at the node's uplink.

use daymark_cni::node::{self, Uplink};
use daymark_loader::Kernel;

/// All of them in words, whichever way they are attached. What the kernel does not tell is a warning:
/// nothing depends on it.
pub(crate) fn programs(datapath: &Kernel, uplink: &Uplink) -> Vec<String> {
    let links = datapath.foreign(uplink.index).map_err(|error| error.to_string());
    let links = links.map(|links| links.iter().map(ToString::to_string).collect());
    let filters = node::foreign_programs(uplink).map_err(|error| error.to_string());
    let told = |told: Result<Vec<String>, String>| {
        told.unwrap_or_else(|error| {
            let device = &uplink.name;
            tracing::warn!(device, error, "what programs others have there can't be told");
            Vec::new()
        })
    };
    [links, filters].into_iter().flat_map(told).collect()
}
