//! Into a pod of this node without the stack.

use aya_ebpf::{
    EbpfContext, helpers::bpf_redirect_peer, helpers::generated::bpf_skb_pull_data,
    programs::TcContext,
};
use daymark_abi::{DropReason, counter, endpoint::Endpoint};

use crate::{
    notify,
    packet::{ETHERNET, Packet},
};

const INVALID: u8 = DropReason::INVALID_PACKET_DROPPED.0;

/// Octets of a frame that lie in one piece: an Ethernet and an IPv4 header.
const HEAD: usize = 34;

/// Moves the packet into the pod, as a router would: one hop less, from the host end's MAC to the
/// pod's. The caller has seen that a hop is left.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn into_pod(ctx: &TcContext, packet: &Packet, endpoint: &Endpoint) -> Result<i32, u8> {
    take_hop(ctx, packet)?;
    let frame = head(ctx).ok_or(INVALID)?;
    // SAFETY: `head` has shown that this many octets are there.
    unsafe {
        *frame.cast::<[u8; 6]>() = endpoint.pod_mac;
        *frame.add(6).cast::<[u8; 6]>() = endpoint.host_mac;
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
    let frame = match head(ctx) {
        Some(frame) => frame,
        None => {
            // SAFETY: a live context.
            unsafe { bpf_skb_pull_data(ctx.as_ptr().cast(), HEAD as u32) };
            head(ctx).ok_or(INVALID)?
        }
    };
    let hops = packet.hop_limit.wrapping_sub(1);
    // SAFETY: as in `into_pod`.
    unsafe {
        if packet.is_v4 == 1 {
            *frame.add(ETHERNET as usize + 8) = hops;
            // The sum counts the TTL as the higher octet of a word: it grows by what that loses
            // (RFC 1624).
            let place = frame.add(ETHERNET as usize + 10).cast::<u16>();
            let sum = u32::from(place.read_unaligned()) + u32::from(0x0100u16.to_be());
            place.write_unaligned((sum + (sum >> 16)) as u16);
        } else {
            *frame.add(ETHERNET as usize + 7) = hops;
        }
    }
    Ok(())
}

/// The first octets of the frame, if they lie in one piece.
#[inline(always)]
fn head(ctx: &TcContext) -> Option<*mut u8> {
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + HEAD > end { None } else { Some(start as *mut u8) }
}
