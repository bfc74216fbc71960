//! Switches of the kernel (/proc/sys/net) without which packets of pods go nowhere. Only those that
//! stand otherwise are written: they may be read-only where all is well already.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ipnetwork::IpNetwork;

use super::NodeError;

/// Where the kernel's switches are. What is below `net` there is that of the network namespace of the
/// thread that looks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Switches(PathBuf);

impl Default for Switches {
    fn default() -> Self {
        Switches::at("/proc/sys")
    }
}

impl Switches {
    /// Those in another place than /proc/sys, which container runtimes make read-only.
    pub fn at(folder: impl AsRef<Path>) -> Self {
        Switches(folder.as_ref().to_owned())
    }

    /// Lets packets through between links, for the families that pods have.
    pub(super) fn forward(&self, ranges: &[IpNetwork], uplink: &str) -> Result<(), NodeError> {
        if ranges.iter().any(IpNetwork::is_ipv4) {
            self.set("net/ipv4/ip_forward", "1")?;
        }
        if ranges.iter().any(IpNetwork::is_ipv6) {
            // A host that forwards no longer listens to routers unless it is told to (2), and the uplink
            // may have its addresses from one.
            let advertisements = format!("net/ipv6/conf/{uplink}/accept_ra");
            if self.read(&advertisements).is_ok_and(|value| value == "1") {
                self.set(&advertisements, "2")?;
            }
            self.set("net/ipv6/conf/all/forwarding", "1")?;
        }
        Ok(())
    }

    /// Lets a link receive what the host would answer through another one (`rp_filter`, RFC 3704 2.4):
    /// through a tunnel another node speaks from its own address, to which no tunnel leads.
    pub(super) fn loose(&self, link: &str) -> Result<(), NodeError> {
        self.set(&format!("net/ipv4/conf/{link}/rp_filter"), "2")
    }

    /// The same for a link that may be somebody else's: only where it would be strict, else it stays.
    pub(super) fn accept_strangers(&self, link: &str) -> Result<(), NodeError> {
        let strict = |link: &str| {
            self.read(&format!("net/ipv4/conf/{link}/rp_filter")).is_ok_and(|value| value == "1")
        };
        // The kernel takes the larger of the two.
        if strict(link) || strict("all") { self.loose(link) } else { Ok(()) }
    }

    /// Switches IPv6 on for a link where it is off. A kernel without IPv6 has no such switch, and will
    /// refuse the address.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn enable_ipv6(&self, link: &str) -> io::Result<()> {
        let switch = format!("net/ipv6/conf/{link}/disable_ipv6");
        match self.read(&switch) {
            Ok(value) if value == "1" => fs::write(self.0.join(switch), "0"),
            _ => Ok(()),
        }
    }

    fn read(&self, switch: &str) -> io::Result<String> {
        Ok(fs::read_to_string(self.0.join(switch))?.trim().to_owned())
    }

    fn set(&self, switch: &str, value: &str) -> Result<(), NodeError> {
        let path = self.0.join(switch);
        let set = || match self.read(switch)? {
            old if old == value => Ok(()),
            _ => fs::write(&path, value),
        };
        set().map_err(|cause| NodeError::Switch { path: path.clone(), cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switch(folder: &Path, name: &str, value: &str) -> PathBuf {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, value).expect("a switch");
        path
    }

    #[test]
    fn switches_are_set_where_they_are_said_to_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let forward = switch(folder.path(), "net/ipv4/ip_forward", "0\n");
        let off = switch(folder.path(), "net/ipv6/conf/eth0/disable_ipv6", "1\n");
        let switches = Switches::at(folder.path());
        switches.forward(&["10.0.0.0/24".parse().expect("a range")], "eth0").expect("IPv4 alone");
        switches.enable_ipv6("eth0").expect("IPv6 on");
        assert_eq!(fs::read_to_string(forward).expect("it is there"), "1");
        assert_eq!(fs::read_to_string(off).expect("it is there"), "0");
        let missing = switches.loose("vxlan").expect_err("no such link").to_string();
        assert!(missing.contains("net/ipv4/conf/vxlan/rp_filter"), "{missing}");
    }
}
