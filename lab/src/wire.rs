//! The virtual wire: a bridge in a namespace of its own that every node has a cable to.

use std::{
    io::Write,
    net::{Ipv4Addr, Ipv6Addr},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use crate::{layout::Layout, namespace};

/// The device of a node that the wire is plugged into.
pub const UPLINK: &str = "eth0";
/// Length of the prefix that all nodes share, IPv4.
const PREFIX_V4: u8 = 24;
/// The same, IPv6.
const PREFIX_V6: u8 = 64;

/// Addresses of a node on the wire, by its place in the definition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// In 172.31.77.0/24, which no real network here should have.
    pub v4: Ipv4Addr,
    /// In fd00:6c61:62::/64.
    pub v6: Ipv6Addr,
}

/// The wire's own addresses, those of whoever is outside the nodes.
pub const OUTSIDE: Addresses = Addresses {
    v4: Ipv4Addr::new(172, 31, 77, 1),
    v6: Ipv6Addr::new(0xfd00, 0x6c61, 0x62, 0, 0, 0, 0, 1),
};

impl Addresses {
    /// Those of the node at `index`.
    pub fn of_node(index: usize) -> Self {
        // A definition has 100 nodes at most.
        let host = 11 + index as u8;
        Addresses {
            v4: Ipv4Addr::new(172, 31, 77, host),
            v6: Ipv6Addr::new(0xfd00, 0x6c61, 0x62, 0, 0, 0, 0, u16::from(host)),
        }
    }
}

/// Lays the wire.
///
/// # Errors
/// If a namespace or a device can't be made.
pub fn lay(layout: &Layout) -> anyhow::Result<()> {
    namespace::make(&layout.wire())?;
    namespace::inside(&layout.wire(), || {
        ip(&[
            "link add wire type bridge",
            &format!("address add {}/{PREFIX_V4} dev wire", OUTSIDE.v4),
            &format!("address add {}/{PREFIX_V6} dev wire nodad", OUTSIDE.v6),
            "link set wire up",
        ])
    })
}

/// Makes a node's namespace and plugs it in.
///
/// # Errors
/// If a namespace or a device can't be made.
pub fn plug_in(layout: &Layout, node: &str, index: usize) -> anyhow::Result<()> {
    let file = layout.node_namespace(node);
    namespace::make(&file)?;
    let own = Addresses::of_node(index);
    // Of 15 octets that a device's name may have.
    let cable = format!("to{index}");
    let wire = layout.wire();
    let plugged = namespace::inside(&file, || {
        ip(&[
            &format!("link add {UPLINK} type veth peer name {cable} netns {}", wire.display()),
            &format!("address add {}/{PREFIX_V4} dev {UPLINK}", own.v4),
            &format!("address add {}/{PREFIX_V6} dev {UPLINK} nodad", own.v6),
            &format!("link set {UPLINK} up"),
            &format!("route add default via {}", OUTSIDE.v4),
            &format!("route add ::/0 via {}", OUTSIDE.v6),
        ])
    });
    plugged.with_context(|| format!("plugging node {node} in"))?;
    namespace::inside(&wire, || ip(&[&format!("link set {cable} master wire up")]))
}

/// Runs lines of `ip`, in this thread's network.
///
/// # Errors
/// With what `ip` said.
pub fn ip(lines: &[&str]) -> anyhow::Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting `ip` (of the package iproute2)")?;
    let input = child.stdin.take().context("a piped input")?;
    { input }.write_all(lines.join("\n").as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", lines.join("; "), said.trim());
    Ok(())
}
