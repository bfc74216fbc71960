//! What a packet says: addresses, ports, and where in it they stand.
//!
//! Headers are read by copies into the stack (`bpf_skb_load_bytes`): it works wherever they lie, and
//! the verifier has nothing to prove about packet pointers.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use daymark_abi::{
    Address, Be16, DropReason,
    flow::{FlowKey, protocol},
};

use crate::header::{IcmpHead, Ipv4Header, Ipv6Header, TcpHead, is_echo_reply, is_echo_request, is_error, tcp};

/// What the frame carries, as it lies there.
#[inline(always)]
pub fn ethertype(ctx: &TcContext) -> u32 {
    // SAFETY: the context lives as long as the program runs.
    unsafe { (*ctx.skb.skb).protocol }
}

/// Index of the device at which the program runs.
#[inline(always)]
pub fn ifindex(skb: *mut __sk_buff) -> u32 {
    // SAFETY: as above.
    unsafe { (*skb).ifindex }
}

/// Octets of the IP packet.
#[inline(always)]
pub fn length(ctx: &TcContext) -> u32 {
    ctx.len().wrapping_sub(ETHERNET)
}

/// Octets of an Ethernet header.
pub const ETHERNET: u32 = 14;

/// EtherType of IPv4, as `__sk_buff.protocol` has it.
pub const IPV4: u32 = 0x0800u16.to_be() as u32;
/// EtherType of IPv6.
pub const IPV6: u32 = 0x86ddu16.to_be() as u32;
/// EtherType of ARP.
pub const ARP: u32 = 0x0806u16.to_be() as u32;

/// Extension headers of IPv6 that are walked; RFC 8200 §4.1 names six different ones.
const EXTENSION_HEADERS: usize = 6;

/// Not a piece of a packet.
pub const WHOLE: u8 = 0;
/// The first piece, which has the transport header.
pub const FIRST: u8 = 1;
/// A piece without transport header.
pub const LATER: u8 = 2;

/// An address and a port.
#[derive(Clone, Copy, Default)]
pub struct TransportAddress {
    pub address: Address,
    pub port: Be16,
}

/// Which end of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Source,
    Destination,
}

/// A parsed packet.
#[derive(Clone, Copy, Default)]
pub struct Packet {
    pub source: Address,
    pub destination: Address,
    pub source_port: Be16,
    pub destination_port: Be16,
    /// Number in the IP header, behind extension headers.
    pub protocol: u8,
    pub hop_limit: u8,
    pub tcp_flags: u8,
    /// [`WHOLE`], [`FIRST`] or [`LATER`].
    pub piece: u8,
    /// Type of an ICMP message.
    pub icmp_type: u8,
    /// 1 for an ICMP message about another packet, whose head follows at `transport + 8`.
    pub is_error: u8,
    /// 1 for IPv4.
    pub is_v4: u8,
    /// Identification of a packet in pieces, as it lies there.
    pub identification: u32,
    /// Where the transport header begins.
    pub transport: u32,
    /// Octets of the IP packet.
    pub length: u32,
}

/// Any header of which a part is missing.
const TRUNCATED: u8 = DropReason::CT_TRUNCATED_OR_INVALID_HEADER.0;
const INVALID: u8 = DropReason::INVALID_PACKET_DROPPED.0;

impl Packet {
    /// Reads the IP packet behind the Ethernet header.
    ///
    /// # Errors
    /// Code of the drop reason.
    #[inline(always)]
    pub fn read(&mut self, ctx: &TcContext, ethertype: u32) -> Result<(), u8> {
        match read(ctx.skb.skb, self, ethertype) {
            0 => Ok(()),
            reason => Err(reason as u8),
        }
    }

    #[inline(always)]
    fn read_all(&mut self, ctx: &TcContext, ethertype: u32) -> Result<(), u8> {
        self.length = length(ctx);
        if ethertype == IPV4 {
            self.read_v4(ctx)?
        } else {
            self.read_v6(ctx)?
        }
        if self.piece == LATER {
            return Ok(());
        }
        self.read_transport(ctx)
    }

