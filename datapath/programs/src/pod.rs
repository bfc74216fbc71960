//! The host's end of a pod's veth: what the pod sends, and what the stack sends to it.

use aya_ebpf::programs::TcContext;
use daymark_abi::{
    DropReason, counter,
    endpoint::{Device, Endpoint, SHAPED},
    flow::{HAIRPIN, THROUGH_STACK},
    settings::Settings,
};

use crate::{
    NEXT, conntrack, deliver, fragment,
    guard::{self, Scope},
    host_port, masquerade, notify,
    packet::{self, ARP, End, IPV4, IPV6, Packet, TransportAddress},
    peer, rewrite,
    tables::{DEVICES, ENDPOINTS, SETTINGS},
};

/// What a pod sends.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn from(ctx: &TcContext, packet: &mut Packet) -> Result<i32, u8> {
    let ifindex = packet::ifindex(ctx.skb.skb);
    // SAFETY: without preallocation an element is freed only after its readers.
    let Some(device) = (unsafe { DEVICES.get(&ifindex) }) else { return Ok(NEXT) };
    guard::mac(ctx, device)?;
    let ethertype = packet::ethertype(ctx);
    match ethertype {
        ARP => return guard::arp(ctx, device).map(|()| NEXT),
        IPV4 | IPV6 => {}
        _ => return Err(DropReason::UNSUPPORTED_L3_PROTOCOL.0),
    }
    packet.read(ctx, ethertype)?;
    if guard::source(ctx, device, packet)? == Scope::Link {
        return Ok(NEXT);
    }
    notify::count(counter::FROM_POD, packet.length);
    if !fragment::complete(packet, counter::FROM_POD) {
        return Ok(NEXT);
    }
    let Some(settings) = SETTINGS.get(0) else { return Ok(NEXT) };
    // SAFETY: as above.
    if let Some(endpoint) = unsafe { ENDPOINTS.get(&packet.destination) } {
        return to_neighbour(ctx, packet, settings, device, endpoint);
    }
    if host_port::is_node(settings, &packet.destination) {
        return to_node(ctx, packet, device);
    }
    if device.flags & SHAPED == 0 {
        if let Some(peer) = peer::of(&packet.destination) {
            return peer::out(ctx, packet, settings, peer);
        }
    }
    if packet.is_error == 0 {
        track(packet);
    }
    Ok(NEXT)
}

/// Enters or moves on a connection that nothing depends on.
#[inline(always)]
fn track(packet: &Packet) {
    let key = packet.key();
    if conntrack::follow(&key, packet).is_none() {
        let _ = conntrack::begin(&key, packet, 0, &TransportAddress::default());
    }
}

/// To a pod of this node: without the stack, unless the connection has begun there or may have.
#[inline(always)]
fn to_neighbour(
    ctx: &TcContext,
    packet: &mut Packet,
    settings: &Settings,
    device: &Device,
    endpoint: &Endpoint,
) -> Result<i32, u8> {
    let shaped = (device.flags | endpoint.flags) & SHAPED != 0;
    if shaped || packet.hop_limit < 2 {
        return Ok(NEXT);
    }
    if packet.is_error == 1 {
        if !peer::error_goes_past_stack(ctx, packet)? {
            return Ok(NEXT);
        }
        masquerade::translate_error(ctx, packet)?;
        return deliver::into_pod(ctx, packet, endpoint);
    }
    match peer::goes_past_stack(packet, settings, || true) {
        Some(seen) => {
            masquerade::host_port_reply(ctx, packet, &seen)?;
            deliver::into_pod(ctx, packet, endpoint)
        }
        None => Ok(NEXT),
    }
}

