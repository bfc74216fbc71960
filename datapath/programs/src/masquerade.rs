//! What pods send out of the cluster leaves from the node's address, under a port that was free.
//!
//! A masqueraded connection is entered twice: as the pod sees it, with the node's address and the
//! port it got, and as the wire sees it, with the pod's. The second one's key is what holds the port.

use aya_ebpf::{helpers::generated::bpf_loop, maps::lpm_trie::Key, programs::TcContext};
use daymark_abi::{
    Address, Be16, DropReason, counter,
    flow::{
        FIRST_PORT, Flow, FlowKey, KEEPS_SOURCE, MASQUERADED, PORT_TRIES, PORTS, TO_HOST_PORT,
        WIRE_SIDE, protocol,
    },
    settings::{self, Settings},
};

use crate::{
    conntrack, fragment,
    header::is_echo_request,
    notify::cause,
    pace,
    packet::{End, Packet, TransportAddress},
    peer, rewrite,
    tables::{ENDPOINTS, RANGES, SETTINGS},
};

const NO_PORT: u8 = DropReason::NO_MAPPING_FOR_NAT_MASQUERADE.0;

/// Translates the source of what leaves, where it has to be, and gives it its time.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn outbound(ctx: &TcContext, packet: &mut Packet) -> Result<(), u8> {
    // SAFETY: pods' entries are only read; one that is replaced meanwhile is the same pod's.
    let Some(endpoint) = (unsafe { ENDPOINTS.get(&packet.source) }) else { return Ok(()) };
    let Some(settings) = SETTINGS.get(0) else { return Ok(()) };
    pace::apply(ctx, settings, endpoint)?;
    if !fragment::complete(packet, counter::TO_WIRE) {
        let leaves_as_it_is = keeps_source(settings, &packet.destination);
        return if leaves_as_it_is {
            Ok(())
        } else {
            Err(DropReason::FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND.0)
        };
    }
    if packet.is_error == 1 {
        return error(ctx, packet, settings);
    }
    let key = packet.key();
    let seen = conntrack::peek(&key, packet);
    if let Some(seen) = &seen {
        if seen.is_reply {
            return host_port_reply(ctx, packet, seen);
        }
        if seen.flow.flags & KEEPS_SOURCE != 0 {
            return Ok(());
        }
        if seen.flow.flags & MASQUERADED != 0 && again(ctx, packet, seen)? {
            return Ok(());
        }
    }
    if keeps_source(settings, &packet.destination) {
        peer::track_through_stack(packet, seen.as_ref(), KEEPS_SOURCE);
        return Ok(());
    }
    let node = if packet.is_v4 == 1 { settings.node_ipv4 } else { settings.node_ipv6 };
    if node.is_none() {
        return Err(NO_PORT);
    }
    let old = packet.end(End::Source);
    let port = take_port(packet, &node, settings.tunnel_port)?;
    // `take_port` has left the packet as the wire sees it.
    let new = TransportAddress { address: node, port };
    packet.replace_end(End::Source, &old);
    conntrack::translate(&key, packet, MASQUERADED, &new)?;
    packet.replace_end(End::Source, &new);
    rewrite::end(ctx, packet, End::Source, &old)
}

/// A packet of a connection that has its port. False, with nothing changed, if it lost the port.
#[inline(always)]
fn again(ctx: &TcContext, packet: &mut Packet, seen: &conntrack::Seen) -> Result<bool, u8> {
    let new = TransportAddress { address: seen.flow.nat_address, port: seen.flow.nat_port };
    let old = packet.replace_end(End::Source, &new);
    let key = packet.key();
    if conntrack::follow(&key, packet).is_none() {
        // The other half lost its place; it is put back unless another connection has it now.
        let flow = conntrack::first(packet, WIRE_SIDE, &old);
        if !conntrack::claim(&key, &flow) {
            packet.replace_end(End::Source, &old);
            return Ok(false);
        }
    }
    rewrite::end(ctx, packet, End::Source, &old)?;
    Ok(true)
}

/// What a pod answers to a connection through a port of the node comes from that port.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn host_port_reply(
    ctx: &TcContext,
    packet: &mut Packet,
    seen: &conntrack::Seen,
) -> Result<(), u8> {
    if !seen.is_reply || seen.flow.flags & TO_HOST_PORT == 0 {
        return Ok(());
    }
    let new = TransportAddress { address: seen.flow.nat_address, port: seen.flow.nat_port };
    let old = packet.replace_end(End::Source, &new);
    rewrite::end(ctx, packet, End::Source, &old)
}

