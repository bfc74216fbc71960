//! `runtimeConfig.portMappings` as the datapath takes them.

use std::net::IpAddr;

use daymark_cni_spec::{CniError, code, configuration::PortMapping};
use daymark_loader::{HostPort, Transport};

/// Most mappings of a pod: beyond that somebody maps a whole range, which needs another design.
const MAX_MAPPINGS: usize = 1024;

/// The ports to open for a pod with these addresses: one for each mapping and family. A mapping with
/// a host address is of that address's family alone.
///
/// # Errors
/// Code 7 for a mapping that makes no sense, 2 for one of a family that the pod does not have.
pub(crate) fn resolve(mappings: &[PortMapping], pod: &[IpAddr]) -> Result<Vec<HostPort>, CniError> {
    let bad = |what: String| CniError::new(code::CONFIGURATION, format!("portMappings: {what}"));
    if mappings.len() > MAX_MAPPINGS {
        return Err(bad(format!("{} are more than {MAX_MAPPINGS}", mappings.len())));
    }
    let mut ports = Vec::new();
    for mapping in mappings {
        let PortMapping { host_port, container_port, protocol, host_ip } = mapping;
        if *host_port == 0 || *container_port == 0 {
            return Err(bad(format!("{host_port} to {container_port}: a port can't be 0")));
        }
        let transport = transport(protocol)
            .ok_or_else(|| bad(format!("the protocol {protocol:?} of port {host_port}")))?;
        let host_ip = match host_ip.as_str() {
            "" => None,
            text => Some(text.parse::<IpAddr>().map_err(|_| bad(format!("hostIP {text:?}")))?),
        };
        let before = ports.len();
        ports.extend(pod.iter().filter_map(|&pod_address| {
            let any: IpAddr = match pod_address {
                IpAddr::V4(_) => [0; 4].into(),
                IpAddr::V6(_) => [0; 16].into(),
            };
            let host_address = host_ip.unwrap_or(any);
            let same_family = host_address.is_ipv4() == pod_address.is_ipv4();
            same_family.then_some(HostPort {
                transport,
                host_address,
                host_port: *host_port,
                pod_address,
                pod_port: *container_port,
            })
        }));
        if ports.len() == before {
            let message = format!("portMappings: the pod has no address of {host_ip:?}'s family");
            return Err(CniError::new(code::UNSUPPORTED, message));
        }
    }
    Ok(ports)
}

fn transport(protocol: &str) -> Option<Transport> {
    match protocol.to_ascii_lowercase().as_str() {
        "tcp" | "" => Some(Transport::Tcp),
        "udp" => Some(Transport::Udp),
        "sctp" => Some(Transport::Sctp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host_port: u16, protocol: &str, host_ip: &str) -> PortMapping {
        let (protocol, host_ip) = (protocol.to_owned(), host_ip.to_owned());
        PortMapping { host_port, container_port: 80, protocol, host_ip }
    }

    #[test]
    fn a_mapping_opens_a_port_of_each_family_unless_it_names_an_address() {
        let pod: Vec<IpAddr> = ["10.0.0.2", "fd00::2"].map(|a| a.parse().unwrap()).to_vec();
        let ports = resolve(&[mapping(8080, "TCP", ""), mapping(53, "udp", "127.0.0.1")], &pod);
        let told: Vec<String> = ports
            .unwrap()
            .iter()
            .map(|p| {
                format!("{} {:?} {} {}", p.host_address, p.transport, p.host_port, p.pod_address)
            })
            .collect();
        assert_eq!(
            told,
            ["0.0.0.0 Tcp 8080 10.0.0.2", ":: Tcp 8080 fd00::2", "127.0.0.1 Udp 53 10.0.0.2"]
        );
    }

    #[test]
    fn mappings_that_make_no_sense_are_refused() {
        let pod: Vec<IpAddr> = vec!["10.0.0.2".parse().unwrap()];
        for bad in [mapping(0, "tcp", ""), mapping(1, "icmp", ""), mapping(1, "tcp", "x")] {
            assert_eq!(resolve(&[bad], &pod).unwrap_err().code, code::CONFIGURATION);
        }
        let error = resolve(&[mapping(1, "tcp", "::1")], &pod).unwrap_err();
        assert_eq!(error.code, code::UNSUPPORTED);
        let many = vec![mapping(1, "tcp", ""); MAX_MAPPINGS + 1];
        assert_eq!(resolve(&many, &pod).unwrap_err().code, code::CONFIGURATION);
    }
}
