//! Frames octet by octet: made, and read back with every checksum verified.

use std::net::IpAddr;

/// A frame to be made. Lengths and checksums are right unless the fields say otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) source_mac: [u8; 6],
    pub(crate) destination_mac: [u8; 6],
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) hops: u8,
    pub(crate) body: Body,
}

/// What an IP packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    Tcp { source: u16, destination: u16, flags: u8 },
    Udp { source: u16, destination: u16 },
    Sctp { source: u16, destination: u16 },
    Echo { identifier: u16, reply: bool },
    Other,
}

pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;
const DATA: &[u8] = b"daymark!";

impl Body {
    pub(crate) fn protocol(self, v4: bool) -> u8 {
        match self {
            Body::Tcp { .. } => 6,
            Body::Udp { .. } => 17,
            Body::Sctp { .. } => 132,
            Body::Echo { .. } if v4 => 1,
            Body::Echo { .. } => 58,
            // ESP.
            Body::Other => 50,
        }
    }

    /// The octets, and where in them the checksum is (with whether addresses are part of it).
    fn octets(self, v4: bool) -> (Vec<u8>, Option<(usize, bool)>) {
        let mut octets = Vec::new();
        let checksum = match self {
            Body::Tcp { source, destination, flags } => {
                octets.extend(source.to_be_bytes());
                octets.extend(destination.to_be_bytes());
                octets.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
                Some((16, true))
            }
            Body::Udp { source, destination } => {
                octets.extend(source.to_be_bytes());
                octets.extend(destination.to_be_bytes());
                octets.extend((8 + DATA.len() as u16).to_be_bytes());
                octets.extend([0, 0]);
                Some((6, true))
            }
            Body::Sctp { source, destination } => {
                octets.extend(source.to_be_bytes());
                octets.extend(destination.to_be_bytes());
                octets.extend([0, 0, 0, 1, 1, 2, 3, 4]);
                None
            }
            Body::Echo { identifier, reply } => {
                octets.push(match (v4, reply) {
                    (true, false) => 8,
                    (true, true) => 0,
                    (false, false) => 128,
                    (false, true) => 129,
                });
                octets.extend([0, 0, 0]);
                octets.extend(identifier.to_be_bytes());
                octets.extend([0, 1]);
                Some((2, !v4))
            }
            Body::Other => {
                octets.extend([0, 0, 1, 0, 0, 0, 0, 7]);
                None
            }
        };
        octets.extend(DATA);
        (octets, checksum)
    }
}

impl Frame {
    pub(crate) fn octets(&self) -> Vec<u8> {
        let v4 = self.source.is_ipv4();
        let (body, checksum) = self.body.octets(v4);
        self.around(self.body.protocol(v4), body, checksum)
    }

    /// The frame with an ICMP error (port unreachable) in place of its body, about the packet whose
    /// octets are quoted.
    pub(crate) fn error_octets(&self, quoted: &[u8]) -> Vec<u8> {
        let v4 = self.source.is_ipv4();
        let (protocol, kind, code) = if v4 { (1, 3, 3) } else { (58, 1, 4) };
        let mut body = vec![kind, code, 0, 0, 0, 0, 0, 0];
        body.extend(quoted);
        self.around(protocol, body, Some((2, !v4)))
    }

    /// Headers around a body; its checksum is at the given place, with whether addresses are part of
    /// it.
    fn around(&self, protocol: u8, mut body: Vec<u8>, checksum: Option<(usize, bool)>) -> Vec<u8> {
        let v4 = self.source.is_ipv4();
        if let Some((at, with_addresses)) = checksum {
            let start = if with_addresses { self.pseudo_header(protocol, body.len()) } else { 0 };
            let sum = fold(start + sum(&body));
            body[at..at + 2].copy_from_slice(&(!sum).to_be_bytes());
        }
        let mut frame = Vec::new();
        frame.extend(self.destination_mac);
        frame.extend(self.source_mac);
        if v4 {
            frame.extend([0x08, 0x00]);
            let mut header = vec![0x45, 0];
            header.extend((20 + body.len() as u16).to_be_bytes());
            header.extend([0x12, 0x34, 0x40, 0, self.hops, protocol, 0, 0]);
            header.extend(octets(self.source));
            header.extend(octets(self.destination));
            let sum = fold(sum(&header));
            header[10..12].copy_from_slice(&(!sum).to_be_bytes());
            frame.extend(header);
        } else {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((body.len() as u16).to_be_bytes());
            frame.extend([protocol, self.hops]);
            frame.extend(octets(self.source));
            frame.extend(octets(self.destination));
        }
        frame.extend(body);
        frame
    }

    fn pseudo_header(&self, protocol: u8, length: usize) -> u32 {
        sum(&octets(self.source))
            + sum(&octets(self.destination))
            + u32::from(protocol)
            + length as u32
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// RFC 1071, not folded.
fn sum(octets: &[u8]) -> u32 {
    octets
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
