//! ADD.

use std::{net::IpAddr, os::fd::BorrowedFd};

use daymark_cni_spec::{
    AddResult, Arguments, AttachmentId, CniError, Configuration,
    arguments::format_mac,
    code,
    configuration::Rates,
    protocol::Request,
    result::{Address, Dns, Interface, Route},
};
use daymark_loader::{Attachment, Bandwidth, Endpoint, HostPort};
use ipnetwork::IpNetwork;
use serde_json::Value;

use super::{Attached, Attachments, datapath_error};
use crate::{
    host_ports,
    identity::Identity,
    namespace::Namespace,
    netlink::Connection,
    record::{Pod, Record},
    shaping, wiring,
};

/// What another plugin gave: addresses with their gateways, and name servers.
#[derive(Default)]
struct Given {
    addresses: Vec<IpAddr>,
    gateways: Vec<IpAddr>,
    dns: Dns,
}

impl Attachments {
    pub(super) fn add(
        &self,
        id: &AttachmentId,
        configuration: &Configuration,
        request: &Request,
        netns: BorrowedFd<'_>,
    ) -> Result<Value, CniError> {
        let namespace = Namespace::of_pod(netns)?;
        let arguments = Arguments::parse(&request.arguments)?;
        let _turn = self.turns.take(&id.container_id);
        if let Some(previous) = &configuration.previous {
            self.adopt(id, configuration, request, &namespace)?;
            return Ok(previous.clone());
        }
        let given = match &configuration.delegate {
            Some(plugin) => given(plugin, request.ipam.as_ref())?,
            None => Given::default(),
        };
        let record = self.reserve(id, configuration, request, &arguments, &given)?;
        let gateways = self.gateways(&record, &given);
        let made = self.make(&record, &gateways, &namespace);
        made.inspect_err(|_| self.undo(id))?;
        let result = self.result(&record, &gateways, configuration, given.dns);
        Ok(result.to_json(configuration.version))
    }

    /// Chooses addresses and writes the record.
    fn reserve(
        &self,
        id: &AttachmentId,
        configuration: &Configuration,
        request: &Request,
        arguments: &Arguments,
        given: &Given,
    ) -> Result<Record, CniError> {
        let requested = match arguments.addresses.is_empty() {
            true => &configuration.addresses,
            false => &arguments.addresses,
        };
        let identity = Identity::of(id);
        let mut record = Record {
            host_ifname: identity.host_ifname,
            host_mac: identity.host_mac,
            pod_mac: arguments.mac.or(configuration.mac).unwrap_or(identity.pod_mac),
            addresses: given.addresses.clone(),
            ..self.blank_record(id, configuration, request, arguments)
        };
        {
            let mut state = self.state.lock();
            if state.attached.contains_key(id) {
                let message = format!("{id} is attached already");
                return Err(CniError::new(code::ATTACHED, message));
            }
            if configuration.delegate.is_none() {
                record.addresses = state.pools.take(requested)?;
                record.pooled = true;
            }
            state.serial += 1;
            record.serial = state.serial;
            let attached = Attached { record: record.clone(), host_ifindex: None };
            state.attached.insert(id.clone(), attached);
        }
        self.save(&record)?;
        Ok(record)
    }

    /// Writes a record; what it is about is undone if that fails.
    fn save(&self, record: &Record) -> Result<(), CniError> {
        self.store.save(record).map_err(|error| {
            self.undo(&record.attachment);
            CniError::new(code::IO, "the attachment can't be noted").because(error)
        })
    }

    fn blank_record(
        &self,
        id: &AttachmentId,
        configuration: &Configuration,
        request: &Request,
        arguments: &Arguments,
    ) -> Record {
        let pod = arguments.pod_namespace.clone().zip(arguments.pod_name.clone());
        let uid = arguments.pod_uid.clone().unwrap_or_default();
        Record {
            boot_id: self.settings.boot_id.clone(),
            serial: 0,
            attachment: id.clone(),
            network: configuration.name.clone(),
            netns: request.netns.clone(),
            pod: pod.map(|(namespace, name)| Pod { namespace, name, uid }),
            host_ifname: String::new(),
            host_mac: [0; 6],
            pod_mac: [0; 6],
            addresses: Vec::new(),
            pooled: false,
            adopted: false,
            port_mappings: configuration.port_mappings.clone(),
            rates: configuration.bandwidth,
            filters: configuration.filters,
        }
    }

