//! One packet there and one back, of each protocol, and the source that the target saw.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use daymark_tests::lab::Lab;
use serde::Deserialize;
use socket2::{Domain, Protocol, Socket, Type};

/// How long an answer may take: long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);
const SCTP: i32 = 132;
/// Counts probes: each is found by a mark of its own, for many are under way at once.
static PROBES: AtomicU32 = AtomicU32::new(1);

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Probe {
    Tcp,
    Udp,
    Icmp,
    Sctp,
}

impl Probe {
    pub(crate) const ALL: [Probe; 4] = [Probe::Tcp, Probe::Udp, Probe::Icmp, Probe::Sctp];
}

/// From where to where, with what.
struct Trip<'a> {
    lab: &'a Lab,
    source: &'a str,
    target: &'a str,
    /// The target's.
    address: IpAddr,
    mark: [u8; 4],
}

/// Sends from one place of the lab to another's address and back; gives the source that was seen there.
pub(crate) fn seen(
    lab: &Lab,
    probe: Probe,
    source: &str,
    target: &str,
    address: IpAddr,
) -> anyhow::Result<IpAddr> {
    let mark = PROBES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let trip = Trip { lab, source, target, address, mark };
    let seen = match probe {
        Probe::Tcp => tcp(&trip),
        Probe::Udp => udp(&trip),
        Probe::Icmp => icmp(&trip),
        Probe::Sctp => sctp(&trip),
    };
    Ok(seen?.to_canonical())
}

fn tcp(trip: &Trip) -> anyhow::Result<IpAddr> {
    let Trip { lab, source, target, address, mark } = *trip;
    let listener = lab.inside(target, || Ok(TcpListener::bind((address, 0))?))?;
    let to = listener.local_addr()?;
    let there = std::thread::spawn(move || -> anyhow::Result<IpAddr> {
        let (mut stream, peer) = listener.accept()?;
        let mut octets = [0; 4];
        stream.read_exact(&mut octets)?;
        stream.write_all(&octets)?;
        Ok(peer.ip())
    });
    lab.inside(source, || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).context("connecting")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&mark)?;
        let mut octets = [0; 4];
        stream.read_exact(&mut octets).context("reading")?;
        Ok(())
    })?;
    there.join().map_err(|_| anyhow::anyhow!("the target panicked"))?
}

fn udp(trip: &Trip) -> anyhow::Result<IpAddr> {
    let Trip { lab, source, target, address, mark } = *trip;
    let socket = lab.inside(target, || Ok(UdpSocket::bind((address, 0))?))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let to = socket.local_addr()?;
    let asker = lab.inside(source, || {
        let own = UdpSocket::bind(unspecified(address))?;
        own.connect(to)?;
        own.send(&mark)?;
        Ok(own)
    })?;
    asker.set_read_timeout(Some(PATIENCE))?;
    let mut octets = [0; 64];
    let (length, peer) = socket.recv_from(&mut octets).context("at the target")?;
    socket.send_to(&octets[..length], peer)?;
    ensure!(asker.recv(&mut octets).context("back at the source")? == mark.len());
    Ok(peer.ip())
}

/// An echo, which the target's kernel answers; a raw socket there sees who asks.
fn icmp(trip: &Trip) -> anyhow::Result<IpAddr> {
    let Trip { lab, source, target, address, mark } = *trip;
    let protocol = if address.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    let (request, reply) = if address.is_ipv4() { (8, 0) } else { (128, 129) };
    let there = lab.inside(target, || raw(address, protocol))?;
    let here = lab.inside(source, || raw(address, protocol))?;
    // As every ping has, an identifier of its own.
    let mut message = [request, 0, 0, 0, mark[2], mark[3], 0, 1, 0, 0, 0, 0];
    message[8..].copy_from_slice(&mark);
    if address.is_ipv4() {
        // The kernel fills it in for ICMPv6 only.
        let sum = internet_checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
    }
    here.send_to(&message, SocketAddr::new(address, 0))?;
    let wanted = |kind: u8| {
        move |octets: &[u8]| octets.first() == Some(&kind) && octets.get(8..12) == Some(&mark[..])
    };
    let (peer, _) = received(&there, wanted(request)).context("at the target")?;
    let (answerer, _) = received(&here, wanted(reply)).context("back at the source")?;
    ensure!(answerer == address, "{answerer} answers, not who was asked");
    Ok(peer)
}

