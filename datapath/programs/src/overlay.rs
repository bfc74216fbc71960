//! The VXLAN device: one for all nodes, told packet by packet where the tunnel ends.

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_TUNINFO_IPV6, BPF_F_ZERO_CSUM_TX, bpf_tunnel_key},
    helpers::generated::{bpf_skb_change_type, bpf_skb_get_tunnel_key, bpf_skb_set_tunnel_key},
    maps::lpm_trie::Key,
    programs::TcContext,
};
use daymark_abi::{DropReason, counter, endpoint::Peer};

use crate::{
    NEXT, conntrack, fragment, guard, masquerade, notify,
    packet::{self, IPV4, IPV6, Packet},
    tables::{PEERS, SETTINGS},
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
    let mut key = empty_key();
    let size = size_of::<bpf_tunnel_key>() as u32;
    // SAFETY: a live context, and a key of that size. Both families have the VNI at the same place.
    let got = unsafe { bpf_skb_get_tunnel_key(ctx.as_ptr().cast(), &raw mut key, size, 0) };
    // SAFETY: as above, for tunnels over IPv6.
    let got = got.min(0) == 0
        || unsafe {
            bpf_skb_get_tunnel_key(
                ctx.as_ptr().cast(),
                &raw mut key,
                size,
                u64::from(BPF_F_TUNINFO_IPV6),
            ) == 0
        };
    if !got || key.tunnel_id != settings.vni {
        return Err(WRONG_NETWORK);
    }
    // SAFETY: a live context.
    unsafe { bpf_skb_change_type(ctx.as_ptr().cast(), PACKET_HOST) };
    Ok(NEXT)
}

/// What goes into a tunnel.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn to(ctx: &TcContext, packet: &mut Packet) -> Result<i32, u8> {
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
    let peer: Option<&Peer> = PEERS.get(Key::new(128, packet.destination));
    let Some(peer) = peer.filter(|peer| !peer.tunnel.is_none()) else { return Err(NO_TUNNEL) };
    let mut key = empty_key();
    key.tunnel_id = settings.vni;
    key.tunnel_ttl = 64;
    let mut flags = u64::from(BPF_F_ZERO_CSUM_TX);
    if peer.tunnel.is_v4() {
        key.__bindgen_anon_1.remote_ipv4 = u32::from_be(peer.tunnel.words[3]);
    } else {
        key.__bindgen_anon_1.remote_ipv6 = peer.tunnel.words;
        flags = u64::from(BPF_F_TUNINFO_IPV6);
    }
    let size = size_of::<bpf_tunnel_key>() as u32;
    // SAFETY: a live context, and a key of that size.
    let set = unsafe { bpf_skb_set_tunnel_key(ctx.as_ptr().cast(), &raw mut key, size, flags) };
    if set != 0 {
        return Err(NO_TUNNEL);
    }
    reply(ctx, packet)?;
    Ok(NEXT)
}

/// What a pod answers through a port of this node to a pod of another one.
#[inline(always)]
fn reply(ctx: &TcContext, packet: &mut Packet) -> Result<(), u8> {
    if packet.is_error == 1 || !fragment::complete(packet, counter::TO_OVERLAY) {
        return Ok(());
    }
    match conntrack::peek(&packet.key(), packet) {
        Some(seen) => masquerade::host_port_reply(ctx, packet, &seen),
        None => Ok(()),
    }
}

#[inline(always)]
fn empty_key() -> bpf_tunnel_key {
    // SAFETY: numbers and arrays of numbers, for which zeros are valid.
    unsafe { core::mem::zeroed() }
}
