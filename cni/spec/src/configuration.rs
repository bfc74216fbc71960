//! Network configurations: what a plugin reads on stdin, and the lists that administrators keep in
//! `/etc/cni/net.d` (specification, section 1).

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    AttachmentId, CniError, MAX_CONFIGURATION, Verb, Version,
    arguments::{parse_address, parse_mac},
    code,
    environment::is_name,
    result::Dns,
};

/// Where the agent listens if the configuration does not say.
pub const DEFAULT_SOCKET: &str = "/run/daymark/cni.sock";
/// `type` of our own address management, which is also what an empty `ipam` means.
pub const OWN_IPAM: &str = "daymark";

/// What a plugin is told about the network. Keys that we don't know are somebody else's.
#[derive(Clone, PartialEq, Debug)]
pub struct Configuration {
    /// `cniVersion`.
    pub version: Version,
    /// `name` of the network.
    pub name: String,
    /// `type` of the plugin to ask for addresses; `None` for our own.
    pub delegate: Option<String>,
    /// Where the agent listens (`socket`).
    pub socket: PathBuf,
    /// `prevResult`, as it is.
    pub previous: Option<Value>,
    /// `dns`, if it says anything.
    pub dns: Option<Dns>,
    /// Addresses that are asked for: those of `args.cni.ips`, else of `runtimeConfig.ips`.
    pub addresses: Vec<IpAddr>,
    /// MAC of the pod's end: `args.cni.mac`, else `runtimeConfig.mac`.
    pub mac: Option<[u8; 6]>,
    /// `runtimeConfig.portMappings`.
    pub port_mappings: Vec<PortMapping>,
    /// Rate limits: the configuration's own, else `runtimeConfig.bandwidth`.
    pub bandwidth: Rates,
    /// `attach: filters`: nobody else in the chain needs the ingress qdisc of the link's end at the node, so
    /// the programs may be there as filters. `links`, the default, keeps it free.
    pub filters: bool,
    /// `cni.dev/valid-attachments`. The reference library leaves the key out, or writes `null`, where
    /// no attachment is valid; so both mean that.
    pub valid_attachments: Vec<AttachmentId>,
}

