//! Pods in the tables, and the programs at their devices.

use daymark_abi::endpoint::{Device, Endpoint as Place, SHAPED};

use super::{State, links::Hook, object, tables};
use crate::{
    Bandwidth, DatapathError, Endpoint,
    address::{address, ip},
};

impl State {
    /// See [`crate::Datapath::add_endpoint`]; what a failure leaves is the caller's to remove.
    pub(super) fn add_endpoint(&mut self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let ifindex = endpoint.host_ifindex;
        let shaped = endpoint.bandwidth != Bandwidth::default();
        let flags = if shaped { SHAPED } else { 0 };
        let of_family = |v4: bool| {
            let found = endpoint.addresses.iter().find(|a| a.is_ipv4() == v4);
            found.map(|found| address(*found)).unwrap_or_default()
        };
        let device = Device {
            ipv4: of_family(true),
            ipv6: of_family(false),
            pod_mac: endpoint.pod_mac,
            host_mac: endpoint.host_mac,
            flags,
            ingress_rate: endpoint.bandwidth.ingress.unwrap_or(0),
            egress_rate: endpoint.bandwidth.egress.unwrap_or(0),
            departs: 0,
        };
        let before = self.tables.devices.get(&ifindex, 0).ok();
        let full = tables::full("DEVICES", object::ENDPOINTS);
        self.tables.devices.insert(ifindex, tables::Plain(device), 0).map_err(full)?;
        let place =
            Place { ifindex, pod_mac: endpoint.pod_mac, host_mac: endpoint.host_mac, flags };
        for address in [device.ipv4, device.ipv6].into_iter().filter(|a| !a.is_none()) {
            let full = tables::full("ENDPOINTS", 2 * object::ENDPOINTS);
            self.tables
                .endpoints
                .insert(tables::Plain(address), tables::Plain(place), 0)
                .map_err(full)?;
        }
        if let Some(before) = before {
            for old in [before.0.ipv4, before.0.ipv6] {
                if old != device.ipv4 && old != device.ipv6 {
                    self.tables.remove_address(old, ifindex)?;
                }
            }
        }
        self.links.attach(Hook::ToPod, ifindex, endpoint.attachment)?;
        self.links.attach(Hook::FromPod, ifindex, endpoint.attachment)
    }

    /// See [`crate::Datapath::remove_endpoint`].
    pub(super) fn remove_endpoint(&mut self, ifindex: u32) -> Result<(), DatapathError> {
        for hook in [Hook::FromPod, Hook::ToPod] {
            self.links.detach(hook, ifindex)?;
        }
        if let Ok(device) = self.tables.devices.get(&ifindex, 0) {
            for address in [device.0.ipv4, device.0.ipv6] {
                self.tables.remove_address(address, ifindex)?;
            }
        }
        tables::unless_missing(self.tables.devices.remove(&ifindex))
    }

    /// See [`crate::Datapath::endpoints`].
    pub(super) fn endpoints(&self) -> Result<Vec<Endpoint>, DatapathError> {
        let mut endpoints = Vec::new();
        for entry in &self.tables.devices {
            let (ifindex, device) = entry?;
            let rate = |rate: u64| (rate != 0).then_some(rate);
            endpoints.push(Endpoint {
                host_ifindex: ifindex,
                pod_mac: device.0.pod_mac,
                host_mac: device.0.host_mac,
                addresses: [device.0.ipv4, device.0.ipv6]
                    .into_iter()
                    .filter(|address| !address.is_none())
                    .map(ip)
                    .collect(),
                bandwidth: Bandwidth {
                    ingress: rate(device.0.ingress_rate),
                    egress: rate(device.0.egress_rate),
                },
                attachment: self.links.attachment(Hook::FromPod, ifindex),
            });
        }
        Ok(endpoints)
    }
}
