//! The connections in the tables: read, and removed when their time is over.

use std::path::Path;

use aya::maps::MapData;
use daymark_abi::flow::{Flow, FlowKey};

use super::{batch, kernel, tables::moment};
use crate::DatapathError;

const TABLES: [&str; 2] = ["ESTABLISHED", "YOUNG"];

/// All connections, in any order; those that begin or end meanwhile may be missed or told twice.
pub(super) fn all(folder: &Path) -> Result<Vec<(FlowKey, Flow)>, DatapathError> {
    let mut flows = Vec::new();
    for name in TABLES {
        let pin = folder.join(name);
        let map = MapData::from_pin(&pin).map_err(kernel(pin.display()))?;
        batch::walk(map.fd(), |key: &FlowKey, flow: &Flow| flows.push((*key, *flow)))
            .map_err(kernel(name))?;
    }
    Ok(flows)
}

/// Removes what has expired, and gives how many there were. `YOUNG` makes room by itself, but an
/// expired entry there would outlive a younger one that is still used.
pub(super) fn sweep(folder: &Path) -> Result<usize, DatapathError> {
    let mut removed = 0;
    for name in TABLES {
        let pin = folder.join(name);
        let map = MapData::from_pin(&pin).map_err(kernel(pin.display()))?;
        let now = moment();
        let mut expired = Vec::new();
        batch::walk(map.fd(), |key: &FlowKey, flow: &Flow| {
            if flow.expires < now {
                expired.push(*key);
            }
        })
        .map_err(kernel(name))?;
        batch::remove(map.fd(), &expired).map_err(kernel(name))?;
        removed += expired.len();
    }
    Ok(removed)
}
