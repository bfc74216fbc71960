//! What connection a packet belongs to, and what it does to that connection.
//!
//! A connection is entered in `YOUNG`, an LRU table: new ones take the place of those that were
//! silent longest. One that both ends have spoken on, and that is still used in a later moment than
//! the one it began in, moves to `ESTABLISHED`, where nothing is evicted; a TCP connection that
//! ends moves back. So a flood of new connections costs only other new ones their place, and a
//! short connection costs one write. Entries that just fell silent are removed by user space; here
//! they count as gone.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::{bpf_get_prandom_u32, generated::bpf_ktime_get_coarse_ns},
};
use daymark_abi::{
    DropReason, counter,
    flow::{
        CLOSED, FROM_SECOND, Flow, FlowKey, NEW, OPEN, ORIGINATOR_CLOSED, REPLIED,
        RESPONDER_CLOSED, lifetime, protocol,
    },
};

use crate::{
    header::tcp,
    notify::cause,
    packet::{Packet, TransportAddress},
    tables::{ESTABLISHED, YOUNG},
};

/// A packet's connection.
#[derive(Clone, Copy)]
pub struct Seen {
    /// As it was after this packet.
    pub flow: Flow,
    /// Whether the packet goes from the responder to the originator.
    pub is_reply: bool,
}

/// Moments of 2^30 ns since boot, which are what lifetimes are counted in: a little more than a
/// second, and no division.
#[inline(always)]
pub fn now() -> u32 {
    // SAFETY: the helper has no conditions.
    (unsafe { bpf_ktime_get_coarse_ns() } >> 30) as u32
}

/// Finds the packet's connection and moves it on by this packet. `None` if there is none, or it is
/// over and this packet begins another.
#[inline(always)]
pub fn follow(key: &FlowKey, packet: &Packet) -> Option<Seen> {
    let mut seen = Seen { flow: Flow::default(), is_reply: false };
    if follow_into(key, packet, &mut seen) == 1 { Some(seen) } else { None }
}

/// A function of its own for the verifier, as `packet::read` is. 1 if it was found.
#[inline(never)]
fn follow_into(key: &FlowKey, packet: &Packet, seen: &mut Seen) -> u32 {
    match find(key, packet) {
        Some(found) => {
            *seen = found;
            1
        }
        None => 0,
    }
}

#[inline(always)]
fn find(key: &FlowKey, packet: &Packet) -> Option<Seen> {
    let now = now();
    let source_is_first = packet.source_is_first();
    if let Some(place) = ESTABLISHED.get_ptr_mut(key) {
        // SAFETY: a value of the table; entries can be reused while they are read, then a packet
        // counts for another connection of the same age, once.
        let flow = unsafe { &mut *place };
        if is_over(flow, packet, now) {
            let _ = ESTABLISHED.remove(key);
            cause(counter::FLOW_EXPIRED);
            return None;
        }
        let is_reply = source_is_first == (flow.flags & FROM_SECOND != 0);
        step(flow, packet, is_reply, now);
        let flow = *flow;
        if flow.state == CLOSED {
            let _ = YOUNG.insert(key, &flow, u64::from(BPF_ANY));
            let _ = ESTABLISHED.remove(key);
        }
        return Some(Seen { flow, is_reply });
    }
    let place = YOUNG.get_ptr_mut(key)?;
    // SAFETY: as above.
    let flow = unsafe { &mut *place };
    if is_over(flow, packet, now) {
        cause(counter::FLOW_EXPIRED);
        return None;
    }
    let is_reply = source_is_first == (flow.flags & FROM_SECOND != 0);
    let next_moment = step(flow, packet, is_reply, now);
    let flow = *flow;
    if next_moment && !is_reply && flow.state == OPEN && flow.flags & REPLIED != 0 {
        if ESTABLISHED.insert(key, &flow, u64::from(BPF_ANY)).is_ok() {
            let _ = YOUNG.remove(key);
            cause(counter::FLOW_PROMOTED);
        } else {
            cause(counter::FLOW_UNPROTECTED);
        }
    }
    Some(Seen { flow, is_reply })
}

/// The connection without a step: where another hook has seen the packet, and for errors about it.
#[inline(always)]
pub fn peek(key: &FlowKey, packet: &Packet) -> Option<Seen> {
    let now = now();
    // SAFETY: as in `find`.
    let found = unsafe { ESTABLISHED.get(key) };
    // SAFETY: as in `find`.
    let flow = found.or_else(|| unsafe { YOUNG.get(key) })?;
    if flow.expires < now {
        return None;
    }
    let is_reply = packet.source_is_first() == (flow.flags & FROM_SECOND != 0);
    Some(Seen { flow: *flow, is_reply })
}

