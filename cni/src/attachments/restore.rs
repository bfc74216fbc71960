//! Start of an agent: what an earlier one made is found, put right where it is incomplete, and only
//! then what is left over is removed. Pods that run notice nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    sync::{Arc, atomic::AtomicU32},
};

use daymark_loader::{Datapath, DatapathError};
use parking_lot::Mutex;

use super::{Attached, Attachments, Settings, State, add::endpoint};
use crate::{
    host_ports, identity,
    ipam::{Pools, RangeError},
    metrics::Metrics,
    netlink::{Connection, Link, NetlinkError},
    record::{Record, Store},
    turns::Turns,
};

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    /// Attachments that live on.
    pub kept: usize,
    /// Records whose pods are gone, links without a record, entries of the datapath without a link.
    pub removed: usize,
}

/// An agent can't take up the node's attachments.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A pod range is of no use.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The records can't be read or written.
    #[error("the records of attachments: {0}")]
    Records(#[from] io::Error),
    /// The kernel does not tell its links.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The datapath does not tell its entries, or keeps what is left over.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

impl Attachments {
    /// Takes up what is there.
    ///
    /// # Errors
    /// [`RestoreError`]; then nothing was removed but records of another boot.
    pub fn restore(
        settings: Settings,
        datapath: Arc<dyn Datapath>,
        metrics: Metrics,
    ) -> Result<(Self, Restored), RestoreError> {
        let store = Store::open(&settings.folder)?;
        let pools = Pools::new(&settings.pod_ranges)?;
        let records = store.load(&settings.boot_id)?;
        let host = Connection::open()?;
        let links = host.links()?;
        let mtu = AtomicU32::new(settings.mtu);
        let attachments = Attachments {
            settings,
            mtu,
            datapath,
            store,
            state: Mutex::new(State { pools, ..State::default() }),
            turns: Turns::default(),
            metrics,
        };
        let mut restored = Restored::default();
        for record in records {
            match links.iter().find(|link| link.name == record.host_ifname) {
                Some(link) => {
                    attachments.take_up(record, link);
                    restored.kept += 1;
                }
                // A veth goes with the namespace of its other end: the pod has ended.
                None => {
                    attachments.store.remove(&record.attachment)?;
                    restored.removed += 1;
                }
            }
        }
        restored.removed += attachments.remove_leftovers(&host, &links)?;
        attachments.show();
        Ok((attachments, restored))
    }

    /// What fails for one pod must not keep the agent from the others: it is told, and CHECK finds it.
    fn take_up(&self, record: Record, link: &Link) {
        let id = record.attachment.clone();
        if let Err(error) = self.datapath.add_endpoint(&endpoint(&record, link.index)) {
            tracing::error!(attachment = %id, %error, "a pod is not in the datapath");
        }
        let opened = match host_ports::resolve(&record.port_mappings, &record.addresses) {
            Ok(ports) if !ports.is_empty() => self.datapath.open_host_ports(&ports),
            // Mappings that can't be had failed their ADD too, of which only the undoing is missing.
            Ok(_) | Err(_) => Ok(()),
        };
        if let Err(error) = opened {
            tracing::error!(attachment = %id, %error, "a pod is without its host ports");
        }
        let mut state = self.state.lock();
        state.serial = state.serial.max(record.serial);
        if record.pooled {
            state.pools.restore(&record.addresses);
        }
        state.attached.insert(id, Attached { record, host_ifindex: Some(link.index) });
    }

    /// Links and entries that no record speaks of; gives how many there were.
    fn remove_leftovers(&self, host: &Connection, links: &[Link]) -> Result<usize, RestoreError> {
        let attached: BTreeMap<u32, Record> = self.host_links();
        let stray = links.iter().filter(|link| {
            identity::is_ours(&link.name) && link.is_veth && !attached.contains_key(&link.index)
        });
        let mut removed = 0;
        for link in stray {
            host.delete_link(&link.name)?;
            removed += 1;
        }
        for endpoint in self.datapath.endpoints()? {
            if !attached.contains_key(&endpoint.host_ifindex) {
                self.datapath.remove_endpoint(endpoint.host_ifindex)?;
                removed += 1;
            }
        }
        let addresses: BTreeSet<IpAddr> =
            attached.values().flat_map(|record| record.addresses.iter().copied()).collect();
        let ports = self.datapath.host_ports()?;
        let to: BTreeSet<IpAddr> = ports.iter().map(|port| port.pod_address).collect();
        for address in to.difference(&addresses) {
            self.datapath.close_host_ports(*address)?;
            removed += 1;
        }
        Ok(removed)
    }
}
