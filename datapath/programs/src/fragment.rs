//! Ports of packets that come in pieces: the first piece has them, the others ask here.

use daymark_abi::{
    counter,
    flow::{FragmentKey, FragmentPorts},
};

use crate::{
    notify::cause,
    packet::{FIRST, LATER, Packet},
    tables::FRAGMENTS,
};

/// Completes a later piece from the first one, and remembers a first one. False if the first piece
/// was not seen.
#[inline(always)]
pub fn complete(packet: &mut Packet, hook: u32) -> bool {
    if packet.piece == crate::packet::WHOLE {
        return true;
    }
    let key = FragmentKey {
        source: packet.source,
        destination: packet.destination,
        identification: packet.identification,
        protocol: packet.protocol,
        hook: hook as u8,
        pad: [0; 2],
    };
    if packet.piece == FIRST {
        let ports =
            FragmentPorts { source: packet.source_port, destination: packet.destination_port };
        let _ = FRAGMENTS.insert(&key, &ports, 0);
    }
    if packet.piece == LATER {
        // SAFETY: an entry that is reused while it is read gives wrong ports, and the pieces are
        // put together by their identification alone: at worst this packet is lost.
        let Some(ports) = (unsafe { FRAGMENTS.get(&key) }) else {
            cause(counter::FRAGMENT_UNKNOWN);
            return false;
        };
        packet.source_port = ports.source;
        packet.destination_port = ports.destination;
    }
    true
}