    /// Makes links, programs, addresses and routes, in an order in which no packet of the pod leaves
    /// before the programs see it.
    fn make(
        &self,
        record: &Record,
        gateways: &[IpAddr],
        namespace: &Namespace<'_>,
    ) -> Result<(), CniError> {
        let ports = host_ports::resolve(&record.port_mappings, &record.addresses)?;
        // First, for it fails if the namespace is one of another kind.
        let pod = namespace.netlink()?;
        let host = Connection::open().map_err(wiring::refused)?;
        let links = wiring::create(&host, record, namespace, self.mtu())?;
        self.note_link(&record.attachment, links.host);
        self.datapath.add_endpoint(&endpoint(record, links.host)).map_err(datapath_error)?;
        wiring::connect_host(&host, record, links.host, &self.settings.node_addresses)?;
        if record.addresses.iter().any(IpAddr::is_ipv6) {
            namespace.enable_ipv6(&self.settings.switches, &record.attachment.ifname)?;
        }
        wiring::configure_pod(&pod, record, links.pod, gateways)?;
        shaping::limit(&host, links.host, &pod, links.pod, record.rates)?;
        self.open(&ports)
    }

    fn open(&self, ports: &[HostPort]) -> Result<(), CniError> {
        match ports.is_empty() {
            true => Ok(()),
            false => self.datapath.open_host_ports(ports).map_err(datapath_error),
        }
    }

    pub(super) fn note_link(&self, id: &AttachmentId, host_ifindex: u32) {
        if let Some(attached) = self.state.lock().attached.get_mut(id) {
            attached.host_ifindex = Some(host_ifindex);
        }
    }

    /// Later in a chain: the link and its addresses are an earlier plugin's, only the programs and the
    /// node's ports are ours.
    fn adopt(
        &self,
        id: &AttachmentId,
        configuration: &Configuration,
        request: &Request,
        namespace: &Namespace<'_>,
    ) -> Result<(), CniError> {
        let previous = configuration.previous.as_ref().map(AddResult::parse).transpose()?;
        if configuration.bandwidth != Rates::default() {
            let message = "rates of a link that another plugin made: use the bandwidth plugin";
            return Err(CniError::new(code::UNSUPPORTED, message));
        }
        let host = Connection::open().map_err(wiring::refused)?;
        let (link, pod_mac) = wiring::find_pair(&host, &namespace.netlink()?, &id.ifname)?;
        let mut record = Record {
            host_ifname: link.name,
            host_mac: link.mac,
            pod_mac,
            addresses: one_of_each(
                previous.unwrap_or_default().ips.iter().map(|a| a.address.ip()),
            )?,
            adopted: true,
            ..self.blank_record(id, configuration, request, &Arguments::parse(&request.arguments)?)
        };
        let ports = host_ports::resolve(&record.port_mappings, &record.addresses)?;
        {
            let mut state = self.state.lock();
            if state.attached.contains_key(id) {
                let message = format!("{id} is attached already");
                return Err(CniError::new(code::ATTACHED, message));
            }
            state.serial += 1;
            record.serial = state.serial;
            let attached = Attached { record: record.clone(), host_ifindex: Some(link.index) };
            state.attached.insert(id.clone(), attached);
        }
        self.save(&record)?;
        let added = self.datapath.add_endpoint(&endpoint(&record, link.index));
        let added = added.map_err(datapath_error).and_then(|()| self.open(&ports));
        added.inspect_err(|_| self.undo(id))
    }

