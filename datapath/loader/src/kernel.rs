//! The datapath of the kernel: programs loaded once for a node, tables and links pinned, so that
//! both outlive this process.
//!
//! Below the folder that [`Root::bpffs`] names there is one folder of tables for each layout, named
//! after the hash of the abi, and one of links. An agent with another layout makes new tables beside
//! the old ones; the old programs run on theirs until each link has been given its new program.

mod batch;
mod bpffs;
mod connections;
mod cost;
mod counters;
mod endpoints;
mod events;
mod filters;
mod links;
mod object;
mod sockets;
mod tables;
mod trial;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use daymark_abi::{
    Be16,
    endpoint::Peer as PeerValue,
    flow::{Flow, FlowKey},
    host_port::{HostPortKey, Target},
    settings::{KEEPS_SOURCE, MASQUERADE, PACE, Settings},
};
use parking_lot::Mutex;

pub use bpffs::mount_bpffs;
pub use cost::{Cost, costs, measure_runs};
pub use counters::{Dropped, Traffic};
pub use events::{EventStream, Told};
pub use filters::PRIORITY as FILTER_PRIORITY;
pub use links::Foreign;
pub use object::verified_instructions;
pub use tables::Fill;
pub use trial::Outcome;

use crate::{
    Attachment, Datapath, DatapathError, Endpoint, HostPort, NodeSettings, Peer, Transport,
    address::{address, be16, prefix},
};
use links::{Hook, Links};
use tables::Tables;

/// Where one agent's programs and tables live.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    /// A folder on a BPF file system; made if it is missing.
    pub bpffs: PathBuf,
    /// A cgroup v2 folder whose processes reach host ports through 127.0.0.1; `None` switches that
    /// off.
    pub cgroup: Option<PathBuf>,
    /// Octets of memory by which tables are sized; `None` for what the machine has.
    pub memory: Option<u64>,
}

/// The [`Datapath`] of the kernel. Devices are those of the network namespace of the thread that
/// calls.
pub struct Kernel {
    root: PathBuf,
    folder: PathBuf,
    state: Mutex<State>,
}

/// What calls change, one at a time: each is a few system calls.
struct State {
    links: Links,
    tables: Tables,
    /// As in the table: asked often, and clashes are not found by key alone.
    host_ports: Vec<HostPort>,
}

impl Kernel {
    /// Loads the programs, on the tables that an earlier process left if they have the same layout.
    /// Nothing is attached anew before [`Datapath::configure`] and [`Datapath::add_endpoint`].
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn open(root: &Root) -> Result<Kernel, DatapathError> {
        Kernel::open_with(root, Attachment::Best)
    }

    /// The same, with programs put at devices in a certain way.
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn open_with(root: &Root, attachment: Attachment) -> Result<Kernel, DatapathError> {
        let folder = root.bpffs.join(format!("{:016x}", daymark_abi::HASH));
        let links_folder = root.bpffs.join("links");
        for made in [&folder, &links_folder] {
            std::fs::create_dir_all(made).map_err(kernel(made.display()))?;
        }
        if !bpffs::is_bpffs(&folder).map_err(kernel(folder.display()))? {
            return Err(kernel(root.bpffs.display())(
                "is not on a BPF file system: mount one there",
            ));
        }
        let sizes = object::Sizes::for_memory(root.memory);
        let loaded = object::load(&folder, &sizes)?;
        let mut links = Links::new(loaded.programs, links_folder, attachment)?;
        let mut tables = loaded.tables;
        let mut settings = tables.settings.get(&0, 0)?.0;
        settings.netns = links.namespace_cookie()?;
        if loaded.fresh && links.any()? {
            // Connections through pods that are attached already are older than these tables.
            settings.known_from = tables::moment() + object::LONGEST_UNSEEN;
        }
        tables.settings.set(0, tables::Plain(settings), 0)?;
        links.at_sockets(root.cgroup.as_deref())?;
        let host_ports = tables.host_ports()?;
        let state = Mutex::new(State { links, tables, host_ports });
        Ok(Kernel { root: root.bpffs.clone(), folder, state })
    }

    /// Whether the uplink has the fq queueing discipline: then packets of pods with a rate out of the
    /// pod are given the times at which they may depart. Off until it is said; kept with the tables.
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn set_pacing(&self, on: bool) -> Result<(), DatapathError> {
        let state = &mut *self.state.lock();
        let mut settings = state.tables.settings.get(&0, 0)?.0;
        settings.flags = settings.flags & !PACE | if on { PACE } else { 0 };
        Ok(state.tables.settings.set(0, tables::Plain(settings), 0)?)
    }

