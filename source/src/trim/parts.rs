//! What objects of several kinds have: identity, labels, ports, addresses.

use std::net::IpAddr;

use daymark_cluster::{Kind, Labels, Name, ObjectName, Port, Ports, Protocol};
use ipnetwork::IpNetwork;
use serde_saphyr::Location;

use super::{
    Family, Rejection, Trimmer,
    shape::{self, Metadata, Text},
};

impl Trimmer<'_> {
    pub(super) fn ports<S: Text>(&mut self, ports: &[shape::Port<S>]) -> Ports {
        let mut trimmed = Vec::with_capacity(ports.len());
        for port in ports {
            let protocol = match port.protocol.as_ref().map(Text::text) {
                None | Some("" | "TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                Some(other) => {
                    let what = format!("`{other}` is not a protocol of a port");
                    let at = port.protocol.as_ref().map_or(Location::UNKNOWN, Text::place);
                    self.reject(at, what, "write TCP, UDP or SCTP, in capitals".into());
                    continue;
                }
            };
            let name = port.name.as_ref().map(Text::text).filter(|name| !name.is_empty());
            let name = name.map(|name| self.interner.name(name));
            let number = port.port.as_ref().and_then(|port| port.value.port());
            if let Some(written) = port.port.as_ref().filter(|_| number.is_none()) {
                let what = format!("`{}` is not a port", written.value);
                self.reject(written.referenced, what, "write a number from 1 to 65535".into());
            }
            trimmed.push(Port { name, protocol, port: number });
        }
        self.interner.ports(&trimmed)
    }

    pub(super) fn labels<S: Text>(&mut self, kind: Kind, metadata: &Metadata<S>) -> Labels {
        if !self.needs.labels.contains(kind) {
            return Labels::default();
        }
        let pairs = metadata.labels.as_ref().map(|pairs| pairs.0.as_slice()).unwrap_or_default();
        let mut labels: Vec<(Name, Name)> = pairs
            .iter()
            .map(|(k, v)| (self.interner.name(k.text()), self.interner.name(v.text())))
            .collect();
        labels.sort_unstable();
        labels.into()
    }

    pub(super) fn label<S: Text>(&mut self, metadata: &Metadata<S>, key: &str) -> Option<Name> {
        let value = metadata.labels.as_ref()?.get(key)?;
        (!value.text().is_empty()).then(|| self.interner.name(value.text()))
    }

    pub(super) fn cluster_scoped<S: Text>(&mut self, metadata: &Metadata<S>) -> Option<Name> {
        let name = metadata.name.as_ref().map(Text::text).filter(|name| !name.is_empty());
        name.map(|name| self.interner.name(name))
    }

    pub(super) fn namespaced<S: Text>(
        &mut self,
        metadata: &Metadata<S>,
        sharing: Sharing,
    ) -> Option<ObjectName> {
        let name = metadata.name.as_ref().map(Text::text).filter(|name| !name.is_empty())?;
        let namespace = metadata.namespace.as_ref().map(Text::text);
        // kubectl's own rule for a manifest that names none.
        let namespace = namespace.filter(|name| !name.is_empty()).unwrap_or("default");
        let namespace = self.interner.name(namespace);
        let name = match sharing {
            Sharing::Shared => self.interner.name(name),
            Sharing::Unique => Name::new(name),
        };
        Some(ObjectName { namespace, name })
    }

    pub(super) fn allocate(&self, name: &ObjectName, families: &[Family]) -> Box<[IpAddr]> {
        match &self.strict {
            Some(strict) => (strict.allocate)(name, families),
            None => Box::default(),
        }
    }

    pub(super) fn address<S: Text>(&mut self, text: &S) -> Option<IpAddr> {
        let address = parse_address(text.text());
        if address.is_none() {
            let what = format!("`{}` is not an IP address", text.text());
            let help =
                "write an IPv4 address such as 10.96.0.20 or an IPv6 address such as fd00::20";
            self.reject(text.place(), what, help.into());
        }
        address
    }

    /// A range of addresses, with the bits below its prefix cleared.
    pub(super) fn range<S: Text>(&mut self, text: &S) -> Option<IpNetwork> {
        let written = text.text().split_once('/');
        let range = written.and_then(|(address, length)| {
            let range = IpNetwork::new(parse_address(address)?, length.parse().ok()?).ok()?;
            IpNetwork::new(range.network(), range.prefix()).ok()
        });
        if range.is_none() {
            let what = format!("`{}` is not a range of IP addresses", text.text());
            let help = "write an address and the length of its prefix, such as 10.244.1.0/24";
            self.reject(text.place(), what, help.into());
        }
        range
    }

    /// A Service's name is a label of DNS (RFC 1035 §2.3.1); the API refuses others.
    pub(super) fn check_label<S: Text>(&mut self, kind: &str, metadata: &Metadata<S>) {
        let Some(name) = &metadata.name else { return };
        let text = name.text();
        let fits = text.len() < 64
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits {
            let what = format!("`{text}` cannot name a {kind}");
            let help = "use at most 63 lower-case letters, digits and dashes, \
                        beginning and ending with a letter or digit";
            self.reject(name.place(), what, help.into());
        }
    }

    pub(super) fn reject(&mut self, at: Location, what: String, help: String) {
        if let Some(strict) = &mut self.strict {
            strict.rejected.push(Rejection { at, what, help });
        }
    }
}

pub(super) enum Sharing {
    Shared,
    Unique,
}

/// An address as Kubernetes reads it: leading zeros are decimal (its `ParseIPSloppy`), and an IPv4
/// address mapped into IPv6 is the IPv4 address.
fn parse_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?;
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then_some(IpAddr::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_kubernetes_reads_them() {
        for (text, want) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("010.000.0.001", Some("10.0.0.1")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("fd00::1", Some("fd00::1")),
            ("10.0.0", None),
            ("10.0.0.0.1", None),
            ("10.0.0.256", None),
            ("10.0.0.+1", None),
            ("", None),
        ] {
            assert_eq!(parse_address(text), want.map(|ip| ip.parse().unwrap()), "{text}");
        }
    }
}
