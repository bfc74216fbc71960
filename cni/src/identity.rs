//! Names and MACs that follow from an attachment alone: the same after a restart, and known before
//! anything is made, so that whatever a killed agent left can be found.

use daymark_cni_spec::AttachmentId;
use sha2::{Digest, Sha256};

/// What our links on the host begin with.
const PREFIX: &str = "dmk";
/// Digits that follow: with them a name has 15 octets, all that a link's name may have.
const DIGITS: usize = 12;

/// See [the module](self).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    /// Name of the host's end of the veth.
    pub(crate) host_ifname: String,
    /// MAC of the host's end.
    pub(crate) host_mac: [u8; 6],
    /// MAC of the pod's end, if nobody asks for another.
    pub(crate) pod_mac: [u8; 6],
}

impl Identity {
    /// That of an attachment.
    pub(crate) fn of(id: &AttachmentId) -> Self {
        let digest = Sha256::digest(id.to_string());
        let hex: String = digest.iter().take(DIGITS / 2).map(|o| format!("{o:02x}")).collect();
        let octets = |at: usize| std::array::from_fn(|i| digest[at + i]);
        Identity {
            host_ifname: format!("{PREFIX}{hex}"),
            host_mac: local(octets(6)),
            pod_mac: local(octets(12)),
        }
    }
}

/// Makes it a MAC that is locally administered and a single station's (IEEE 802, 8.2).
fn local(mut mac: [u8; 6]) -> [u8; 6] {
    mac[0] = mac[0] & 0xfc | 0x02;
    mac
}

/// Whether a link on the host is called like ours.
pub(crate) fn is_ours(ifname: &str) -> bool {
    ifname.strip_prefix(PREFIX).is_some_and(|digits| {
        digits.len() == DIGITS && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_follows_from_the_attachment_and_differs_for_each() {
        let of = |id, ifname| Identity::of(&AttachmentId::new(id, ifname).expect("an id"));
        let one = of("c0ffee", "eth0");
        assert_eq!(one, of("c0ffee", "eth0"));
        assert_ne!(one.host_ifname, of("c0ffee", "eth1").host_ifname);
        assert_ne!(one.pod_mac, one.host_mac);
        assert!(one.host_ifname.len() == 15 && is_ours(&one.host_ifname));
        assert_eq!((one.pod_mac[0] & 3, one.host_mac[0] & 3), (2, 2));
        assert!(!is_ours("dmkdummy") && !is_ours("eth0") && !is_ours("dmk0123456789aB"));
    }
}
