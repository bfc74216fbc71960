//! Changing addresses and ports in a packet, with its checksums.
//!
//! Checksums are changed by what differs, through the helpers: on a veth they are often partial, and
//! the helpers know.

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::generated::{
        bpf_csum_diff, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_skb_store_bytes,
    },
    programs::TcContext,
};
use daymark_abi::{Address, DropReason, flow::protocol};

use crate::packet::{ETHERNET, End, LATER, Packet, TransportAddress};

const INVALID: u8 = DropReason::INVALID_PACKET_DROPPED.0;

/// `BPF_F_IPV6` of Linux 6.16: there is no header checksum that makes up for a changed address.
/// Kernels that do not know it refuse it.
const IPV6_FLAG: u64 = 1 << 7;

/// Offsets within an IPv4 header.
mod v4 {
    pub const CHECKSUM: u32 = 10;
    pub const SOURCE: u32 = 12;
    pub const DESTINATION: u32 = 16;
}
/// Offsets within an IPv6 header.
mod v6 {
    pub const SOURCE: u32 = 8;
    pub const DESTINATION: u32 = 24;
}

/// Writes one end of the packet, which was `old`, as `packet` has it now.
///
/// # Errors
/// Code of the drop reason; then the packet may be half changed and has to be dropped.
#[inline(always)]
pub fn end(ctx: &TcContext, packet: &Packet, end: End, old: &TransportAddress) -> Result<(), u8> {
    match write_end(ctx.skb.skb, packet, end, old) {
        0 => Ok(()),
        reason => Err(reason as u8),
    }
}

/// A function of its own for the verifier, as `packet::read` is. Code of the drop reason, or 0.
#[inline(never)]
fn write_end(skb: *mut __sk_buff, packet: &Packet, end: End, old: &TransportAddress) -> u32 {
    match change_end(&TcContext::new(skb), packet, end, old) {
        Ok(()) => 0,
        Err(reason) => u32::from(reason),
    }
}

#[inline(always)]
fn change_end(
    ctx: &TcContext,
    packet: &Packet,
    end: End,
    old: &TransportAddress,
) -> Result<(), u8> {
    let new = packet.end(end);
    if packet.piece != LATER && new.port.raw != old.port.raw {
        let at = packet.transport + port_offset(packet.protocol, end)?;
        if let Some((checksum, flags)) = checksum(packet) {
            change_l4(ctx, checksum, old.port.raw.into(), new.port.raw.into(), flags | 2)?;
        }
        store(ctx, at, &new.port.raw)?;
    }
    change_address(ctx, packet, end, &old.address, &new.address)
}

#[inline(always)]
fn change_address(
    ctx: &TcContext,
    packet: &Packet,
    end: End,
    old: &Address,
    new: &Address,
) -> Result<(), u8> {
    let l4 = if packet.piece == LATER { None } else { checksum(packet) };
    if packet.is_v4 == 1 {
        let (from, to) = (u64::from(old.words[3]), u64::from(new.words[3]));
        if let (Some((at, flags)), true) = (l4, packet.protocol != protocol::ICMP) {
            change_l4(ctx, at, from, to, flags | u64::from(BPF_F_PSEUDO_HDR) | 4)?;
        }
        change_l3(ctx, ETHERNET + v4::CHECKSUM, from, to)?;
        let at = if end == End::Source { v4::SOURCE } else { v4::DESTINATION };
        store(ctx, ETHERNET + at, &new.words[3])
    } else {
        if let Some((at, flags)) = l4 {
            change_l4_v6(ctx, at, difference(old, new), flags | u64::from(BPF_F_PSEUDO_HDR))?;
        }
        let at = if end == End::Source { v6::SOURCE } else { v6::DESTINATION };
        store(ctx, ETHERNET + at, new)
    }
}