/// To the node: through one of its ports to a pod, or to the node itself.
#[inline(always)]
fn to_node(ctx: &TcContext, packet: &mut Packet, device: &Device) -> Result<i32, u8> {
    if packet.is_error == 1 {
        return Ok(NEXT);
    }
    let key = packet.key();
    let seen = conntrack::follow(&key, packet);
    if let Some(seen) = seen.filter(|seen| seen.is_reply) {
        // An answer to the node, from whatever port it asked.
        return if seen.flow.flags & HAIRPIN == 0 {
            Ok(NEXT)
        } else {
            back_to_itself(ctx, packet, &seen)
        };
    }
    let asked = packet.end(End::Destination);
    if let Some(target) = host_port::target(packet.protocol, &asked, true) {
        // SAFETY: as in `from`.
        let Some(endpoint) = (unsafe { ENDPOINTS.get(&target.address) }) else { return Ok(NEXT) };
        if packet.hop_limit < 2 {
            return Ok(NEXT);
        }
        if target.address.equals(&packet.source) {
            return to_itself(ctx, packet, &asked, &target, endpoint);
        }
        if !host_port::lead(ctx, packet, &target, 0)? {
            return Ok(NEXT);
        }
        let shaped = (device.flags | endpoint.flags) & SHAPED != 0;
        return if shaped { Ok(NEXT) } else { deliver::into_pod(ctx, packet, endpoint) };
    }
    if seen.is_none() {
        let _ = conntrack::begin(&key, packet, 0, &TransportAddress::default());
    }
    Ok(NEXT)
}

/// What a pod answers to itself through a port of the node.
#[inline(always)]
fn back_to_itself(ctx: &TcContext, packet: &mut Packet, seen: &conntrack::Seen) -> Result<i32, u8> {
    // SAFETY: as in `from`.
    let Some(endpoint) = (unsafe { ENDPOINTS.get(&packet.source) }) else { return Ok(NEXT) };
    let own = TransportAddress { address: packet.source, port: packet.destination_port };
    let old = packet.replace_end(End::Destination, &own);
    rewrite::end(ctx, packet, End::Destination, &old)?;
    masquerade::host_port_reply(ctx, packet, seen)?;
    deliver::into_pod(ctx, packet, endpoint)
}

/// A pod reaches itself through a port of the node: it has to see the node as its peer.
#[inline(always)]
fn to_itself(
    ctx: &TcContext,
    packet: &mut Packet,
    asked: &TransportAddress,
    target: &TransportAddress,
    endpoint: &Endpoint,
) -> Result<i32, u8> {
    let node = TransportAddress { address: asked.address, port: packet.source_port };
    let old_source = packet.replace_end(End::Source, &node);
    let old_destination = packet.replace_end(End::Destination, target);
    if !host_port::enter(packet, asked, HAIRPIN)? {
        return Ok(NEXT);
    }
    rewrite::end(ctx, packet, End::Source, &old_source)?;
    rewrite::end(ctx, packet, End::Destination, &old_destination)?;
    deliver::into_pod(ctx, packet, endpoint)
}

/// What the stack sends to a pod.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn to(ctx: &TcContext, packet: &mut Packet) -> Result<i32, u8> {
    let ethertype = packet::ethertype(ctx);
    if !matches!(ethertype, IPV4 | IPV6) || packet.read(ctx, ethertype).is_err() {
        // What the host makes is the host's affair.
        return Ok(NEXT);
    }
    if guard::stays_on_link(packet) {
        return Ok(NEXT);
    }
    notify::count(counter::TO_POD, packet.length);
    if packet.is_error == 1 {
        masquerade::translate_error(ctx, packet)?;
        return Ok(NEXT);
    }
    if !fragment::complete(packet, counter::TO_POD) {
        return Ok(NEXT);
    }
    let key = packet.key();
    match conntrack::follow(&key, packet) {
        Some(seen) => {
            if seen.flow.flags & THROUGH_STACK == 0 {
                conntrack::mark(&key, THROUGH_STACK);
            }
            masquerade::host_port_reply(ctx, packet, &seen)?;
        }
        None => drop(conntrack::begin(&key, packet, THROUGH_STACK, &TransportAddress::default())),
    }
    Ok(NEXT)
}
