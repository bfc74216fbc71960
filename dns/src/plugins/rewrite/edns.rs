//! Rules for EDNS options (RFC 6891 §6.1.2).

use std::net::IpAddr;

use hickory_proto::{
    op::Edns,
    rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption, NSIDPayload},
};

use super::{reversal::Reversal, rule::Subject};

/// Code of the name server identifier (RFC 5001).
pub(super) const NSID: u16 = 3;
/// Code of the client subnet (RFC 7871).
pub(super) const SUBNET: u16 = 8;
/// Octets of a UDP reply that is asked for where the client sent no OPT.
const PAYLOAD: u16 = 4096;

/// A rule for one option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EdnsRule {
    pub(super) code: u16,
    pub(super) action: EdnsAction,
    pub(super) value: Value,
    /// Whether the reply is to look as if the rule had not been.
    pub(super) revert: bool,
}

/// What is done with the option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EdnsAction {
    /// Replaced, or added if it is not there.
    Set,
    /// Added.
    Append,
    /// Replaced if it is there.
    Replace,
    /// Removed.
    Unset,
}

/// What an option is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// These octets.
    Octets(Vec<u8>),
    /// Something about the query.
    Variable(Variable),
    /// The client's network: bits of an IPv4 and of an IPv6 address.
    Subnet(u8, u8),
}

/// Something about the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Variable {
    /// `{qname}`: presentation form.
    Name,
    /// `{qtype}`: two octets.
    Type,
    /// `{client_ip}`: four or sixteen octets.
    ClientIp,
    /// `{client_port}`: two octets.
    ClientPort,
    /// `{protocol}`: `udp` or `tcp`.
    Protocol,
    /// `{server_ip}`: four or sixteen octets.
    ServerIp,
    /// `{server_port}`: two octets.
    ServerPort,
    /// `{plugin/label}`: its text.
    Label(String),
}

impl EdnsRule {
    /// Changes the options; see [`super::rule::Rule::apply`].
    pub(super) fn apply(&self, subject: &mut Subject<'_>) -> Option<Vec<Reversal>> {
        let option = self.option(subject)?;
        let code = EdnsCode::from(self.code);
        let edns = subject.edns.get_or_insert_with(|| {
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD);
            edns
        });
        let options = &mut edns.options_mut().options;
        if self.action == EdnsAction::Unset {
            options.retain(|(known, _)| *known != code);
            return Some(Vec::new());
        }
        let held = options.iter().position(|(known, _)| *known == code);
        let undo = match (held, self.action) {
            (Some(at), EdnsAction::Set | EdnsAction::Replace) => {
                Some(std::mem::replace(&mut options[at].1, option))
            }
            // What is made of the query is there once.
            (Some(_), EdnsAction::Append) if !matches!(self.value, Value::Octets(_)) => {
                return None;
            }
            (Some(_), EdnsAction::Append) | (None, EdnsAction::Set | EdnsAction::Append) => {
                options.push((code, option));
                None
            }
            (_, EdnsAction::Replace | EdnsAction::Unset) => return None,
        };
        let reversal = || Reversal::Option { code: self.code, before: undo };
        Some(self.revert.then(reversal).into_iter().collect())
    }

    /// The option with its value; `None` where the query has no such value.
    fn option(&self, subject: &Subject<'_>) -> Option<EdnsOption> {
        let client = subject.origin.client.ip().to_canonical();
        let octets = match &self.value {
            Value::Octets(octets) => octets.clone(),
            Value::Variable(variable) => variable.octets(subject)?,
            Value::Subnet(v4, v6) => {
                let bits = if client.is_ipv4() { *v4 } else { *v6 };
                let subnet = ClientSubnet::new(masked(client, bits), bits, 0);
                return Some(EdnsOption::Subnet(subnet));
            }
        };
        match self.code {
            NSID => NSIDPayload::new(octets).ok().map(EdnsOption::NSID),
            code => Some(EdnsOption::Unknown(code, octets)),
        }
    }
}

impl Variable {
    fn octets(&self, subject: &Subject<'_>) -> Option<Vec<u8>> {
        let origin = subject.origin;
        let octets = match self {
            Variable::Name => subject.name.as_bytes().to_vec(),
            Variable::Type => subject.rtype.to_be_bytes().to_vec(),
            Variable::ClientIp => address(origin.client.ip()),
            Variable::ClientPort => origin.client.port().to_be_bytes().to_vec(),
            Variable::Protocol => origin.transport.label().as_bytes().to_vec(),
            Variable::ServerIp => address(origin.local.ip()),
            Variable::ServerPort => origin.local.port().to_be_bytes().to_vec(),
            Variable::Label(label) => subject.metadata.value(label)?.into_bytes(),
        };
        (!octets.is_empty()).then_some(octets)
    }
}

fn address(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address with all but its first `bits` cleared.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_first_bits() {
        for (address, bits, wanted) in [
            ("10.1.2.3", 24, "10.1.2.0"),
            ("10.1.2.3", 0, "0.0.0.0"),
            ("10.1.2.3", 32, "10.1.2.3"),
            ("2001:db8::1", 0, "::"),
            ("2001:db8:ffff::1", 33, "2001:db8:8000::"),
            ("2001:db8::1", 128, "2001:db8::1"),
        ] {
            assert_eq!(masked(address.parse().unwrap(), bits).to_string(), wanted);
        }
    }
}