    #[inline(always)]
    fn read_v4(&mut self, ctx: &TcContext) -> Result<(), u8> {
        let header: Ipv4Header = ctx.load(ETHERNET as usize).map_err(|_| INVALID)?;
        let header_length = u32::from(header.version_and_length & 15) * 4;
        let total = u32::from(u16::from_be(header.total_length));
        // A packet that is larger than its length field can say has 0 there (BIG TCP).
        let lengths_agree = total == 0 || (total >= header_length && total <= self.length);
        if header.version_and_length >> 4 != 4 || header_length < 20 || !lengths_agree {
            return Err(INVALID);
        }
        self.is_v4 = 1;
        self.source = Address::v4(header.source);
        self.destination = Address::v4(header.destination);
        self.protocol = header.protocol;
        self.hop_limit = header.ttl;
        self.transport = ETHERNET + header_length;
        let fragment = u16::from_be(header.fragment);
        self.set_piece(fragment & 0x1fff, fragment & 0x2000, u32::from(header.identification));
        Ok(())
    }

    #[inline(always)]
    fn read_v6(&mut self, ctx: &TcContext) -> Result<(), u8> {
        let header: Ipv6Header = ctx.load(ETHERNET as usize).map_err(|_| INVALID)?;
        let payload = u32::from(u16::from_be(header.payload_length));
        let version = u32::from_be(header.version_class_label) >> 28;
        // A jumbogram has 0 there (RFC 2675).
        if version != 6 || payload + 40 > self.length {
            return Err(INVALID);
        }
        self.source = header.source;
        self.destination = header.destination;
        self.hop_limit = header.hop_limit;
        let mut next = header.next_header;
        let mut at = ETHERNET + 40;
        for _ in 0..EXTENSION_HEADERS {
            // Hop-by-hop options, routing, fragment, authentication, destination options.
            if !matches!(next, 0 | 43 | 44 | 51 | 60) {
                break;
            }
            let extension: [u32; 2] =
                ctx.load(at as usize).map_err(|_| DropReason::INVALID_IPV6_EXTENSION_HEADER.0)?;
            let [following, length, high, low] = extension[0].to_ne_bytes();
            let octets = match next {
                44 => {
                    let offset = u16::from_be_bytes([high, low]);
                    self.set_piece(offset >> 3, offset & 1, extension[1]);
                    8
                }
                51 => (u32::from(length) + 2) * 4,
                _ => (u32::from(length) + 1) * 8,
            };
            at += octets;
            next = following;
            if self.piece == LATER {
                break;
            }
        }
        if self.piece != LATER && matches!(next, 0 | 43 | 44 | 51 | 60) {
            return Err(DropReason::INVALID_IPV6_EXTENSION_HEADER.0);
        }
        self.protocol = next;
        self.transport = at;
        Ok(())
    }

    #[inline(always)]
    fn set_piece(&mut self, offset: u16, more: u16, identification: u32) {
        if offset != 0 {
            self.piece = LATER;
        } else if more != 0 {
            self.piece = FIRST;
        }
        self.identification = identification;
    }

    #[inline(always)]
    fn read_transport(&mut self, ctx: &TcContext) -> Result<(), u8> {
        match self.protocol {
            protocol::TCP => {
                let head: TcpHead = ctx.load(self.transport as usize).map_err(|_| TRUNCATED)?;
                if head.offset >> 4 < 5 {
                    return Err(TRUNCATED);
                }
                self.source_port = Be16 { raw: head.source };
                self.destination_port = Be16 { raw: head.destination };
                self.tcp_flags = head.flags;
            }
            protocol::UDP | protocol::SCTP => {
                let ports: [u16; 2] = ctx.load(self.transport as usize).map_err(|_| TRUNCATED)?;
                self.source_port = Be16 { raw: ports[0] };
                self.destination_port = Be16 { raw: ports[1] };
            }
            protocol::ICMP | protocol::ICMPV6 => {
                let head: IcmpHead = ctx.load(self.transport as usize).map_err(|_| TRUNCATED)?;
                self.set_echo(&head);
                self.is_error = u8::from(is_error(self.protocol, head.kind));
            }
            _ => {}
        }
        Ok(())
    }

    /// The identifier of an echo is the port of the end that asks; the one that answers has 0. So
    /// both ends may ask each other with the same identifier.
    #[inline(always)]
    fn set_echo(&mut self, head: &IcmpHead) {
        self.icmp_type = head.kind;
        if is_echo_request(self.protocol, head.kind) {
            self.source_port = Be16 { raw: head.identifier };
        } else if is_echo_reply(self.protocol, head.kind) {
            self.destination_port = Be16 { raw: head.identifier };
        }
    }