    /// Takes back what a failed ADD made. The error that is told is the one that came first.
    fn undo(&self, id: &AttachmentId) {
        if let Err(error) = self.detach_in_turn(id) {
            tracing::warn!(attachment = %id, %error, "a failed ADD leaves something behind");
        }
    }

    /// One for each address, in their order.
    fn gateways(&self, record: &Record, given: &Given) -> Vec<IpAddr> {
        let gateway = |address: &IpAddr| {
            let of_family = |gateway: &IpAddr| gateway.is_ipv4() == address.is_ipv4();
            let theirs = given.gateways.iter().copied().find(of_family);
            theirs.unwrap_or_else(|| self.gateway(address.is_ipv4()))
        };
        record.addresses.iter().map(gateway).collect()
    }

    fn result(
        &self,
        record: &Record,
        gateways: &[IpAddr],
        configuration: &Configuration,
        dns: Dns,
    ) -> AddResult {
        let link = |name: &str, mac, sandbox: &str| Interface {
            name: name.to_owned(),
            mac: format_mac(mac),
            mtu: Some(self.mtu()),
            sandbox: sandbox.to_owned(),
            ..Interface::default()
        };
        let ips = record.addresses.iter().zip(gateways).map(|(&address, &gateway)| Address {
            address: IpNetwork::from(address),
            gateway: Some(gateway),
            interface: Some(1),
        });
        AddResult {
            interfaces: vec![
                link(&record.host_ifname, record.host_mac, ""),
                link(&record.attachment.ifname, record.pod_mac, &record.netns),
            ],
            ips: ips.collect(),
            routes: gateways.iter().map(|&gw| Route::new(everywhere(gw), Some(gw))).collect(),
            dns: configuration.dns.clone().unwrap_or(dns),
        }
    }
}

/// What the programs need to know of an attachment.
pub(super) fn endpoint(record: &Record, host_ifindex: u32) -> Endpoint {
    let limit = |rate| (rate != 0).then_some(rate);
    let Rates { ingress_rate, egress_rate, .. } = record.rates;
    Endpoint {
        host_ifindex,
        pod_mac: record.pod_mac,
        host_mac: record.host_mac,
        addresses: record.addresses.clone(),
        bandwidth: Bandwidth { ingress: limit(ingress_rate), egress: limit(egress_rate) },
        attachment: match record.filters {
            true => Attachment::Filters,
            false => Attachment::Best,
        },
    }
}

/// All destinations of an address's family.
pub(crate) fn everywhere(address: IpAddr) -> IpNetwork {
    let any: IpAddr = match address {
        IpAddr::V4(_) => [0; 4].into(),
        IpAddr::V6(_) => [0; 16].into(),
    };
    IpNetwork::new(any, 0).expect("a prefix may have no length")
}

fn given(plugin: &str, ipam: Option<&Value>) -> Result<Given, CniError> {
    let ipam = ipam.ok_or_else(|| {
        CniError::new(code::CONFIGURATION, format!("ipam.type: {plugin} gave no result"))
    })?;
    let result = AddResult::parse(ipam)?;
    let addresses = one_of_each(result.ips.iter().map(|ip| ip.address.ip()))?;
    if addresses.is_empty() {
        let message = format!("ipam.type: {plugin} gave no address");
        return Err(CniError::new(code::CONFIGURATION, message));
    }
    let gateways = result.ips.iter().filter_map(|ip| ip.gateway).collect();
    Ok(Given { addresses, gateways, dns: result.dns })
}

fn one_of_each(addresses: impl Iterator<Item = IpAddr>) -> Result<Vec<IpAddr>, CniError> {
    let addresses: Vec<IpAddr> = addresses.collect();
    let ipv4 = addresses.iter().filter(|address| address.is_ipv4()).count();
    if ipv4 > 1 || addresses.len() - ipv4 > 1 {
        let message = "a pod has at most one address of each family here";
        return Err(CniError::new(code::UNSUPPORTED, message).because(format!("{addresses:?}")));
    }
    Ok(addresses)
}
