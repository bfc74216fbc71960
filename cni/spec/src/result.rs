//! What ADD gives back, in the shape of each version (specification, section 5).

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CniError, Version, code};

/// The result of ADD in the newest shape.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AddResult {
    /// Links that were made, or that an earlier plugin made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Addresses of the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<Address>,
    /// Routes in the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Name servers for the pod.
    #[serde(default, skip_serializing_if = "Dns::is_empty")]
    pub dns: Dns,
}

/// A link.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC, as text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Its MTU in octets (1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Path of its network namespace; empty for the host's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// A socket that stands for it (1.1.0).
    #[serde(default, rename = "socketPath", skip_serializing_if = "Option::is_none")]
    pub socket_path: Option<String>,
    /// Its PCI id (1.1.0).
    #[serde(default, rename = "pciID", skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
}

/// An address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Address {
    /// With its prefix length.
    pub address: IpNetwork,
    /// The way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Place of its link in [`AddResult::interfaces`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// A route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub dst: IpNetwork,
    /// By way of; the address's gateway if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

impl Route {
    /// A route without the newer fields.
    pub fn new(dst: IpNetwork, gw: Option<IpAddr>) -> Self {
        Route { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

/// What a resolver is told.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Dns {
    /// Addresses of name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains that short names are tried in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of resolv.conf(5).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    fn is_empty(&self) -> bool {
        *self == Dns::default()
    }
}

impl AddResult {
    /// Reads a result of any version that we speak. What a version has beyond our fields is lost; so
    /// a chain's result is handed on as it came, not through this.
    ///
    /// # Errors
    /// Code 7.
    pub fn parse(value: &Value) -> Result<Self, CniError> {
        AddResult::deserialize(value).map_err(|error| {
            CniError::new(code::CONFIGURATION, "the result of another plugin is malformed")
                .because(error)
        })
    }

    /// In the shape of a version.
    pub fn to_json(&self, version: Version) -> Value {
        let mut shaped = self.clone();
        if version < Version::V1_1_0 {
            for interface in &mut shaped.interfaces {
                (interface.mtu, interface.socket_path, interface.pci_id) = (None, None, None);
            }
            for route in &mut shaped.routes {
                *route = Route::new(route.dst, route.gw);
            }
        }
        let mut value = serde_json::to_value(&shaped).unwrap_or_default();
        if version < Version::V1_0_0
            && let Some(ips) = value.get_mut("ips").and_then(Value::as_array_mut)
        {
            for (json, ip) in ips.iter_mut().zip(&self.ips) {
                json["version"] = if ip.address.is_ipv4() { "4" } else { "6" }.into();
            }
        }
        value["cniVersion"] = version.as_str().into();
        value
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> AddResult {
        let pod = Interface {
            name: "eth0".to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
            mtu: Some(1450),
            sandbox: "/run/netns/blue".to_owned(),
            ..Interface::default()
        };
        let gateway: IpAddr = "fd00::1".parse().expect("an address");
        let address = "fd00::5/128".parse().expect("an address");
        let route = Route::new("::/0".parse().expect("a range"), Some(gateway));
        AddResult {
            interfaces: vec![pod],
            ips: vec![Address { address, gateway: Some(gateway), interface: Some(0) }],
            routes: vec![Route { mtu: Some(1400), ..route }],
            dns: Dns { domain: "example.org".to_owned(), ..Dns::default() },
        }
    }

    #[test]
    fn each_version_gets_its_shape() {
        for version in Version::ALL {
            let json = sample().to_json(version);
            assert_eq!(json["cniVersion"], version.as_str());
            let newest = version == Version::V1_1_0;
            assert_eq!(json["interfaces"][0].get("mtu").is_some(), newest);
            assert_eq!(json["routes"][0].get("mtu").is_some(), newest);
            let family = json["ips"][0].get("version");
            assert_eq!(family, (version < Version::V1_0_0).then_some(&json!("6")));
            assert_eq!(json["ips"][0]["address"], "fd00::5/128");
            assert_eq!(json["dns"], json!({ "domain": "example.org" }));
        }
    }

    #[test]
    fn what_was_written_in_any_version_is_read() {
        for version in Version::ALL {
            let read = AddResult::parse(&sample().to_json(version)).expect("a result");
            assert_eq!(read.ips, sample().ips);
            assert_eq!(read.to_json(version), sample().to_json(version));
        }
        let error =
            AddResult::parse(&json!({ "ips": [{ "address": "x" }] })).expect_err("no address");
        assert_eq!(error.code, code::CONFIGURATION);
    }
}
