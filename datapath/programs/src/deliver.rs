//! Into a pod of this node without the stack.

use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_redirect_peer,
        generated::{bpf_l3_csum_replace, bpf_skb_store_bytes},
    },
    programs::TcContext,
};
use daymark_abi::{DropReason, counter, endpoint::Endpoint};

use crate::{
    notify,
    packet::{ETHERNET, Packet},
};

const INVALID: u8 = DropReason::INVALID_PACKET_DROPPED.0;

/// Moves the packet into the pod, as a router would: one hop less, from the host end's MAC to the
/// pod's. The caller has seen that a hop is left.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn into_pod(ctx: &TcContext, packet: &Packet, endpoint: &Endpoint) -> Result<i32, u8> {
    take_hop(ctx, packet)?;
    let mut macs = [0u8; 12];
    for at in 0..6 {
        macs[at] = endpoint.pod_mac[at];
        macs[at + 6] = endpoint.host_mac[at];
    }
    // SAFETY: 12 octets; the offset is checked by the helper.
    let stored =
        unsafe { bpf_skb_store_bytes(ctx.as_ptr().cast(), 0, macs.as_ptr().cast(), 12, 0) };
    if stored != 0 {
        return Err(INVALID);
    }
    notify::count(counter::DIRECT, packet.length);
    // SAFETY: the helper has no conditions.
    Ok(unsafe { bpf_redirect_peer(endpoint.ifindex, 0) } as i32)
}

/// One hop less. The caller has seen that one is left.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn take_hop(ctx: &TcContext, packet: &Packet) -> Result<(), u8> {
    let hops = packet.hop_limit.wrapping_sub(1);
    let at = if packet.is_v4 == 1 { ETHERNET + 8 } else { ETHERNET + 7 };
    if packet.is_v4 == 1 {
        // The checksum counts 16 bits at a time: TTL, then protocol.
        let from = u16::from_ne_bytes([packet.hop_limit, 0]);
        let to = u16::from_ne_bytes([hops, 0]);
        // SAFETY: a live context; the offset is checked by the helper.
        let changed = unsafe {
            bpf_l3_csum_replace(ctx.as_ptr().cast(), ETHERNET + 10, from.into(), to.into(), 2)
        };
        if changed != 0 {
            return Err(INVALID);
        }
    }
    let from = core::ptr::from_ref(&hops).cast();
    // SAFETY: one octet; the offset is checked by the helper.
    let stored = unsafe { bpf_skb_store_bytes(ctx.as_ptr().cast(), at, from, 1, 0) };
    if stored == 0 { Ok(()) } else { Err(INVALID) }
}
