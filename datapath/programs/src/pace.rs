//! A pod's rate out of the node: each packet is given the earliest time at which it may depart, to
//! which the fq queueing discipline of the device holds it. Without fq nothing would delay it, so
//! packets are given times only where the settings say that it is there. What is ahead of its time by
//! more than the horizon is dropped.

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::TcContext};
use daymark_abi::{
    DropReason,
    endpoint::{Endpoint, HORIZON, SHAPED},
    settings::{PACE, Settings},
};

use crate::tables::DEVICES;

/// Nanoseconds that a bit takes at one bit per second.
const SECOND: u64 = 1_000_000_000;

/// Gives the packet of a pod its time, if the pod has a rate.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn apply(ctx: &TcContext, settings: &Settings, endpoint: &Endpoint) -> Result<(), u8> {
    if endpoint.flags & SHAPED == 0 || settings.flags & PACE == 0 {
        return Ok(());
    }
    let Some(device) = DEVICES.get_ptr_mut(endpoint.ifindex) else { return Ok(()) };
    // SAFETY: a value of the table. Two CPUs may take the same time for two packets: then one of
    // them departs early by its own length.
    let device = unsafe { &mut *device };
    let rate = device.egress_rate;
    if rate == 0 {
        return Ok(());
    }
    // SAFETY: a live context, whose length on the wire and time may be read, and its time written.
    let (length, asked, now) =
        unsafe { (u64::from((*ctx.skb.skb).wire_len), (*ctx.skb.skb).tstamp, bpf_ktime_get_ns()) };
    let departs = device.departs.max(asked).max(now);
    if departs - now > HORIZON {
        return Err(DropReason::REACHED_EDT_RATE_LIMITING_DROP_HORIZON.0);
    }
    device.departs = departs + (length * 8 * SECOND).checked_div(rate).unwrap_or(0);
    // SAFETY: as above.
    unsafe { (*ctx.skb.skb).tstamp = departs };
    Ok(())
}
