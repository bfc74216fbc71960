//! Counting, and telling user space.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT},
    helpers::bpf_ktime_get_ns,
};
use daymark_abi::{
    counter::{self, Count},
    event::{DROP, Event},
};

use crate::{
    packet::{self, Packet},
    tables::{CAUSES, DROPS, EVENTS, TRAFFIC},
};

/// One packet at a hook.
#[inline(always)]
pub fn count(hook: u32, octets: u32) {
    if let Some(place) = TRAFFIC.get_ptr_mut(hook) {
        add(place, octets);
    }
}

/// One more of a cause (`daymark_abi::counter`).
#[inline(always)]
pub fn cause(place: u32) {
    if let Some(count) = CAUSES.get_ptr_mut(place) {
        // SAFETY: the place belongs to this CPU, and a program is not interrupted by another one at
        // the same hook; a lost count is all that could come of it.
        unsafe { *count += 1 }
    }
}

/// Drops a packet: counted, and told if there is room.
#[inline(never)]
pub fn drop(skb: *mut __sk_buff, packet: &Packet, hook: u32, direction: u8, reason: u8) -> i32 {
    if let Some(place) = DROPS.get_ptr_mut(counter::drop_place(reason, direction)) {
        add(place, packet.length);
    }
    let Some(mut event) = EVENTS.reserve::<Event>(0) else {
        cause(counter::EVENT_LOST);
        return TC_ACT_SHOT as i32;
    };
    event.write(Event {
        // SAFETY: the helper has no conditions.
        time: unsafe { bpf_ktime_get_ns() },
        connection: 0,
        source: packet.source,
        destination: packet.destination,
        source_port: packet.source_port,
        destination_port: packet.destination_port,
        length: packet.length,
        ifindex: packet::ifindex(skb),
        kind: DROP,
        direction,
        reason,
        protocol: packet.protocol,
        hook: hook as u8,
        way: 0,
        tcp_flags: packet.tcp_flags,
        pad: 0,
        captured: 0,
        pad2: [0; 2],
    });
    event.submit(0);
    TC_ACT_SHOT as i32
}

#[inline(always)]
fn add(place: *mut Count, octets: u32) {
    // SAFETY: as in `cause`.
    unsafe {
        (*place).packets += 1;
        (*place).bytes += u64::from(octets);
    }
}