    /// Reads the packet that an ICMP error is about, as far as the error quotes it: its addresses
    /// and ports, and where its transport header begins.
    ///
    /// # Errors
    /// Code of the drop reason.
    #[inline(always)]
    pub fn read_quoted(&self, ctx: &TcContext, quoted: &mut Packet) -> Result<(), u8> {
        match read_quoted(ctx.skb.skb, self, quoted) {
            0 => Ok(()),
            reason => Err(reason as u8),
        }
    }

    #[inline(always)]
    fn read_quoted_head(&self, ctx: &TcContext, quoted: &mut Packet) -> Result<(), u8> {
        let at = self.transport + 8;
        if self.is_v4 == 1 {
            let header: Ipv4Header = ctx.load(at as usize).map_err(|_| TRUNCATED)?;
            let header_length = u32::from(header.version_and_length & 15) * 4;
            if header_length < 20 {
                return Err(TRUNCATED);
            }
            quoted.is_v4 = 1;
            quoted.source = Address::v4(header.source);
            quoted.destination = Address::v4(header.destination);
            quoted.protocol = header.protocol;
            quoted.transport = at + header_length;
        } else {
            let header: Ipv6Header = ctx.load(at as usize).map_err(|_| TRUNCATED)?;
            quoted.source = header.source;
            quoted.destination = header.destination;
            quoted.protocol = header.next_header;
            quoted.transport = at + 40;
        }
        match quoted.protocol {
            protocol::TCP | protocol::UDP | protocol::SCTP => {
                let ports: [u16; 2] = ctx.load(quoted.transport as usize).map_err(|_| TRUNCATED)?;
                quoted.source_port = Be16 { raw: ports[0] };
                quoted.destination_port = Be16 { raw: ports[1] };
            }
            protocol::ICMP | protocol::ICMPV6 => {
                let head: IcmpHead = ctx.load(quoted.transport as usize).map_err(|_| TRUNCATED)?;
                quoted.set_echo(&head);
            }
            _ => {}
        }
        Ok(())
    }

    /// One end of it.
    #[inline(always)]
    pub fn end(&self, end: End) -> TransportAddress {
        match end {
            End::Source => TransportAddress { address: self.source, port: self.source_port },
            End::Destination => {
                TransportAddress { address: self.destination, port: self.destination_port }
            }
        }
    }

    /// Changes what is known of it, not the packet itself (`rewrite::end` does). Gives what was
    /// there.
    #[inline(always)]
    pub fn replace_end(&mut self, end: End, new: &TransportAddress) -> TransportAddress {
        let old = self.end(end);
        if end == End::Source {
            self.source = new.address;
            self.source_port = new.port;
        } else {
            self.destination = new.address;
            self.destination_port = new.port;
        }
        old
    }

    /// The connection that it belongs to.
    #[inline(always)]
    pub fn key(&self) -> FlowKey {
        let one = (&self.source, self.source_port);
        let other = (&self.destination, self.destination_port);
        let (first, second) = if self.source_is_first() { (one, other) } else { (other, one) };
        FlowKey {
            first: *first.0,
            second: *second.0,
            first_port: first.1,
            second_port: second.1,
            protocol: self.protocol,
            pad: [0; 3],
        }
    }

    /// Whether its source is the first end of the key. Any total order will do.
    #[inline(always)]
    pub fn source_is_first(&self) -> bool {
        let (one, other) = (&self.source.words, &self.destination.words);
        if one[3] != other[3] {
            return one[3] < other[3];
        }
        if one[2] != other[2] {
            return one[2] < other[2];
        }
        if one[1] != other[1] {
            return one[1] < other[1];
        }
        if one[0] != other[0] {
            return one[0] < other[0];
        }
        self.source_port.raw <= self.destination_port.raw
    }

    /// Whether it can begin a TCP connection.
    #[inline(always)]
    pub fn is_syn(&self) -> bool {
        self.protocol == protocol::TCP && self.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
    }
}

// Functions of their own for the verifier: whatever way one takes, its caller sees only the result,
// so ways do not multiply.

/// Code of the drop reason, or 0.
#[inline(never)]
fn read(skb: *mut __sk_buff, packet: &mut Packet, ethertype: u32) -> u32 {
    match packet.read_all(&TcContext::new(skb), ethertype) {
        Ok(()) => 0,
        Err(reason) => u32::from(reason),
    }
}

/// Code of the drop reason, or 0.
#[inline(never)]
fn read_quoted(skb: *mut __sk_buff, packet: &Packet, quoted: &mut Packet) -> u32 {
    match packet.read_quoted_head(&TcContext::new(skb), quoted) {
        Ok(()) => 0,
        Err(reason) => u32::from(reason),
    }
}
