//! Reading what programs tell.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::Path,
};

use aya::maps::{Map, MapData, RingBuf};
use daymark_abi::{Address, Be16, DropReason, event};

use super::kernel;
use crate::DatapathError;

/// A reader of the ring buffer. Its descriptor is readable while there are events.
pub struct EventStream {
    ring: RingBuf<MapData>,
}

/// An event, and what follows it of the packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// The event.
    pub event: event::Event,
    /// Octets of the packet, from its Ethernet header on; empty where none were captured.
    pub packet: Vec<u8>,
}

impl EventStream {
    pub(super) fn open(folder: &Path) -> Result<EventStream, DatapathError> {
        let pin = folder.join("EVENTS");
        let map = MapData::from_pin(&pin).map_err(kernel(pin.display()))?;
        let ring = Map::from_map_data(map).and_then(RingBuf::try_from);
        Ok(EventStream { ring: ring.map_err(kernel(pin.display()))? })
    }

    /// The next event, if there is one. What is not one (a record of another length) is skipped.
    pub fn next_event(&mut self) -> Option<Told> {
        loop {
            let item = self.ring.next()?;
            if let Some(told) = decode(&item) {
                return Some(told);
            }
        }
    }
}

impl AsFd for EventStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl AsRawFd for EventStream {
    fn as_raw_fd(&self) -> i32 {
        self.ring.as_fd().as_raw_fd()
    }
}

/// Reads one record.
fn decode(record: &[u8]) -> Option<Told> {
    let (head, packet) = record.split_at_checked(size_of::<event::Event>())?;
    let mut at = 0;
    let mut take = |length: usize| {
        at += length;
        &head[at - length..at]
    };
    let event = event::Event {
        time: u64::from_ne_bytes(take(8).try_into().ok()?),
        connection: u64::from_ne_bytes(take(8).try_into().ok()?),
        source: Address::from_octets(take(16).try_into().ok()?),
        destination: Address::from_octets(take(16).try_into().ok()?),
        source_port: Be16 { raw: u16::from_ne_bytes(take(2).try_into().ok()?) },
        destination_port: Be16 { raw: u16::from_ne_bytes(take(2).try_into().ok()?) },
        length: u32::from_ne_bytes(take(4).try_into().ok()?),
        ifindex: u32::from_ne_bytes(take(4).try_into().ok()?),
        kind: take(1)[0],
        direction: take(1)[0],
        reason: take(1)[0],
        protocol: take(1)[0],
        hook: take(1)[0],
        way: take(1)[0],
        tcp_flags: take(1)[0],
        pad: take(1)[0],
        captured: u16::from_ne_bytes(take(2).try_into().ok()?),
        pad2: [0; 2],
    };
    let captured = usize::from(event.captured).min(packet.len());
    Some(Told { event, packet: packet[..captured].to_vec() })
}

impl Told {
    /// Why the packet was dropped, if that is what is told.
    pub fn drop_reason(&self) -> Option<DropReason> {
        (self.event.kind == event::DROP).then_some(DropReason(self.event.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_any_length_are_read_or_skipped() {
        let head = size_of::<event::Event>();
        let mut record = vec![0; head + 10];
        record[head - 4] = 7;
        for length in 0..=record.len() {
            let told = decode(&record[..length]);
            let captured = told.map(|told| told.packet.len());
            // What was captured is as long as the event says, and no longer than it is.
            let wanted = length.checked_sub(head).map(|following| following.min(7));
            assert_eq!(captured, wanted, "{length} octets");
        }
    }
}
