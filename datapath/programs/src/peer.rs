//! Pods of other nodes: out to them and in from them without the stack, where nothing in the stack
//! may have translated the connection.
//!
//! Both ways have to be taken alike, or the stack's connection tracking would see one half and call
//! it invalid: what comes in from a pod of a peer past the stack is answered past it, and what left
//! through it comes back through it.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_TUNINFO_IPV6, BPF_F_ZERO_CSUM_TX, bpf_tunnel_key},
    helpers::{
        bpf_redirect,
        generated::{bpf_redirect_neigh, bpf_skb_set_tunnel_key},
    },
    maps::lpm_trie::Key,
    programs::TcContext,
};
use daymark_abi::{
    Address, DropReason,
    endpoint::{Endpoint, Peer, SHAPED},
    flow::THROUGH_STACK,
    settings::Settings,
};

use crate::{
    NEXT, conntrack, deliver,
    packet::{Packet, TransportAddress},
    tables::PEERS,
};

/// Mark of a packet on its way from a pod's device to another one past the stack, which the program
/// there takes off again. Marks do not pass from a pod's namespace into the node's.
const PAST_STACK: u32 = 0xda7a_0001;

const NO_TUNNEL: u8 = DropReason::NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT.0;

/// The node that has this pod.
#[inline(always)]
pub fn of(address: &Address) -> Option<&'static Peer> {
    PEERS.get(Key::new(128, *address))
}

/// Whether the packet came past the stack; takes its mark off. Such a one was read where it came from,
/// and need not be again.
#[inline(always)]
pub fn came_past_stack(ctx: &TcContext) -> bool {
    let skb = ctx.skb.skb;
    // SAFETY: a live context, whose mark may be read and written.
    unsafe {
        if (*skb).mark != PAST_STACK {
            return false;
        }
        (*skb).mark = 0;
    }
    true
}

/// Enters that a connection goes through the stack.
#[inline(always)]
pub fn track_through_stack(packet: &Packet, seen: Option<&conntrack::Seen>, flags: u8) {
    let flags = flags | THROUGH_STACK;
    let key = packet.key();
    match seen {
        Some(seen) if seen.flow.flags & flags == flags => {}
        Some(_) => conntrack::mark(&key, flags),
        None => drop(conntrack::begin(&key, packet, flags, &TransportAddress::default())),
    }
}

/// Whether this packet goes past the stack, by its connection; begins one where that can be.
/// `may_begin` says that the answer would go past it too.
#[inline(always)]
pub fn goes_past_stack(
    packet: &Packet,
    settings: &Settings,
    may_begin: impl FnOnce() -> bool,
) -> Option<conntrack::Seen> {
    let key = packet.key();
    if let Some(seen) = conntrack::follow(&key, packet) {
        return if seen.flow.flags & THROUGH_STACK == 0 { Some(seen) } else { None };
    }
    // The middle of a connection that the tables do not know may have been translated by the stack.
    // With TCP it shows; of others one that is older than the tables does not.
    let begins = if packet.protocol == daymark_abi::flow::protocol::TCP {
        packet.is_syn()
    } else {
        conntrack::now() >= settings.known_from
    };
    if !begins || !may_begin() {
        return None;
    }
    // Without an entry the reply could not know which way to take.
    let flow = conntrack::begin(&key, packet, 0, &TransportAddress::default()).ok()?;
    Some(conntrack::Seen { flow, is_reply: false })
}

/// Whether an ICMP error goes past the stack: if the connection does that it is about, which the
/// stack then does not know.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn error_goes_past_stack(ctx: &TcContext, packet: &Packet) -> Result<bool, u8> {
    let mut quoted = Packet::default();
    packet.read_quoted(ctx, &mut quoted)?;
    let seen = conntrack::peek(&quoted.key(), &quoted);
    Ok(seen.is_some_and(|seen| seen.flow.flags & THROUGH_STACK == 0))
}

/// Either of the two, for a packet of any kind.
#[inline(always)]
fn is_past_stack(
    ctx: &TcContext,
    packet: &Packet,
    settings: &Settings,
    may_begin: impl FnOnce() -> bool,
) -> Result<bool, u8> {
    if packet.is_error == 1 {
        return error_goes_past_stack(ctx, packet);
    }
    Ok(goes_past_stack(packet, settings, may_begin).is_some())
}

/// What a pod sends to a pod of another node.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn out(
    ctx: &TcContext,
    packet: &mut Packet,
    settings: &Settings,
    peer: &Peer,
) -> Result<i32, u8> {
    let device = if peer.tunnel.is_none() { settings.uplink } else { settings.vxlan };
    if device == 0 || packet.hop_limit < 2 || !is_past_stack(ctx, packet, settings, || true)? {
        return Ok(NEXT);
    }
    deliver::take_hop(ctx, packet)?;
    // SAFETY: a live context.
    unsafe { (*ctx.skb.skb).mark = PAST_STACK };
    if peer.tunnel.is_none() {
        // The node's own routes lead there over the uplink; the kernel finds the neighbour, and keeps
        // the packet while it asks for it.
        // SAFETY: without parameters the helper takes the packet's own destination.
        return Ok(unsafe { bpf_redirect_neigh(device, core::ptr::null_mut(), 0, 0) } as i32);
    }
    set_tunnel(ctx.skb.skb, settings, peer)?;
    // SAFETY: the helper has no conditions.
    Ok(unsafe { bpf_redirect(device, 0) } as i32)
}

/// Tells the VXLAN device where the tunnel of this packet ends.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn set_tunnel(skb: *mut __sk_buff, settings: &Settings, peer: &Peer) -> Result<(), u8> {
    // SAFETY: numbers and arrays of numbers, for which zeros are valid.
    let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
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
    let set = unsafe { bpf_skb_set_tunnel_key(skb, &raw mut key, size, flags) };
    if set == 0 { Ok(()) } else { Err(NO_TUNNEL) }
}

/// What arrives for a pod of this node: into it past the stack, if it comes from a pod of a peer and
/// the connection did not leave through the stack.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn arrive(
    ctx: &TcContext,
    packet: &mut Packet,
    settings: &Settings,
    endpoint: &Endpoint,
) -> Result<i32, u8> {
    if endpoint.flags & SHAPED != 0 || packet.hop_limit < 2 {
        return Ok(NEXT);
    }
    let source = packet.source;
    if is_past_stack(ctx, packet, settings, || of(&source).is_some())? {
        deliver::into_pod(ctx, packet, endpoint)
    } else {
        Ok(NEXT)
    }
}