/// A port of the node that is to lead to the pod. The convention's keys begin with small letters;
/// containerd's begin with large ones, which is the same to a plugin in Go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Port of the node.
    #[serde(alias = "HostPort")]
    pub host_port: u16,
    /// Port in the pod.
    #[serde(alias = "ContainerPort")]
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`, in any case.
    #[serde(default = "tcp", alias = "Protocol")]
    pub protocol: String,
    /// The node's address on which it is open; empty for all.
    #[serde(default, rename = "hostIP", alias = "HostIP")]
    pub host_ip: String,
}

fn tcp() -> String {
    "tcp".to_owned()
}

/// Rates in bits per second and bursts in bits, as the reference bandwidth plugin takes them; 0 is
/// unlimited. Keys as in [`PortMapping`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rates {
    /// Into the pod.
    #[serde(alias = "IngressRate")]
    pub ingress_rate: u64,
    /// At once, into the pod.
    #[serde(alias = "IngressBurst")]
    pub ingress_burst: u64,
    /// Out of the pod.
    #[serde(alias = "EgressRate")]
    pub egress_rate: u64,
    /// At once, out of the pod.
    #[serde(alias = "EgressBurst")]
    pub egress_burst: u64,
}

impl Rates {
    fn check(self) -> Result<Self, CniError> {
        // The kernel counts a burst in octets, in 32 bits.
        const MAX_BURST: u64 = u32::MAX as u64 * 8;
        for (name, rate, burst) in [
            ("ingress", self.ingress_rate, self.ingress_burst),
            ("egress", self.egress_rate, self.egress_burst),
        ] {
            if (rate == 0) != (burst == 0) {
                return Err(bad(format!("{name}Rate and {name}Burst need each other")));
            }
            if burst > MAX_BURST {
                return Err(bad(format!("{name}Burst is {burst}: it can't be over 4 GiB")));
            }
            if rate != 0 && (rate < 8 || burst < 8) {
                return Err(bad(format!("{name}Rate and {name}Burst are below one octet")));
            }
        }
        Ok(self)
    }
}

/// The shape on the wire.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    cni_version: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    ipam: Option<RawIpam>,
    #[serde(default)]
    socket: Option<PathBuf>,
    #[serde(default)]
    prev_result: Option<Value>,
    #[serde(default)]
    dns: Option<Dns>,
    #[serde(default)]
    args: Option<RawArguments>,
    #[serde(default)]
    runtime_config: Option<RawRuntime>,
    #[serde(default)]
    attach: Option<String>,
    #[serde(flatten)]
    rates: OptionalRates,
    #[serde(default, rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<AttachmentId>>,
}

#[derive(Deserialize)]
struct RawIpam {
    #[serde(default, rename = "type")]
    plugin: Option<String>,
}

#[derive(Default, Deserialize)]
struct RawArguments {
    #[serde(default)]
    cni: Option<RawRuntime>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRuntime {
    #[serde(default)]
    ips: Option<Vec<String>>,
    #[serde(default)]
    mac: Option<String>,
    #[serde(default)]
    port_mappings: Option<Vec<PortMapping>>,
    #[serde(default)]
    bandwidth: Option<Rates>,
}

/// Rates in the configuration itself. Any of them makes it the one that holds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OptionalRates {
    #[serde(default)]
    ingress_rate: Option<u64>,
    #[serde(default)]
    ingress_burst: Option<u64>,
    #[serde(default)]
    egress_rate: Option<u64>,
    #[serde(default)]
    egress_burst: Option<u64>,
}

impl OptionalRates {
    fn any(&self) -> Option<Rates> {
        let all = [self.ingress_rate, self.ingress_burst, self.egress_rate, self.egress_burst];
        all.iter().any(|value| value.is_some_and(|value| value != 0)).then(|| Rates {
            ingress_rate: self.ingress_rate.unwrap_or_default(),
            ingress_burst: self.ingress_burst.unwrap_or_default(),
            egress_rate: self.egress_rate.unwrap_or_default(),
            egress_burst: self.egress_burst.unwrap_or_default(),
        })
    }
}

impl Configuration {
    /// Reads what a runtime wrote to the plugin's stdin.
    ///
    /// # Errors
    /// Code 1, 6 or 7, with what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, CniError> {
        Self::check(serde_json::from_slice(within_bounds(bytes)?)?)
    }

    /// Reads what the plugin handed on.
    ///
    /// # Errors
    /// As [`Configuration::parse`].
    pub fn from_json(value: &Value) -> Result<Self, CniError> {
        Self::check(Raw::deserialize(value)?)
    }

    fn check(raw: Raw) -> Result<Self, CniError> {
        let version = match &raw.cni_version {
            Some(version) => Version::parse(version)?,
            None => return Err(bad("cniVersion is missing")),
        };
        let name = raw.name.unwrap_or_default();
        if !is_name(&name) {
            return Err(bad(format!("name is {name:?}, which is no name of a network")));
        }
        let delegate = raw.ipam.and_then(|ipam| ipam.plugin).filter(|p| !p.is_empty());
        let delegate = delegate.filter(|plugin| plugin != OWN_IPAM);
        if let Some(plugin) = delegate.as_deref().filter(|p| !is_name(p)) {
            return Err(bad(format!("ipam.type is {plugin:?}, which is no name of a plugin")));
        }
        let runtime = raw.runtime_config.unwrap_or_default();
        let arguments = raw.args.and_then(|args| args.cni).unwrap_or_default();
        let ips = arguments.ips.or(runtime.ips).unwrap_or_default();
        let addresses = ips.iter().map(|text| {
            parse_address(text).ok_or_else(|| bad(format!("ips has {text:?}, which is no address")))
        });
        let addresses = addresses.collect::<Result<_, _>>()?;
        let mac = arguments.mac.or(runtime.mac).filter(|mac| !mac.is_empty());
        let mac = mac.map(|text| {
            parse_mac(&text).ok_or_else(|| bad(format!("mac is {text:?}, which is none")))
        });
        let filters = match raw.attach.as_deref() {
            None | Some("links") => false,
            Some("filters") => true,
            Some(other) => {
                return Err(bad(format!(
                    "attach is {other:?}: it can be \"links\" or \"filters\""
                )));
            }
        };
        let bandwidth = raw.rates.any().or(runtime.bandwidth).unwrap_or_default();
        Ok(Configuration {
            version,
            name,
            delegate,
            socket: raw.socket.unwrap_or_else(|| DEFAULT_SOCKET.into()),
            previous: raw.prev_result.filter(|result| !result.is_null()),
            dns: raw.dns.filter(|dns| *dns != Dns::default()),
            addresses,
            mac: mac.transpose()?,
            port_mappings: runtime.port_mappings.unwrap_or_default(),
            bandwidth: bandwidth.check()?,
            filters,
            valid_attachments: raw.valid_attachments.unwrap_or_default(),
        })
    }

    /// Whether the configuration's version knows the verb, and has what the verb needs.
    ///
    /// # Errors
    /// Code 1 or 7.
    pub fn allows(&self, verb: Verb) -> Result<(), CniError> {
        if self.version < verb.since() {
            let message = format!("cniVersion {} has no {}", self.version, verb.as_str());
            return Err(CniError::new(code::VERSION, message));
        }
        match verb {
            Verb::Check if self.previous.is_none() => Err(bad("CHECK needs prevResult")),
            _ => Ok(()),
        }
    }
}

/// The `cniVersion` alone, as far as it can be made out: for VERSION, and for errors about the rest.
pub fn version_of(bytes: &[u8]) -> Option<String> {
    let fields: BTreeMap<String, Value> =
        serde_json::from_slice(within_bounds(bytes).ok()?).ok()?;
    fields.get("cniVersion")?.as_str().map(str::to_owned)
}

fn within_bounds(bytes: &[u8]) -> Result<&[u8], CniError> {
    match bytes.len() {
        0..=MAX_CONFIGURATION => Ok(bytes),
        _ => Err(bad(format!("the configuration has more than {MAX_CONFIGURATION} octets"))),
    }
}

fn bad(message: impl Into<String>) -> CniError {
    CniError::new(code::CONFIGURATION, message)
}

/// A file of `/etc/cni/net.d`: plugins that a runtime calls one after the other.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationList {
    /// Version that is spoken with the plugins.
    pub cni_version: String,
    /// Other versions that would do (1.1.0).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cni_versions: Vec<String>,
    /// The network's name.
    pub name: String,
    /// Whether CHECK is never called.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_check: bool,
    /// Whether GC is never called (1.1.0).
    #[serde(default, rename = "disableGC", skip_serializing_if = "std::ops::Not::not")]
    pub disable_gc: bool,
    /// Whether no more plugins are looked for in a folder (1.1.0).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub load_only_inlined_plugins: bool,
    /// Configurations of the plugins, without what the list gives to all of them.
    pub plugins: Vec<Map<String, Value>>,
}

impl ConfigurationList {
    /// Reads a list, or a configuration of a single plugin (`*.conf`), which is a list of one.
    ///
    /// # Errors
    /// Code 6 or 7.
    pub fn parse(bytes: &[u8]) -> Result<Self, CniError> {
        let fields: Map<String, Value> = serde_json::from_slice(within_bounds(bytes)?)?;
        let list = if fields.contains_key("plugins") {
            serde_json::from_value(Value::Object(fields))?
        } else {
            let text = |key| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            ConfigurationList {
                cni_version: text("cniVersion"),
                cni_versions: Vec::new(),
                name: text("name"),
                disable_check: false,
                disable_gc: false,
                load_only_inlined_plugins: false,
                plugins: vec![fields],
            }
        };
        if !is_name(&list.name) {
            return Err(bad(format!("name is {:?}, which is no name of a network", list.name)));
        }
        let has_type =
            |plugin: &Map<String, Value>| plugin.get("type").is_some_and(Value::is_string);
        match list.plugins.iter().all(has_type) && !list.plugins.is_empty() {
            true => Ok(list),
            false => Err(bad("a list needs plugins, and each of them a type")),
        }
    }
}

#[cfg(test)]
mod tests;
