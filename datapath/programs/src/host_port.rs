//! Ports of the node that lead to pods: the way in. The way back is `masquerade::host_port_reply`.
//!
//! Which pod a packet goes to is looked up for every packet, so a port's next holder has all of its
//! traffic at once; what is entered is only where replies must come from.

use aya_ebpf::programs::TcContext;
use daymark_abi::{
    Address, Be16,
    flow::{TO_HOST_PORT, protocol},
    host_port::{HostPortKey, Target},
    settings::Settings,
};

use crate::{
    conntrack,
    packet::{End, Packet, TransportAddress},
    rewrite,
    tables::HOST_PORTS,
};

/// Whether it is the node's address.
#[inline(always)]
pub fn is_node(settings: &Settings, address: &Address) -> bool {
    if address.is_v4() {
        address.equals(&settings.node_ipv4)
    } else {
        address.equals(&settings.node_ipv6) && !address.is_none()
    }
}

/// Where a port of this address leads. `own` says that it is one of the node's, for which ports that
/// are open on all of them count.
#[inline(always)]
pub fn target(protocol: u8, to: &TransportAddress, own: bool) -> Option<TransportAddress> {
    if !matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP) {
        return None;
    }
    let mut key = HostPortKey { address: to.address, port: to.port, protocol, pad: 0 };
    if let Some(found) = look_up(&key) {
        return Some(found);
    }
    if !own {
        return None;
    }
    key.address = if to.address.is_v4() { Address::v4(0) } else { Address { words: [0; 4] } };
    look_up(&key)
}

#[inline(always)]
fn look_up(key: &HostPortKey) -> Option<TransportAddress> {
    // SAFETY: without preallocation an element is freed only after its readers.
    let found: Option<&Target> = unsafe { HOST_PORTS.get(key) };
    found.map(|target| TransportAddress { address: target.address, port: target.port })
}

/// Leads a packet to the pod and enters the connection. False, with the packet as it was, if it
/// belongs to no connection through this port.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn lead(
    ctx: &TcContext,
    packet: &mut Packet,
    target: &TransportAddress,
    flags: u8,
) -> Result<bool, u8> {
    let old = packet.replace_end(End::Destination, target);
    if !enter(packet, &old, flags)? {
        packet.replace_end(End::Destination, &old);
        return Ok(false);
    }
    rewrite::end(ctx, packet, End::Destination, &old)?;
    Ok(true)
}

/// Enters the connection of a packet that was sent to `asked` and is led to where it says now. False
/// if it is in the middle of a TCP connection that is not known: the node itself may have begun one
/// from the port.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn enter(packet: &Packet, asked: &TransportAddress, flags: u8) -> Result<bool, u8> {
    let key = packet.key();
    let known = conntrack::follow(&key, packet).is_some_and(|seen| {
        seen.flow.flags & TO_HOST_PORT != 0
            && seen.flow.nat_port.raw == asked.port.raw
            && seen.flow.nat_address.equals(&asked.address)
    });
    if known {
        return Ok(true);
    }
    if packet.protocol == protocol::TCP && !packet.is_syn() {
        return Ok(false);
    }
    conntrack::begin(&key, packet, TO_HOST_PORT | flags, asked)?;
    Ok(true)
}

/// An ICMP error about what a pod has sent through a port of the node goes to that pod.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn error(
    ctx: &TcContext,
    packet: &mut Packet,
    quoted: &Packet,
    pod: &TransportAddress,
) -> Result<(), u8> {
    rewrite::quoted(ctx, packet, quoted, End::Source, pod)?;
    let destination = TransportAddress { address: pod.address, port: Be16 { raw: 0 } };
    let old = packet.replace_end(End::Destination, &destination);
    rewrite::end(ctx, packet, End::Destination, &old)
}
