//! Numbered datagrams from one pod to another, so that a single one that is missing shows.

use std::{
    net::{IpAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use daymark_tests::{lab::Lab, process::PATIENCE};
use socket2::SockRef;

/// Between datagrams of one stream.
const INTERVAL: Duration = Duration::from_micros(500);
/// Room at the receiver, so that a busy machine is no reason for a gap.
const BUFFER: usize = 8 << 20;

/// A stream that goes on until it is ended.
pub(crate) struct Stream {
    what: String,
    stop: Arc<AtomicBool>,
    sender: JoinHandle<anyhow::Result<u64>>,
    receiver: UdpSocket,
}

impl Stream {
    /// Starts one from a place of the lab to another's address.
    pub(crate) fn start(lab: &Lab, from: &str, to: &str, address: IpAddr) -> anyhow::Result<Self> {
        let receiver = lab.inside(to, || Ok(UdpSocket::bind((address, 0))?))?;
        // More than the usual limit, which root may have.
        SockRef::from(&receiver).set_recv_buffer_size(BUFFER)?;
        let target = receiver.local_addr()?;
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let sender = lab.inside(from, || Ok(UdpSocket::bind((any, 0))?))?;
        sender.connect(target)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let sender = std::thread::spawn(move || {
            let begin = Instant::now();
            let mut sent = 0_u64;
            while !told.load(Ordering::Relaxed) {
                sender.send(&sent.to_be_bytes()).context("sending")?;
                sent += 1;
                let due = begin + INTERVAL * u32::try_from(sent)?;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            Ok(sent)
        });
        Ok(Stream { what: format!("{from} to {to} at {address}"), stop, sender, receiver })
    }

    /// Ends it.
    ///
    /// # Errors
    /// If a datagram is missing.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        self.receiver.set_read_timeout(Some(PATIENCE))?;
        let mut missing = Vec::new();
        let mut expected = 0;
        while expected < sent {
            let mut octets = [0; 8];
            self.receiver.recv(&mut octets).with_context(|| {
                format!("{}: after {expected} of {sent}, missing {missing:?}", self.what)
            })?;
            let number = u64::from_be_bytes(octets);
            missing.extend(expected..number);
            expected = number + 1;
        }
        ensure!(missing.is_empty(), "{}: of {sent} datagrams {missing:?} are missing", self.what);
        Ok(())
    }
}
