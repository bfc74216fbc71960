//! Packets of a network namespace as a pcap file (draft-ietf-opsawg-pcap), for tcpdump and Wireshark.

use std::{
    io::{self, Read, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace;

/// Every protocol (`ETH_P_ALL`), in network order.
const ALL: i32 = 0x0003_u16.to_be() as i32;
/// The largest frame: with offloads a packet may have 64 KiB and its headers.
const SNAP_LENGTH: usize = 65_536 + 128;
/// Frames of Ethernet (`LINKTYPE_ETHERNET`).
const ETHERNET: u32 = 1;

/// Writes what passes the devices of the namespace mounted on `file`, as it comes, until `count`
/// packets were written or nobody reads `output` any more.
///
/// # Errors
/// If there is no such socket, or `output` fails.
pub fn packets(file: &Path, count: Option<u64>, mut output: impl Write) -> anyhow::Result<()> {
    let mut socket = namespace::inside(file, || {
        Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(ALL)))
            .context("opening a packet socket (it takes root)")
    })?;
    let mut frame = vec![0; SNAP_LENGTH];
    let mut written = 0;
    let mut write = || -> io::Result<()> {
        output.write_all(&file_header())?;
        output.flush()?;
        while count.is_none_or(|count| written < count) {
            let length = socket.read(&mut frame)?;
            output.write_all(&record_header(SystemTime::now(), length as u32))?;
            output.write_all(&frame[..length])?;
            output.flush()?;
            written += 1;
        }
        Ok(())
    };
    match write() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("writing packets"),
    }
}

/// The 24 octets that a file begins with (§4): microseconds, Ethernet.
fn file_header() -> [u8; 24] {
    let mut header = [0; 24];
    header[..4].copy_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
    header[4..6].copy_from_slice(&2_u16.to_le_bytes());
    header[6..8].copy_from_slice(&4_u16.to_le_bytes());
    header[16..20].copy_from_slice(&(SNAP_LENGTH as u32).to_le_bytes());
    header[20..24].copy_from_slice(&ETHERNET.to_le_bytes());
    header
}

/// The 16 octets before each packet (§5).
fn record_header(time: SystemTime, length: u32) -> [u8; 16] {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut header = [0; 16];
    // Seconds have 32 bits in this format, until 2106.
    header[..4].copy_from_slice(&(since.as_secs() as u32).to_le_bytes());
    header[4..8].copy_from_slice(&since.subsec_micros().to_le_bytes());
    header[8..12].copy_from_slice(&length.to_le_bytes());
    header[12..16].copy_from_slice(&length.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn headers_are_those_of_the_format() {
        assert_eq!(file_header()[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        let at = UNIX_EPOCH + Duration::from_micros(3_000_005);
        assert_eq!(record_header(at, 60), [3, 0, 0, 0, 5, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0]);
    }
}
