//! When a port of the node can be given to a pod, and when not.

use crate::{DatapathError, HostPort, Transport};

/// Refuses a port that one of `open` holds for another place.
pub(crate) fn refuse_taken<'a>(
    mut open: impl Iterator<Item = &'a HostPort>,
    port: &HostPort,
) -> Result<(), DatapathError> {
    match open.find(|other| clashes(other, port)) {
        None => Ok(()),
        Some(other) => Err(DatapathError::Taken {
            what: format!("host port {}/{:?}", port.host_port, port.transport),
            holder: other.pod_address.to_string(),
        }),
    }
}

/// Refuses an SCTP port that leads to another one: the checksum covers all of the packet, so ports
/// can't be changed in passing (RFC 9260 §6.8).
pub(crate) fn refuse_untranslatable(port: &HostPort) -> Result<(), DatapathError> {
    if port.transport == Transport::Sctp && port.host_port != port.pod_port {
        let what = format!("host port {}/SCTP", port.host_port);
        let cause = "an SCTP port can only lead to the same port of the pod";
        return Err(DatapathError::Kernel { what, cause: cause.into() });
    }
    Ok(())
}

/// Whether both want the same port of the same address, for different places.
fn clashes(one: &HostPort, other: &HostPort) -> bool {
    let same_family = one.host_address.is_ipv4() == other.host_address.is_ipv4();
    let all = |port: &HostPort| port.host_address.is_unspecified();
    one.transport == other.transport
        && one.host_port == other.host_port
        && same_family
        && (one.host_address == other.host_address || all(one) || all(other))
        && (one.pod_address, one.pod_port) != (other.pod_address, other.pod_port)
}