/// An INIT and an INIT-ACK (RFC 9260 §3.3.2 and §3.3.3), built by hand: not every kernel has SCTP.
fn sctp(trip: &Trip) -> anyhow::Result<IpAddr> {
    let Trip { lab, source, target, address, mark } = *trip;
    // As real ones do, each association has a port of its own: an address is translated, a port that
    // the checksum covers is not.
    let ports = [20_000 + u16::from_be_bytes([mark[2], mark[3]]) % 10_000, 9_999];
    let open = || raw(address, Protocol::from(SCTP));
    let (there, here) = (lab.inside(target, open)?, lab.inside(source, open)?);
    let init = sctp_packet(ports, 0, 1, mark);
    here.send_to(&init, SocketAddr::new(address, 0))?;
    let is = |kind: u8| {
        move |octets: &[u8]| octets.get(12) == Some(&kind) && octets.get(16..20) == Some(&mark[..])
    };
    let (peer, octets) = received(&there, is(1)).context("at the target")?;
    ensure!(octets[2..4] == ports[1].to_be_bytes(), "the port arrived as it was sent");
    let port = u16::from_be_bytes([octets[0], octets[1]]);
    let ack = sctp_packet([ports[1], port], u32::from_be_bytes(mark), 2, mark);
    there.send_to(&ack, SocketAddr::new(peer, 0))?;
    let (answerer, octets) = received(&here, is(2)).context("back at the source")?;
    ensure!(answerer == address, "{answerer} answers, not who was asked");
    ensure!(octets[2..4] == ports[0].to_be_bytes(), "the port came back as it was");
    Ok(peer)
}

fn sctp_packet([source, destination]: [u16; 2], tag: u32, kind: u8, mark: [u8; 4]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(32);
    packet.extend(source.to_be_bytes());
    packet.extend(destination.to_be_bytes());
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    // One chunk of 20 octets: initiate tag, window, streams out and in, first TSN.
    packet.extend([kind, 0, 0, 20]);
    packet.extend(mark);
    packet.extend(65_536_u32.to_be_bytes());
    packet.extend([0, 10, 0, 10]);
    packet.extend(1_u32.to_be_bytes());
    let sum = crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&sum);
    packet
}

/// RFC 9260 appendix A.
fn crc32c(octets: &[u8]) -> u32 {
    !octets.iter().fold(!0, |sum, octet| {
        (0..8).fold(sum ^ u32::from(*octet), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 }
        })
    })
}

/// RFC 1071.
fn internet_checksum(octets: &[u8]) -> u16 {
    let words = octets
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

fn unspecified(address: IpAddr) -> SocketAddr {
    match address {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0_u16; 8], 0).into(),
    }
}

/// A raw socket. The library's type for UDP sends to and receives from addresses just as well.
fn raw(address: IpAddr, protocol: Protocol) -> anyhow::Result<UdpSocket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).context("a raw socket")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(UdpSocket::from(OwnedFd::from(socket)))
}

/// The first message that is `wanted`, without an IP header, and where it comes from.
fn received(
    socket: &UdpSocket,
    wanted: impl Fn(&[u8]) -> bool,
) -> anyhow::Result<(IpAddr, Vec<u8>)> {
    let mut octets = vec![0; 2048];
    loop {
        let (length, from) = match socket.recv_from(&mut octets) {
            Ok(found) => found,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("nothing came within {PATIENCE:?}")
            }
            Err(error) => return Err(error.into()),
        };
        let (from, octets) = (from.ip(), &octets[..length]);
        // A raw socket of IPv4 has the header in front.
        let header = if from.is_ipv4() { usize::from(octets[0] & 15) * 4 } else { 0 };
        if octets.len() > header && wanted(&octets[header..]) {
            return Ok((from, octets[header..].to_vec()));
        }
    }
}
