//! The agent's side of the plugin: attaches pods to the node's network, detaches them, and knows which
//! are attached.
//!
//! Calls block (on the kernel) and may come from many threads. Those for one container are done one
//! after the other; no lock is held while the kernel works, so none waits for another pod.

mod add;
mod check;
mod detach;
mod restore;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use daymark_cni_spec::{
    AttachmentId, CniError, Configuration, Verb, code,
    deletions::Deletions,
    protocol::{Reply, Request},
};
use daymark_loader::Datapath;
use ipnetwork::IpNetwork;
use parking_lot::Mutex;
use serde_json::Value;

pub(crate) use self::add::everywhere;
pub use self::restore::{RestoreError, Restored};
use crate::{
    ipam::{Fill, Pools},
    metrics::Metrics,
    node::Switches,
    record::{Record, Store},
    turns::Turns,
};

/// What an agent knows about its node before the first pod.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where records are kept; nobody else writes there.
    pub folder: PathBuf,
    /// See [`crate::record::boot_id`].
    pub boot_id: String,
    /// `Node.spec.podCIDRs`.
    pub pod_ranges: Vec<IpNetwork>,
    /// The node's addresses (`InternalIP`), at most one of each family. Each is on a link already.
    pub node_addresses: Vec<IpAddr>,
    /// MTU of pods' links, in octets.
    pub mtu: u32,
    /// Where IPv6 is switched on in a pod.
    pub switches: Switches,
}

/// See [the module](self).
pub struct Attachments {
    settings: Settings,
    mtu: AtomicU32,
    datapath: Arc<dyn Datapath>,
    store: Store,
    state: Mutex<State>,
    turns: Turns,
    metrics: Metrics,
}

/// What is attached, and with which addresses.
#[derive(Default)]
struct State {
    pools: Pools,
    attached: BTreeMap<AttachmentId, Attached>,
    serial: u64,
}

/// An attachment. It is one from the moment in which its addresses are chosen.
#[derive(Clone)]
struct Attached {
    record: Record,
    /// `None` until the link is made.
    host_ifindex: Option<u32>,
}

impl Attachments {
    /// Does what a plugin asks. The namespace is that of the pod, which ADD and CHECK need.
    pub fn handle(&self, request: &Request, netns: Option<BorrowedFd<'_>>) -> Reply {
        let start = Instant::now();
        let outcome = self.dispatch(request, netns);
        self.metrics.observe(request.verb, start.elapsed(), outcome.as_ref().err());
        self.show();
        let verb = request.verb.as_str();
        let about = request.attachment.as_ref().map(AttachmentId::to_string).unwrap_or_default();
        match outcome {
            Ok(result) => {
                tracing::debug!(verb, attachment = about, took = ?start.elapsed(), "done");
                Reply { result, error: None }
            }
            Err(error) => {
                tracing::warn!(verb, attachment = about, %error, "failed");
                Reply { result: None, error: Some(error) }
            }
        }
    }

