//! `CNI_ARGS`: `KEY=VALUE;KEY=VALUE`, what a runtime says about the container.

use std::net::IpAddr;

use crate::{CniError, code};

/// What we read of `CNI_ARGS`. Other keys are somebody else's, and are left alone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Arguments {
    /// `K8S_POD_NAMESPACE`.
    pub pod_namespace: Option<String>,
    /// `K8S_POD_NAME`.
    pub pod_name: Option<String>,
    /// `K8S_POD_UID`.
    pub pod_uid: Option<String>,
    /// `IP`: addresses that are asked for, separated by commas; a prefix length is left out.
    pub addresses: Vec<IpAddr>,
    /// `MAC` of the pod's end.
    pub mac: Option<[u8; 6]>,
}

impl Arguments {
    /// Reads the variable's value, which may be empty.
    ///
    /// # Errors
    /// Code 4 for a pair without `=`, and for an address or MAC that is none.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        let mut read = Arguments::default();
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                let message = format!("CNI_ARGS has {pair:?}, which is not KEY=VALUE");
                return Err(CniError::new(code::ENVIRONMENT, message));
            };
            let malformed =
                || CniError::new(code::ENVIRONMENT, format!("CNI_ARGS: {key} is {value:?}"));
            match key {
                "K8S_POD_NAMESPACE" => read.pod_namespace = Some(value.to_owned()),
                "K8S_POD_NAME" => read.pod_name = Some(value.to_owned()),
                "K8S_POD_UID" => read.pod_uid = Some(value.to_owned()),
                "IP" => {
                    for one in value.split(',') {
                        read.addresses.push(parse_address(one).ok_or_else(malformed)?);
                    }
                }
                "MAC" => read.mac = Some(parse_mac(value).ok_or_else(malformed)?),
                _ => {}
            }
        }
        Ok(read)
    }
}

/// An address that is asked for, with or without a prefix length.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
    let address: IpAddr = address.trim().parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    match length {
        Some(length) => (length.parse::<u8>().ok()? <= most).then_some(address),
        None => Some(address),
    }
}

/// A MAC for a single station: six octets in hexadecimal, separated by colons, neither a group's nor
/// all zero.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut octets = text.split(':');
    for octet in &mut mac {
        let digits = octets.next().filter(|d| d.len() == 2 && !d.starts_with('+'))?;
        *octet = u8::from_str_radix(digits, 16).ok()?;
    }
    let usable = octets.next().is_none() && mac[0] & 1 == 0 && mac != [0; 6];
    usable.then_some(mac)
}

/// A MAC as results spell it.
pub fn format_mac(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_runtime_says_is_read_and_the_rest_left_alone() {
        let text = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;X=;\
                    IP=10.244.1.7/24,fd00::7;MAC=02:00:5e:10:00:01";
        let read = Arguments::parse(text).expect("well-formed");
        assert_eq!(read.pod_namespace.as_deref(), Some("shop"));
        assert_eq!(read.pod_name.as_deref(), Some("web-0"));
        assert_eq!(read.addresses.len(), 2);
        assert_eq!(read.mac.map(format_mac).as_deref(), Some("02:00:5e:10:00:01"));
        assert_eq!(Arguments::parse(""), Ok(Arguments::default()));
    }

    #[test]
    fn malformed_arguments_are_refused_by_name() {
        for text in ["IP", "IP=ten", "IP=10.0.0.1/33", "MAC=02:00", "MAC=01:00:5e:00:00:01"] {
            let error = Arguments::parse(text).expect_err(text);
            assert_eq!(error.code, code::ENVIRONMENT);
            assert!(error.message.contains("CNI_ARGS"), "{error}");
        }
    }
}
