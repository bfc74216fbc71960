//! The VXLAN device: one for all nodes, told packet by packet where the tunnel ends.

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_TUNINFO_IPV6, bpf_tunnel_key},
    helpers::generated::{bpf_skb_change_type, bpf_skb_get_tunnel_key},
    programs::TcContext,
};
use daymark_abi::{DropReason, counter};

use crate::{
    NEXT, conntrack, fragment, guard, masquerade, notify, pace,
    packet::{self, IPV4, IPV6, Packet},
    peer,
    tables::{ENDPOINTS, SETTINGS},
};

/// `PACKET_HOST`: the frame is for this host, whatever MAC it was sent to.
const PACKET_HOST: u32 = 0;
const NO_TUNNEL: u8 = DropReason::NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT.0;
const WRONG_NETWORK: u8 = DropReason::INVALID_VNI.0;

/// What comes out of a tunnel.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn from(ctx: &TcContext, packet: &mut Packet) -> Result<i32, u8> {
    let ethertype = packet::ethertype(ctx);
    if !matches!(ethertype, IPV4 | IPV6) {
        return Err(DropReason::UNSUPPORTED_L3_PROTOCOL.0);
    }
    packet.read(ctx, ethertype)?;
    notify::count(counter::FROM_OVERLAY, packet.length);
    let Some(settings) = SETTINGS.get(0) else { return Err(WRONG_NETWORK) };
    if vni(ctx) != Some(settings.vni) {
        return Err(WRONG_NETWORK);
    }
    // SAFETY: a live context.
    unsafe { bpf_skb_change_type(ctx.as_ptr().cast(), PACKET_HOST) };
    // SAFETY: without preallocation an element is freed only after its readers.
    let endpoint = unsafe { ENDPOINTS.get(&packet.destination) };
    match endpoint.filter(|_| fragment::complete(packet, counter::FROM_OVERLAY)) {
        Some(endpoint) => peer::arrive(ctx, packet, settings, endpoint),
        None => Ok(NEXT),
    }
}

/// What goes into a tunnel.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn to(ctx: &TcContext, packet: &mut Packet) -> Result<i32, u8> {
    if peer::came_past_stack(ctx) {
        notify::count(counter::TO_OVERLAY, packet::length(ctx));
        return Ok(NEXT);
    }
    let ethertype = packet::ethertype(ctx);
    if !matches!(ethertype, IPV4 | IPV6) {
        return Err(DropReason::UNSUPPORTED_L3_PROTOCOL.0);
    }
    packet.read(ctx, ethertype)?;
    if guard::stays_on_link(packet) {
        // What the host says on each of its links; the device has nowhere to send it.
        return Ok(NEXT);
    }
    notify::count(counter::TO_OVERLAY, packet.length);
    let Some(settings) = SETTINGS.get(0) else { return Err(NO_TUNNEL) };
    let peer = peer::of(&packet.destination).filter(|peer| !peer.tunnel.is_none());
    let Some(peer) = peer else { return Err(NO_TUNNEL) };
    peer::set_tunnel(ctx.skb.skb, settings, peer)?;
    // SAFETY: without preallocation an element is freed only after its readers.
    if let Some(endpoint) = unsafe { ENDPOINTS.get(&packet.source) } {
        pace::apply(ctx, settings, endpoint)?;
    }
    reply(ctx, packet)?;
    Ok(NEXT)
}

/// Tracks what the stack sends, and translates what a pod answers through a port of this node.
#[inline(always)]
fn reply(ctx: &TcContext, packet: &mut Packet) -> Result<(), u8> {
    if packet.is_error == 1 {
        return masquerade::translate_error(ctx, packet).map(drop);
    }
    if !fragment::complete(packet, counter::TO_OVERLAY) {
        return Ok(());
    }
    let seen = conntrack::peek(&packet.key(), packet);
    peer::track_through_stack(packet, seen.as_ref(), 0);
    match seen {
        Some(seen) => masquerade::host_port_reply(ctx, packet, &seen),
        None => Ok(()),
    }
}

/// The network identifier that came with the packet, whichever family the tunnel runs over.
#[inline(always)]
fn vni(ctx: &TcContext) -> Option<u32> {
    // SAFETY: numbers and arrays of numbers, for which zeros are valid.
    let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
    let size = size_of::<bpf_tunnel_key>() as u32;
    for flags in [0, u64::from(BPF_F_TUNINFO_IPV6)] {
        // SAFETY: a live context, and a key of that size.
        let got = unsafe { bpf_skb_get_tunnel_key(ctx.as_ptr().cast(), &raw mut key, size, flags) };
        if got == 0 {
            return Some(key.tunnel_id);
        }
    }
    None
}
