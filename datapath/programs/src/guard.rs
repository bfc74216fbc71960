//! A pod speaks for itself only: its MAC, its addresses, in ARP and neighbour discovery too.

use aya_ebpf::programs::TcContext;
use daymark_abi::{Address, DropReason, endpoint::Device, flow::protocol};

use crate::packet::Packet;

const WRONG_MAC: u8 = DropReason::INVALID_SOURCE_MAC.0;
const WRONG_ADDRESS: u8 = DropReason::INVALID_SOURCE_IP.0;
const INVALID: u8 = DropReason::INVALID_PACKET_DROPPED.0;

/// RFC 826, for Ethernet and IPv4.
#[repr(C)]
struct ArpBody {
    hardware: u16,
    protocol: u16,
    lengths: [u8; 2],
    operation: u16,
    sender_mac: [u8; 6],
    sender: [u16; 2],
}

/// The source MAC of the Ethernet header is the pod's.
#[inline(always)]
pub fn mac(ctx: &TcContext, device: &Device) -> Result<(), u8> {
    let source: [u8; 6] = ctx.load(6).map_err(|_| INVALID)?;
    if same_mac(&source, &device.pod_mac) { Ok(()) } else { Err(WRONG_MAC) }
}

/// An ARP packet names the pod as its sender, or nobody (a probe, RFC 5227 §1.1).
#[inline(always)]
pub fn arp(ctx: &TcContext, device: &Device) -> Result<(), u8> {
    let body: ArpBody = ctx.load(crate::packet::ETHERNET as usize).map_err(|_| INVALID)?;
    if !same_mac(&body.sender_mac, &device.pod_mac) {
        return Err(WRONG_MAC);
    }
    let own = device.ipv4.words[3].to_ne_bytes();
    let own = [u16::from_ne_bytes([own[0], own[1]]), u16::from_ne_bytes([own[2], own[3]])];
    let probe = body.sender[0] | body.sender[1] == 0;
    let is_own = body.sender[0] == own[0] && body.sender[1] == own[1];
    if probe || (is_own && !device.ipv4.is_none()) { Ok(()) } else { Err(WRONG_ADDRESS) }
}

/// What [`source`] found.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum Scope {
    /// From the pod's address to anywhere.
    Routed,
    /// Between the pod and its link: neighbour discovery and the like.
    Link,
}

/// The source address is the pod's; what stays on the link may come from a link-local address or,
/// before there is one, from none.
#[inline(always)]
pub fn source(ctx: &TcContext, device: &Device, packet: &Packet) -> Result<Scope, u8> {
    let on_link = stays_on_link(packet);
    if packet.is_v4 == 1 {
        if !packet.source.equals(&device.ipv4) {
            return Err(WRONG_ADDRESS);
        }
        return Ok(if on_link { Scope::Link } else { Scope::Routed });
    }
    if packet.protocol == protocol::ICMPV6 && packet.icmp_type == 136 {
        advertisement(ctx, device, packet)?;
    }
    if packet.source.equals(&device.ipv6) && !device.ipv6.is_none() {
        return Ok(if on_link { Scope::Link } else { Scope::Routed });
    }
    // MLD reports go to a group that is on the link, whatever its own scope (RFC 3810 §5.2.14).
    let from_link = is_link_local(&packet.source)
        || (packet.source.is_none() && matches!(packet.protocol, 0 | protocol::ICMPV6));
    if from_link && on_link { Ok(Scope::Link) } else { Err(WRONG_ADDRESS) }
}

/// A neighbour advertisement (RFC 4861 §4.4) is about the pod's own address.
#[inline(always)]
fn advertisement(ctx: &TcContext, device: &Device, packet: &Packet) -> Result<(), u8> {
    let target: Address = ctx.load(packet.transport as usize + 8).map_err(|_| INVALID)?;
    let own = target.equals(&device.ipv6) || is_link_local(&target);
    if own { Ok(()) } else { Err(WRONG_ADDRESS) }
}

/// Whether the packet goes no further than its link: to a group, to all, or to a link-local address.
#[inline(always)]
pub fn stays_on_link(packet: &Packet) -> bool {
    if packet.is_v4 == 1 {
        return packet.destination.words[3].to_ne_bytes()[0] >= 224;
    }
    is_link_local(&packet.destination) || packet.destination.words[0].to_ne_bytes()[0] == 0xff
}

#[inline(always)]
fn is_link_local(address: &Address) -> bool {
    let [first, second, ..] = address.words[0].to_ne_bytes();
    first == 0xfe && second & 0xc0 == 0x80
}

#[inline(always)]
fn same_mac(one: &[u8; 6], other: &[u8; 6]) -> bool {
    let mut difference = 0;
    for at in 0..6 {
        difference |= one[at] ^ other[at];
    }
    difference == 0
}
