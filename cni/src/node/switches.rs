//! Switches of the kernel (/proc/sys/net) without which packets of pods go nowhere. Only those that
//! stand otherwise are written: /proc/sys may be read-only where all is well already.

use std::{fs, io};

use ipnetwork::IpNetwork;

use super::NodeError;

/// Lets packets through between links, for the families that pods have.
pub(super) fn forward(ranges: &[IpNetwork], uplink: &str) -> Result<(), NodeError> {
    if ranges.iter().any(IpNetwork::is_ipv4) {
        set("net/ipv4/ip_forward", "1")?;
    }
    if ranges.iter().any(IpNetwork::is_ipv6) {
        // A host that forwards no longer listens to routers unless it is told to (2), and the uplink
        // may have its addresses from one.
        let advertisements = format!("net/ipv6/conf/{uplink}/accept_ra");
        if read(&advertisements).is_ok_and(|value| value == "1") {
            set(&advertisements, "2")?;
        }
        set("net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// Lets a link receive what the host would answer through another one (`rp_filter`, RFC 3704 2.4):
/// through a tunnel another node speaks from its own address, to which no tunnel leads.
pub(super) fn loose(link: &str) -> Result<(), NodeError> {
    set(&format!("net/ipv4/conf/{link}/rp_filter"), "2")
}

/// The same for a link that may be somebody else's: only where it would be strict, else it stays.
pub(super) fn accept_strangers(link: &str) -> Result<(), NodeError> {
    let strict = |link: &str| {
        read(&format!("net/ipv4/conf/{link}/rp_filter")).is_ok_and(|value| value == "1")
    };
    // The kernel takes the larger of the two.
    if strict(link) || strict("all") { loose(link) } else { Ok(()) }
}

fn read(switch: &str) -> io::Result<String> {
    Ok(fs::read_to_string(format!("/proc/sys/{switch}"))?.trim().to_owned())
}

fn set(switch: &str, value: &str) -> Result<(), NodeError> {
    let set = || match read(switch)? {
        old if old == value => Ok(()),
        _ => fs::write(format!("/proc/sys/{switch}"), value),
    };
    set().map_err(|cause| NodeError::Switch { switch: switch.to_owned(), cause })
}
