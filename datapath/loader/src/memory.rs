//! A datapath that only remembers: for tests of what stands on [`Datapath`].

use std::{collections::BTreeMap, net::IpAddr};

use parking_lot::Mutex;

use crate::{Datapath, DatapathError, Endpoint, HostPort, NodeSettings, Peer};

/// See [the module](self). It refuses what the kernel's tables would refuse, except for their sizes.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
}

/// What was told so far.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The last settings.
    pub settings: NodeSettings,
    /// By index of the host's device.
    pub endpoints: BTreeMap<u32, Endpoint>,
    /// Sorted.
    pub host_ports: Vec<HostPort>,
    /// As told.
    pub peers: Vec<Peer>,
}

impl Memory {
    /// A copy of what was told so far.
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }
}

impl Datapath for Memory {
    fn configure(&self, settings: &NodeSettings) -> Result<(), DatapathError> {
        self.state.lock().settings = settings.clone();
        Ok(())
    }

    fn add_endpoint(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        self.state.lock().endpoints.insert(endpoint.host_ifindex, endpoint.clone());
        Ok(())
    }

    fn remove_endpoint(&self, host_ifindex: u32) -> Result<(), DatapathError> {
        self.state.lock().endpoints.remove(&host_ifindex);
        Ok(())
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>, DatapathError> {
        Ok(self.state.lock().endpoints.values().cloned().collect())
    }

    fn open_host_ports(&self, ports: &[HostPort]) -> Result<(), DatapathError> {
        let mut state = self.state.lock();
        for port in ports {
            crate::host_port::refuse_taken(state.host_ports.iter(), port)?;
            crate::host_port::refuse_untranslatable(port)?;
        }
        state.host_ports.extend(ports);
        state.host_ports.sort();
        state.host_ports.dedup();
        Ok(())
    }

    fn close_host_ports(&self, pod_address: IpAddr) -> Result<(), DatapathError> {
        self.state.lock().host_ports.retain(|port| port.pod_address != pod_address);
        Ok(())
    }

    fn host_ports(&self) -> Result<Vec<HostPort>, DatapathError> {
        Ok(self.state.lock().host_ports.clone())
    }

    fn set_peers(&self, peers: &[Peer]) -> Result<(), DatapathError> {
        self.state.lock().peers = peers.to_vec();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::Transport;

    fn port(host: [u8; 4], pod: u8) -> HostPort {
        HostPort {
            transport: Transport::Tcp,
            host_address: Ipv4Addr::from(host).into(),
            host_port: 8080,
            pod_address: Ipv4Addr::new(10, 244, 1, pod).into(),
            pod_port: 80,
        }
    }

    #[test]
    fn a_host_port_has_one_holder() {
        let datapath = Memory::default();
        datapath.open_host_ports(&[port([192, 0, 2, 1], 5)]).expect("free");
        datapath.open_host_ports(&[port([192, 0, 2, 1], 5)]).expect("its own");
        datapath.open_host_ports(&[port([192, 0, 2, 2], 6)]).expect("another address");
        let taken = datapath.open_host_ports(&[port([0, 0, 0, 0], 7)]).expect_err("taken");
        assert_eq!(taken.to_string(), "host port 8080/Tcp is taken by 10.244.1.5");
        datapath.close_host_ports(Ipv4Addr::new(10, 244, 1, 5).into()).expect("closed");
        assert_eq!(datapath.state().host_ports, [port([192, 0, 2, 2], 6)]);
    }
}
