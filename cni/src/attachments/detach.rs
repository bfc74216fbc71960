//! DEL, and taking back what a failed ADD made: both succeed however little there is.

use daymark_cni_spec::{AttachmentId, CniError, code};

use super::{Attachments, datapath_error};
use crate::wiring;

impl Attachments {
    /// Removes every trace of an attachment; one that is not known has none.
    pub(super) fn detach(&self, id: &AttachmentId) -> Result<(), CniError> {
        let _turn = self.turns.take(&id.container_id);
        self.detach_in_turn(id)
    }

    /// The same for who has the container's turn. The record goes last, so that what fails can be
    /// tried again.
    pub(super) fn detach_in_turn(&self, id: &AttachmentId) -> Result<(), CniError> {
        let Some(attached) = self.state.lock().attached.get(id).cloned() else { return Ok(()) };
        let record = &attached.record;
        if !record.adopted {
            wiring::remove(&record.host_ifname)?;
        }
        if !record.port_mappings.is_empty() {
            for &address in &record.addresses {
                self.datapath.close_host_ports(address).map_err(datapath_error)?;
            }
        }
        if let Some(index) = attached.host_ifindex {
            self.datapath.remove_endpoint(index).map_err(datapath_error)?;
        }
        self.store.remove(id).map_err(|error| {
            CniError::new(code::IO, format!("the record of {id} stays")).because(error)
        })?;
        let mut state = self.state.lock();
        state.attached.remove(id);
        if record.pooled {
            state.pools.release(&record.addresses);
        }
        Ok(())
    }
}