    /// Removes what agents with another layout left. To be called once all endpoints have been added
    /// again: until then their programs may still run on it.
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn remove_older(&self) -> Result<(), DatapathError> {
        for path in entries(&self.root)? {
            let is_tables = path.file_name().is_some_and(|name| {
                name.len() == 16 && name.to_string_lossy().bytes().all(|b| b.is_ascii_hexdigit())
            });
            if is_tables && path != self.folder {
                remove_folder(&path)?;
            }
        }
        Ok(())
    }

    /// Removes every pin of this root, and with them the links and the tables. Endpoints of which
    /// the devices are still there lose their programs, never their routes.
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn remove_all(root: &Path) -> Result<(), DatapathError> {
        match std::fs::read_dir(root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(kernel(root.display())(error)),
            Ok(_) => {
                links::remove_filters(&root.join("links"))?;
                // Ours are folders; files are the file system's own, if it is mounted right here.
                for path in entries(root)?.filter(|path| path.is_dir()) {
                    remove_folder(&path)?;
                }
                match std::fs::remove_dir(root) {
                    // A mount of its own, which is now empty.
                    Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(()),
                    removed => removed.map_err(kernel(root.display())),
                }
            }
        }
    }

    /// Programs of others at the hooks of a device, which we leave alone.
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn foreign(&self, ifindex: u32) -> Result<Vec<Foreign>, DatapathError> {
        self.state.lock().links.foreign(ifindex)
    }

    /// Packets dropped, by reason and direction; only what is not zero.
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn drops(&self) -> Result<Vec<Dropped>, DatapathError> {
        self.state.lock().tables.drops()
    }

    /// Packets seen, by hook.
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn traffic(&self) -> Result<Vec<Traffic>, DatapathError> {
        self.state.lock().tables.traffic()
    }

    /// What happened to connections, ports and events, by cause ([`daymark_abi::counter::CAUSES`]).
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn causes(&self) -> Result<Vec<(&'static str, u64)>, DatapathError> {
        self.state.lock().tables.causes()
    }

    /// How full the tables are. It walks them: not to be asked more than once in some seconds.
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn tables(&self) -> Result<Vec<Fill>, DatapathError> {
        tables::fill(&self.folder)
    }

    /// The events of the programs. Every call gives a reader of the same buffer, and an event is
    /// read once: there should be one.
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn events(&self) -> Result<EventStream, DatapathError> {
        EventStream::open(&self.folder)
    }

    /// All connections that programs know, for people and tests: there may be hundreds of thousands.
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn connections(&self) -> Result<Vec<(FlowKey, Flow)>, DatapathError> {
        connections::all(&self.folder)
    }

    /// Removes connections whose time is over, and gives how many there were. Programs take them for
    /// gone anyway; to be called every few seconds, so that they take no place.
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn sweep(&self) -> Result<usize, DatapathError> {
        connections::sweep(&self.folder)
    }
}

impl Datapath for Kernel {
    fn configure(&self, settings: &NodeSettings) -> Result<(), DatapathError> {
        let state = &mut *self.state.lock();
        let node = |v4: bool| {
            let found = settings.node_addresses.iter().find(|a| a.is_ipv4() == v4);
            found.map(|found| address(*found)).unwrap_or_default()
        };
        let before = state.tables.settings.get(&0, 0)?.0;
        let value = Settings {
            uplink: settings.uplink_ifindex,
            vxlan: settings.vxlan_ifindex.unwrap_or(0),
            vni: settings.vni,
            tunnel_port: Be16::new(settings.vxlan_ifindex.map_or(0, |_| settings.vxlan_port)),
            flags: if settings.masquerade { MASQUERADE } else { 0 } | before.flags & PACE,
            node_ipv4: node(true),
            node_ipv6: node(false),
            ..before
        };
        let kept = settings.no_masquerade.iter().chain(&settings.pod_ranges);
        let ranges = kept.map(|range| (prefix(*range), KEEPS_SOURCE)).collect();
        state.tables.set_ranges(&ranges)?;
        state.tables.settings.set(0, tables::Plain(value), 0)?;
        let uplink = (settings.uplink_ifindex != 0).then_some(settings.uplink_ifindex);
        for hook in [Hook::FromWire, Hook::ToWire] {
            state.links.only(hook, uplink)?;
        }
        for hook in [Hook::FromOverlay, Hook::ToOverlay] {
            state.links.only(hook, settings.vxlan_ifindex)?;
        }
        Ok(())
    }

