//! CHECK: whether an attachment is still as it was made. What later plugins added is not looked at.

use std::os::fd::BorrowedFd;

use daymark_cni_spec::{AttachmentId, CniError, code};

use super::{Attachments, datapath_error};
use crate::{namespace::Namespace, netlink::Connection, wiring};

impl Attachments {
    pub(super) fn check(&self, id: &AttachmentId, netns: BorrowedFd<'_>) -> Result<(), CniError> {
        let namespace = Namespace::of_pod(netns)?;
        let _turn = self.turns.take(&id.container_id);
        let gone = |what: String| CniError::new(code::CHECK, what);
        let attached = self.state.lock().attached.get(id).cloned();
        let attached = attached.ok_or_else(|| {
            CniError::new(code::UNKNOWN_CONTAINER, format!("{id} is not attached"))
        })?;
        let record = &attached.record;
        let host = Connection::open().map_err(wiring::refused)?;
        wiring::check(&host, &namespace.netlink()?, record)?;
        let endpoints = self.datapath.endpoints().map_err(datapath_error)?;
        let known = |index| endpoints.iter().any(|endpoint| endpoint.host_ifindex == index);
        if !attached.host_ifindex.is_some_and(known) {
            return Err(gone(format!("{} is not in the datapath", record.host_ifname)));
        }
        let ports = crate::host_ports::resolve(&record.port_mappings, &record.addresses)?;
        if !ports.is_empty() {
            let open = self.datapath.host_ports().map_err(datapath_error)?;
            if let Some(port) = ports.iter().find(|port| !open.contains(port)) {
                return Err(gone(format!("host port {} is not open", port.host_port)));
            }
        }
        Ok(())
    }
}
