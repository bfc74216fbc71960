//! The uplink: what arrives at the node, and what leaves it.

use aya_ebpf::programs::TcContext;
use daymark_abi::{
    counter,
    flow::{THROUGH_STACK, WIRE_SIDE, protocol::UDP},
    settings::Settings,
};

use crate::{
    NEXT, conntrack, fragment, host_port, masquerade, notify,
    packet::{self, End, IPV4, IPV6, Packet, TransportAddress, WHOLE},
    peer,
    tables::{ENDPOINTS, SETTINGS},
};

/// `PACKET_HOST`: the frame was sent to this host's MAC.
const PACKET_HOST: u32 = 0;

/// What arrives: for a pod, for the node, which may mean a pod, or to be forwarded.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn from(ctx: &TcContext, packet: &mut Packet) -> Result<i32, u8> {
    let ethertype = packet::ethertype(ctx);
    // SAFETY: a live context.
    let is_for_host = unsafe { (*ctx.skb.skb).pkt_type } == PACKET_HOST;
    let is_ip = matches!(ethertype, IPV4 | IPV6);
    if !is_for_host || !is_ip || packet.read(ctx, ethertype).is_err() {
        // Sent to another MAC, or malformed: the host's own stack judges that.
        return Ok(NEXT);
    }
    notify::count(counter::FROM_WIRE, packet.length);
    let Some(settings) = SETTINGS.get(0) else { return Ok(NEXT) };
    if is_tunnelled(packet, settings) {
        return Ok(NEXT);
    }
    // SAFETY: without preallocation an element is freed only after its readers.
    if let Some(endpoint) = unsafe { ENDPOINTS.get(&packet.destination) } {
        return if fragment::complete(packet, counter::FROM_WIRE) {
            peer::arrive(ctx, packet, settings, endpoint)
        } else {
            Ok(NEXT)
        };
    }
    if !host_port::is_node(settings, &packet.destination) {
        return to_address_of_host_port(ctx, packet);
    }
    if !fragment::complete(packet, counter::FROM_WIRE) {
        return Ok(NEXT);
    }
    if packet.is_error == 1 {
        return error(ctx, packet);
    }
    if masquerade::inbound(ctx, packet)? {
        return Ok(NEXT);
    }
    lead(ctx, packet, true)
}

/// Whether it is for the tunnels' device, at which its inner packet is looked at.
#[inline(always)]
fn is_tunnelled(packet: &Packet, settings: &Settings) -> bool {
    packet.protocol == UDP
        && packet.destination_port.raw == settings.tunnel_port.raw
        && settings.tunnel_port.raw != 0
        && packet.piece == WHOLE
        && host_port::is_node(settings, &packet.destination)
}

/// To another address of the node, which only a host port with `hostIP` can mean.
#[inline(always)]
fn to_address_of_host_port(ctx: &TcContext, packet: &mut Packet) -> Result<i32, u8> {
    if packet.is_error == 1 || !fragment::complete(packet, counter::FROM_WIRE) {
        return Ok(NEXT);
    }
    lead(ctx, packet, false)
}

#[inline(always)]
fn lead(ctx: &TcContext, packet: &mut Packet, own: bool) -> Result<i32, u8> {
    let to = packet.end(End::Destination);
    if let Some(target) = host_port::target(packet.protocol, &to, own) {
        host_port::lead(ctx, packet, &target, THROUGH_STACK)?;
    }
    Ok(NEXT)
}

/// An ICMP error about what left through a translation is for the pod.
#[inline(always)]
fn error(ctx: &TcContext, packet: &mut Packet) -> Result<i32, u8> {
    let mut quoted = Packet::default();
    if packet.read_quoted(ctx, &mut quoted).is_err() {
        return Ok(NEXT);
    }
    let seen = conntrack::peek(&quoted.key(), &quoted);
    let pod = match seen {
        Some(seen) if seen.flow.flags & WIRE_SIDE != 0 => {
            Some(TransportAddress { address: seen.flow.nat_address, port: seen.flow.nat_port })
        }
        _ => host_port::target(quoted.protocol, &quoted.end(End::Source), true),
    };
    if let Some(pod) = pod {
        host_port::error(ctx, packet, &quoted, &pod)?;
    }
    Ok(NEXT)
}

/// What leaves.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn to(ctx: &TcContext, packet: &mut Packet) -> Result<i32, u8> {
    if peer::came_past_stack(ctx) {
        notify::count(counter::TO_WIRE, packet::length(ctx));
        return Ok(NEXT);
    }
    let ethertype = packet::ethertype(ctx);
    if !matches!(ethertype, IPV4 | IPV6) || packet.read(ctx, ethertype).is_err() {
        return Ok(NEXT);
    }
    notify::count(counter::TO_WIRE, packet.length);
    masquerade::outbound(ctx, packet)?;
    Ok(NEXT)
}