    fn dispatch(
        &self,
        request: &Request,
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<Option<Value>, CniError> {
        let configuration = Configuration::from_json(&request.configuration)?;
        configuration.allows(request.verb)?;
        let attachment = || {
            let id = request.attachment.as_ref();
            let id = id.and_then(|id| AttachmentId::new(&id.container_id, &id.ifname).ok());
            id.ok_or_else(|| CniError::new(code::ENVIRONMENT, "the request names no attachment"))
        };
        let netns = || {
            netns.ok_or_else(|| {
                CniError::new(code::NAMESPACE, "the request came without a network namespace")
            })
        };
        match request.verb {
            Verb::Add => self.add(&attachment()?, &configuration, request, netns()?).map(Some),
            Verb::Del => self.detach(&attachment()?).map(|()| None),
            Verb::Check => self.check(&attachment()?, netns()?).map(|()| None),
            Verb::Gc => self.collect(&configuration).map(|()| None),
            Verb::Status => self.status(&configuration).map(|()| None),
            Verb::Version => Ok(None),
        }
    }

    /// Takes back what an ADD made whose plugin did not live to hear of it.
    pub fn abandon(&self, request: &Request) {
        if let (Verb::Add, Some(id)) = (request.verb, &request.attachment)
            && let Err(error) = self.detach(id)
        {
            tracing::warn!(attachment = %id, %error, "an abandoned attachment stays");
        }
        self.show();
    }

    /// Frees what belongs to no attachment that the runtime calls valid; goes on after an error.
    fn collect(&self, configuration: &Configuration) -> Result<(), CniError> {
        let valid = &configuration.valid_attachments;
        let of_network = self.records().into_iter().filter(|r| r.network == configuration.name);
        let left: Vec<AttachmentId> =
            of_network.map(|record| record.attachment).filter(|id| !valid.contains(id)).collect();
        let failed: Vec<CniError> = left.iter().filter_map(|id| self.detach(id).err()).collect();
        match failed.first() {
            None => Ok(()),
            Some(first) => {
                let message = format!("{} of {} can't be freed", failed.len(), left.len());
                let all: Vec<String> = failed.iter().map(CniError::to_string).collect();
                Err(CniError::new(first.code, message).because(all.join("; ")))
            }
        }
    }

    fn status(&self, configuration: &Configuration) -> Result<(), CniError> {
        match &configuration.delegate {
            Some(_) => Ok(()),
            None => self
                .state
                .lock()
                .pools
                .check()
                .map_err(|error| CniError { code: code::NOT_AVAILABLE, ..error }),
        }
    }

    /// Makes up for deletions that plugins noted while nobody answered them; gives how many.
    pub fn replay(&self, deletions: &Deletions) -> std::io::Result<usize> {
        let mut done = 0;
        for deletion in deletions.waiting()? {
            match self.detach(&deletion.attachment) {
                Ok(()) => {
                    deletions.strike(&deletion)?;
                    self.metrics.replayed.inc();
                    done += 1;
                }
                // It waits for the next time.
                Err(error) => {
                    tracing::warn!(attachment = %deletion.attachment, %error, "not deleted");
                }
            }
        }
        self.show();
        Ok(done)
    }

    /// All attachments.
    pub fn records(&self) -> Vec<Record> {
        self.state.lock().attached.values().map(|attached| attached.record.clone()).collect()
    }

    /// How many there are, and how full the pod ranges.
    pub fn fill(&self) -> (usize, Vec<Fill>) {
        let state = self.state.lock();
        (state.attached.len(), state.pools.fill())
    }

    /// The link on the host of each attachment, by index.
    pub fn host_links(&self) -> BTreeMap<u32, Record> {
        let state = self.state.lock();
        let linked = state.attached.values();
        linked.filter_map(|a| Some((a.host_ifindex?, a.record.clone()))).collect()
    }

    /// The MTU of pods that are attached from now on.
    pub fn set_mtu(&self, mtu: u32) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }

    fn mtu(&self) -> u32 {
        self.mtu.load(Ordering::Relaxed)
    }

    fn show(&self) {
        let (count, fill) = self.fill();
        self.metrics.attachments.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.metrics.observe_fill(&fill);
    }

    /// Where a pod sends what is not for itself.
    fn gateway(&self, ipv4: bool) -> IpAddr {
        // A family without a pod range can still be given by another plugin: any address does, for
        // its MAC is told to the pod.
        self.state.lock().pools.gateway(ipv4).unwrap_or(match ipv4 {
            true => [169, 254, 1, 1].into(),
            false => [0xfe80, 0, 0, 0, 0, 0, 0, 1].into(),
        })
    }
}

/// What the datapath could not do, as a runtime reads it.
fn datapath_error(error: daymark_loader::DatapathError) -> CniError {
    let code = match &error {
        daymark_loader::DatapathError::Taken { .. } => code::HOST_PORT,
        daymark_loader::DatapathError::Full { .. } => code::TRY_AGAIN,
        daymark_loader::DatapathError::Kernel { .. } => code::WIRING,
    };
    CniError::new(code, error.to_string())
}