/// Enters how a connection is translated; one that is not there yet is begun by this packet.
///
/// # Errors
/// As [`begin`].
#[inline(always)]
pub fn translate(
    key: &FlowKey,
    packet: &Packet,
    flags: u8,
    to: &TransportAddress,
) -> Result<(), u8> {
    let found = ESTABLISHED.get_ptr_mut(key).or_else(|| YOUNG.get_ptr_mut(key));
    let Some(place) = found else { return begin(key, packet, flags, to).map(drop) };
    // SAFETY: as in `find`.
    let flow = unsafe { &mut *place };
    flow.nat_address = to.address;
    flow.nat_port = to.port;
    flow.flags |= flags;
    Ok(())
}

/// Sets flags of a connection that is there.
#[inline(always)]
pub fn mark(key: &FlowKey, flags: u8) {
    let found = ESTABLISHED.get_ptr_mut(key).or_else(|| YOUNG.get_ptr_mut(key));
    if let Some(place) = found {
        // SAFETY: as in `find`.
        unsafe { (*place).flags |= flags }
    }
}

/// A connection that this packet begins, as it is entered.
#[inline(always)]
pub fn first(packet: &Packet, flags: u8, translation: &TransportAddress) -> Flow {
    let from_second = if packet.source_is_first() { 0 } else { FROM_SECOND };
    // SAFETY: the helper has no conditions.
    let (high, low) = unsafe { (bpf_get_prandom_u32(), bpf_get_prandom_u32()) };
    Flow {
        id: u64::from(high) << 32 | u64::from(low),
        expires: now() + lifetime(packet.protocol, NEW),
        state: if packet.tcp_flags & tcp::RST != 0 { CLOSED } else { NEW },
        flags: flags | from_second,
        nat_port: translation.port,
        nat_address: translation.address,
    }
}

/// Enters a connection that this packet begins, in place of what was there.
///
/// # Errors
/// Code of the drop reason; who need not track the connection passes the packet all the same.
#[inline(always)]
pub fn begin(
    key: &FlowKey,
    packet: &Packet,
    flags: u8,
    translation: &TransportAddress,
) -> Result<Flow, u8> {
    let flow = first(packet, flags, translation);
    match YOUNG.insert(key, &flow, u64::from(BPF_ANY)) {
        Ok(()) => {
            cause(counter::FLOW_CREATED);
            Ok(flow)
        }
        Err(_) => {
            cause(counter::FLOW_REFUSED);
            Err(DropReason::CT_MAP_INSERTION_FAILED.0)
        }
    }
}

/// Enters a connection if its key is free; tells whether it was.
#[inline(always)]
pub fn claim(key: &FlowKey, flow: &Flow) -> bool {
    // SAFETY: as in `find`.
    if let Some(other) = unsafe { ESTABLISHED.get(key) } {
        if other.expires >= now() {
            return false;
        }
        let _ = ESTABLISHED.remove(key);
    }
    if YOUNG.insert(key, flow, u64::from(BPF_NOEXIST)).is_ok() {
        return true;
    }
    // SAFETY: as in `find`.
    match unsafe { YOUNG.get(key) } {
        Some(other) if other.expires < now() => YOUNG.insert(key, flow, u64::from(BPF_ANY)).is_ok(),
        _ => false,
    }
}

/// Whether the connection has ended before this packet.
#[inline(always)]
fn is_over(flow: &Flow, packet: &Packet, now: u32) -> bool {
    flow.expires < now || (packet.is_syn() && flow.state >= ORIGINATOR_CLOSED)
}

/// Moves a connection on by one packet. Tells whether it is the first one in this moment, which is
/// when its time is written: most packets only read.
#[inline(always)]
fn step(flow: &mut Flow, packet: &Packet, is_reply: bool, now: u32) -> bool {
    let state = if packet.protocol == protocol::TCP && packet.piece != crate::packet::LATER {
        tcp_state(flow.state, flow.flags, packet.tcp_flags, is_reply)
    } else if is_reply && flow.state == NEW {
        OPEN
    } else {
        flow.state
    };
    if is_reply && flow.flags & REPLIED == 0 {
        flow.flags |= REPLIED;
    }
    let expires = now + lifetime(packet.protocol, state);
    let next_moment = expires != flow.expires && state == flow.state;
    if state != flow.state {
        flow.state = state;
    }
    if expires != flow.expires {
        flow.expires = expires;
    }
    next_moment
}

/// State of a TCP connection after a packet with these flags (RFC 9293 §3.3.2, seen from between
/// the ends).
#[inline(always)]
fn tcp_state(state: u8, flags: u8, tcp_flags: u8, is_reply: bool) -> u8 {
    if tcp_flags & tcp::RST != 0 || state == CLOSED {
        return CLOSED;
    }
    if tcp_flags & tcp::FIN != 0 {
        let (own, other) = if is_reply {
            (RESPONDER_CLOSED, ORIGINATOR_CLOSED)
        } else {
            (ORIGINATOR_CLOSED, RESPONDER_CLOSED)
        };
        return if state == other { CLOSED } else { own };
    }
    if state == NEW && !is_reply && flags & REPLIED != 0 { OPEN } else { state }
}
