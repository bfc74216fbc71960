//! Numbered datagrams from one pod to another, so that a single one that is missing shows.

use std::{
    collections::BTreeSet,
    net::{IpAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use daymark_tests::{lab::Lab, process::PATIENCE};
use socket2::SockRef;

/// Between datagrams of one stream.
const INTERVAL: Duration = Duration::from_micros(500);
/// Room at the receiver, so that a busy machine is no reason for a gap.
const BUFFER: usize = 8 << 20;

/// No number of a stream.
const FIRST: u64 = u64::MAX;

/// A stream that goes on until it is ended.
pub(crate) struct Stream {
    what: String,
    stop: Arc<AtomicBool>,
    sender: JoinHandle<anyhow::Result<u64>>,
    /// What came so far, in the order of the network.
    received: Receiver<u64>,
}

impl Stream {
    /// Starts one from a place of the lab to another's address.
    pub(crate) fn start(lab: &Lab, from: &str, to: &str, address: IpAddr) -> anyhow::Result<Self> {
        let what = format!("{from} to {to} at {address}");
        let receiver = lab.inside(to, || Ok(UdpSocket::bind((address, 0))?))?;
        // More than the usual limit, which root may have.
        SockRef::from(&receiver).set_recv_buffer_size(BUFFER)?;
        let target = receiver.local_addr()?;
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let sender = lab.inside(from, || Ok(UdpSocket::bind((any, 0))?))?;
        sender.connect(target)?;
        // Begins once the way is known: the kernel keeps only so many datagrams for a neighbour that it
        // still asks for.
        receiver.set_read_timeout(Some(PATIENCE))?;
        sender.send(&FIRST.to_be_bytes())?;
        receiver.recv(&mut [0; 8]).with_context(|| what.clone())?;
        let (tell, received) = mpsc::channel();
        std::thread::spawn(move || receive(&receiver, &tell));
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
        Ok(Stream { what, stop, sender, received })
    }

    /// Ends it.
    ///
    /// # Errors
    /// If a datagram does not come. The order is the network's own: what waited for a neighbour's address may
    /// come after the next.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        let mut missing: BTreeSet<u64> = (0..sent).collect();
        while !missing.is_empty() {
            let number = self.received.recv_timeout(PATIENCE).with_context(|| {
                let (first, last, count) = (missing.first(), missing.last(), missing.len());
                format!("{}: {count} of {sent} are missing, {first:?} to {last:?}", self.what)
            })?;
            missing.remove(&number);
        }
        Ok(())
    }
}

/// Takes datagrams while they come, so that none has to wait in the socket for the stream's end.
/// Done with it when none came for as long as anything may take.
fn receive(socket: &UdpSocket, tell: &Sender<u64>) {
    let mut octets = [0; 8];
    while let Ok(8) = socket.recv(&mut octets) {
        if tell.send(u64::from_be_bytes(octets)).is_err() {
            break;
        }
    }
}