/// Finds a free port for a connection and enters it as the wire sees it, which `packet` is changed
/// to. Where ports can't be changed (SCTP) only its own will do. The tunnels' port is never taken: what
/// is sent to it goes to their device.
#[inline(always)]
fn take_port(packet: &mut Packet, node: &Address, tunnel_port: Be16) -> Result<Be16, u8> {
    let translatable = matches!(packet.protocol, protocol::TCP | protocol::UDP | protocol::SCTP)
        || (matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6)
            && is_echo_request(packet.protocol, packet.icmp_type));
    if !translatable {
        return Err(DropReason::UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE.0);
    }
    let pod = packet.end(End::Source);
    let start = spread(packet);
    packet.replace_end(End::Source, &TransportAddress { address: *node, port: pod.port });
    let mut search = Search {
        key: packet.key(),
        flow: conntrack::first(packet, WIRE_SIDE, &pod),
        start,
        source_is_first: u32::from(packet.source_is_first()),
        port: pod.port,
        found: 0,
        tunnel_port,
        pad: 0,
    };
    if packet.protocol == protocol::SCTP {
        search.found = u16::from(conntrack::claim(&search.key, &search.flow));
    } else {
        // A loop of its own for the verifier, which would else walk every turn of it for every way
        // that leads here.
        // SAFETY: the callback has the type that the helper asks for, and the search outlives it.
        unsafe {
            bpf_loop(u32::from(PORT_TRIES), try_port as *mut _, (&raw mut search).cast(), 0);
        }
    }
    if search.found == 0 {
        cause(counter::PORT_EXHAUSTED);
        return Err(NO_PORT);
    }
    cause(counter::PORT_TAKEN);
    Ok(search.port)
}

/// A search for a port.
#[repr(C)]
struct Search {
    key: FlowKey,
    flow: Flow,
    start: u32,
    source_is_first: u32,
    port: Be16,
    found: u16,
    tunnel_port: Be16,
    pad: u16,
}

/// One try; 1 ends the search.
#[inline(never)]
extern "C" fn try_port(attempt: u32, search: *mut Search) -> i64 {
    // SAFETY: the helper hands on what `take_port` gave it.
    let search = unsafe { &mut *search };
    // An odd step that shares no factor with the number of ports reaches all of them.
    let place = search.start.wrapping_add(attempt.wrapping_mul(2531)) % u32::from(PORTS);
    let port = Be16::new(FIRST_PORT.wrapping_add(place as u16));
    if port.raw == search.tunnel_port.raw {
        return 0;
    }
    if search.source_is_first != 0 {
        search.key.first_port = port;
    } else {
        search.key.second_port = port;
    }
    if !conntrack::claim(&search.key, &search.flow) {
        return 0;
    }
    search.port = port;
    search.found = 1;
    1
}

/// Where the search for a port begins: another place for every connection, the same for each try.
#[inline(always)]
fn spread(packet: &Packet) -> u32 {
    let ports = u32::from(packet.source_port.raw) << 16 | u32::from(packet.destination_port.raw);
    let mut hash = packet.source.words[3] ^ packet.source.words[2].rotate_left(11);
    hash = (hash ^ ports).wrapping_mul(0x9e37_79b1);
    hash = (hash ^ (hash >> 15) ^ packet.destination.words[3]).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13) ^ packet.destination.words[1]).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// A pod's ICMP error that leaves the node: about what reached it through a translation as the other
/// side has sent it, about anything else as it is, if it may leave so.
#[inline(always)]
fn error(ctx: &TcContext, packet: &mut Packet, settings: &Settings) -> Result<(), u8> {
    let translated = translate_error(ctx, packet)?;
    if translated || keeps_source(settings, &packet.destination) { Ok(()) } else { Err(NO_PORT) }
}

/// A pod's ICMP error about what reached it through a translation becomes the node's, about the
/// packet that the other side has sent. False, with nothing changed, if it is about anything else.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn translate_error(ctx: &TcContext, packet: &mut Packet) -> Result<bool, u8> {
    let mut quoted = Packet::default();
    if packet.read_quoted(ctx, &mut quoted).is_err() {
        return Ok(false);
    }
    let Some(seen) = conntrack::peek(&quoted.key(), &quoted) else { return Ok(false) };
    // What was sent to a port of the node begins a connection; what a masqueraded one gets answers.
    let by = if seen.is_reply { MASQUERADED } else { TO_HOST_PORT };
    if seen.flow.flags & by == 0 {
        return Ok(false);
    }
    let new = TransportAddress { address: seen.flow.nat_address, port: seen.flow.nat_port };
    rewrite::quoted(ctx, packet, &quoted, End::Destination, &new)?;
    let source = TransportAddress { address: new.address, port: packet.source_port };
    let old = packet.replace_end(End::Source, &source);
    rewrite::end(ctx, packet, End::Source, &old)?;
    Ok(true)
}

/// Brings what comes back from the wire to the pod. False if it is none of ours.
///
/// # Errors
/// Code of the drop reason.
#[inline(always)]
pub fn inbound(ctx: &TcContext, packet: &mut Packet) -> Result<bool, u8> {
    let key = packet.key();
    let Some(seen) = conntrack::follow(&key, packet) else { return Ok(false) };
    if seen.flow.flags & WIRE_SIDE == 0 || !seen.is_reply {
        return Ok(false);
    }
    let pod = TransportAddress { address: seen.flow.nat_address, port: seen.flow.nat_port };
    let old = packet.replace_end(End::Destination, &pod);
    rewrite::end(ctx, packet, End::Destination, &old)?;
    Ok(true)
}

/// Whether what goes there leaves as it is.
#[inline(always)]
fn keeps_source(settings: &Settings, destination: &Address) -> bool {
    if settings.flags & settings::MASQUERADE == 0 {
        return true;
    }
    RANGES.get(Key::new(128, *destination)).is_some_and(|flags| flags & settings::KEEPS_SOURCE != 0)
}