/// Gives one end of the packet that an ICMP error quotes another address and port, and makes the
/// error's checksum fit. The quoted transport checksum is left: nobody can verify it, and it may not
/// be there.
///
/// # Errors
/// As [`end`].
#[inline(always)]
pub fn quoted(
    ctx: &TcContext,
    packet: &Packet,
    quoted: &Packet,
    end: End,
    new: &TransportAddress,
) -> Result<(), u8> {
    let old = quoted.end(end);
    let checksum = packet.transport + 2;
    let header = packet.transport + 8;
    if new.port.raw != old.port.raw {
        change_l4(ctx, checksum, old.port.raw.into(), new.port.raw.into(), 2)?;
        store(ctx, quoted.transport + port_offset(quoted.protocol, end)?, &new.port.raw)?;
    }
    if packet.is_v4 == 1 {
        // The quoted header's own checksum changes by what its address changes: both together add
        // up to nothing in the error's checksum.
        let (from, to) = (u64::from(old.address.words[3]), u64::from(new.address.words[3]));
        change_l3(ctx, header + v4::CHECKSUM, from, to)?;
        let at = if end == End::Source { v4::SOURCE } else { v4::DESTINATION };
        store(ctx, header + at, &new.address.words[3])
    } else {
        change_l4(ctx, checksum, 0, difference(&old.address, &new.address), 0)?;
        let at = if end == End::Source { v6::SOURCE } else { v6::DESTINATION };
        store(ctx, header + at, &new.address)
    }
}

/// Where the transport checksum is, and how it is changed; `None` where there is none that depends
/// on addresses or ports in a way that can be changed by a difference.
#[inline(always)]
fn checksum(packet: &Packet) -> Option<(u32, u64)> {
    let (offset, flags) = match packet.protocol {
        protocol::TCP => (16, 0),
        protocol::UDP => (6, u64::from(BPF_F_MARK_MANGLED_0)),
        protocol::ICMP | protocol::ICMPV6 => (2, 0),
        _ => return None,
    };
    Some((packet.transport + offset, flags))
}

/// Where a port (or an echo's identifier) is in the transport header. An SCTP checksum covers all of
/// the packet and no address (RFC 9260 §6.8), so its ports stay what they are.
#[inline(always)]
fn port_offset(protocol: u8, end: End) -> Result<u32, u8> {
    match protocol {
        protocol::TCP | protocol::UDP => Ok(if end == End::Source { 0 } else { 2 }),
        protocol::ICMP | protocol::ICMPV6 => Ok(4),
        _ => Err(DropReason::UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE.0),
    }
}

/// One's complement sum of what differs.
#[inline(always)]
fn difference(old: &Address, new: &Address) -> u64 {
    let (from, to) = (old.words.as_ptr().cast_mut(), new.words.as_ptr().cast_mut());
    // SAFETY: both are 16 octets.
    unsafe { bpf_csum_diff(from, 16, to, 16, 0) as u64 }
}

#[inline(always)]
fn change_l3(ctx: &TcContext, at: u32, from: u64, to: u64) -> Result<(), u8> {
    // SAFETY: a live context; offsets are checked by the helper.
    let result = unsafe { bpf_l3_csum_replace(ctx.as_ptr().cast(), at, from, to, 4) };
    if result == 0 { Ok(()) } else { Err(INVALID) }
}

#[inline(always)]
fn change_l4(ctx: &TcContext, at: u32, from: u64, to: u64, flags: u64) -> Result<(), u8> {
    // SAFETY: as in `change_l3`.
    let result = unsafe { bpf_l4_csum_replace(ctx.as_ptr().cast(), at, from, to, flags) };
    if result == 0 { Ok(()) } else { Err(INVALID) }
}

#[inline(always)]
fn change_l4_v6(ctx: &TcContext, at: u32, difference: u64, flags: u64) -> Result<(), u8> {
    change_l4(ctx, at, 0, difference, flags | IPV6_FLAG)
        .or_else(|_| change_l4(ctx, at, 0, difference, flags))
}

#[inline(always)]
fn store<T>(ctx: &TcContext, at: u32, value: &T) -> Result<(), u8> {
    let (from, length) = (core::ptr::from_ref(value).cast(), size_of::<T>() as u32);
    // SAFETY: `value` has that many octets; the offset is checked by the helper.
    let result = unsafe { bpf_skb_store_bytes(ctx.as_ptr().cast(), at, from, length, 0) };
    if result == 0 { Ok(()) } else { Err(INVALID) }
}