    fn add_endpoint(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let state = &mut *self.state.lock();
        let added = state.add_endpoint(endpoint);
        if added.is_err() {
            // The first failure is the one to tell.
            let _ = state.remove_endpoint(endpoint.host_ifindex);
        }
        added
    }

    fn remove_endpoint(&self, host_ifindex: u32) -> Result<(), DatapathError> {
        self.state.lock().remove_endpoint(host_ifindex)
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>, DatapathError> {
        self.state.lock().endpoints()
    }

    fn open_host_ports(&self, ports: &[HostPort]) -> Result<(), DatapathError> {
        let state = &mut *self.state.lock();
        let mut new: Vec<HostPort> = Vec::new();
        for port in ports {
            crate::host_port::refuse_taken(state.host_ports.iter().chain(&new), port)?;
            crate::host_port::refuse_untranslatable(port)?;
            if !state.host_ports.contains(port) && !new.contains(port) {
                new.push(*port);
            }
        }
        for (at, port) in new.iter().enumerate() {
            let (key, target) = host_port_entry(port);
            if let Err(error) = state.tables.host_ports.insert(key, target, 0) {
                for undone in &new[..at] {
                    let _ = state.tables.host_ports.remove(&host_port_entry(undone).0);
                }
                return Err(tables::full("HOST_PORTS", object::HOST_PORTS)(error));
            }
        }
        state.host_ports.extend(new);
        state.host_ports.sort();
        Ok(())
    }

    fn close_host_ports(&self, pod_address: IpAddr) -> Result<(), DatapathError> {
        let state = &mut *self.state.lock();
        let (closed, kept): (Vec<_>, Vec<_>) =
            state.host_ports.drain(..).partition(|port| port.pod_address == pod_address);
        state.host_ports = kept;
        for port in closed {
            tables::unless_missing(state.tables.host_ports.remove(&host_port_entry(&port).0))?;
        }
        Ok(())
    }

    fn host_ports(&self) -> Result<Vec<HostPort>, DatapathError> {
        Ok(self.state.lock().host_ports.clone())
    }

    fn set_peers(&self, peers: &[Peer]) -> Result<(), DatapathError> {
        let wanted: BTreeMap<_, _> = peers
            .iter()
            .map(|peer| {
                let tunnel = peer.tunnel.map(address).unwrap_or_default();
                (prefix(peer.pods), PeerValue { tunnel })
            })
            .collect();
        self.state.lock().tables.set_peers(&self.folder, &wanted)
    }
}

fn host_port_entry(port: &HostPort) -> (tables::Plain<HostPortKey>, tables::Plain<Target>) {
    let key = HostPortKey {
        address: address(port.host_address),
        port: be16(port.host_port),
        protocol: port.transport as u8,
        pad: 0,
    };
    let target =
        Target { address: address(port.pod_address), port: be16(port.pod_port), pad: [0; 2] };
    (key.into(), target.into())
}

/// The transport of a key in the table.
fn transport(protocol: u8) -> Option<Transport> {
    [Transport::Tcp, Transport::Udp, Transport::Sctp].into_iter().find(|t| *t as u8 == protocol)
}

/// What is in a folder.
fn entries(path: &Path) -> Result<impl Iterator<Item = PathBuf> + use<>, DatapathError> {
    let entries = std::fs::read_dir(path).map_err(kernel(path.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()))
}

fn remove_folder(path: &Path) -> Result<(), DatapathError> {
    // A BPF file system has no recursion of its own to speak of: folders and pins.
    for path in entries(path)? {
        if path.is_dir() {
            remove_folder(&path)?;
        } else {
            std::fs::remove_file(&path).map_err(kernel(path.display()))?;
        }
    }
    std::fs::remove_dir(path).map_err(kernel(path.display()))
}

/// Makes an error of what the kernel said.
fn kernel<E>(what: impl std::fmt::Display) -> impl FnOnce(E) -> DatapathError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let what = what.to_string();
    move |cause| DatapathError::Kernel { what, cause: cause.into() }
}

impl From<aya::maps::MapError> for DatapathError {
    fn from(error: aya::maps::MapError) -> Self {
        DatapathError::Kernel { what: "a table".to_owned(), cause: error.into() }
    }
}
