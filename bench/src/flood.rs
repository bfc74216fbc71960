//! A flood from one address, and a quiet client beside it. Neither waits for replies before it goes on.

use std::{
    net::{IpAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::Context;
use daymark_tests::dns;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;

use crate::{measure::local, statistics::quantile};

/// Queries a second of the quiet client.
const QUIET_RATE: u32 = 500;
/// A reply later than this is none.
const PATIENCE: Duration = Duration::from_secs(1);
/// A flood is sent in bursts of this length, so that its thread leaves the core now and then.
const BURST: Duration = Duration::from_millis(1);

/// What the quiet client saw.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quiet {
    /// Share of its queries that were answered.
    pub answered: f64,
    /// 99th percentile of the time until a reply came, in microseconds; without one it is 1 s.
    pub p99_us: f64,
    /// Median of that.
    pub p50_us: f64,
}

/// Sends `rate` queries a second from `address` to the server at `port` until `stop`.
///
/// # Errors
/// If the address can't be used.
pub fn flood(
    address: IpAddr,
    port: u16,
    names: &[String],
    rate: f64,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((address, 0)).context("a socket for the flood")?;
    socket.connect(local(port))?;
    let queries = names.iter().map(|name| Ok(dns::query(name, "A", None)?.to_vec()?));
    let queries: Vec<Vec<u8>> = queries.collect::<anyhow::Result<_>>()?;
    let begun = Instant::now();
    let mut sent = 0_u64;
    let mut next = queries.iter().cycle();
    while !stop.load(Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * rate) as u64;
        for query in next.by_ref().take((due - sent) as usize) {
            // Full queues are what a flood is about.
            let _ = socket.send(query);
        }
        sent = due;
        std::thread::sleep(BURST);
    }
    Ok(())
}

/// Asks at a fixed rate for some seconds, from `address`, and tells how that went.
///
/// # Errors
/// If the address can't be used.
pub fn quiet(address: IpAddr, port: u16, name: &str, seconds: u32) -> anyhow::Result<Quiet> {
    let socket = UdpSocket::bind((address, 0)).context("a socket for the quiet client")?;
    socket.connect(local(port))?;
    let count = (QUIET_RATE * seconds) as usize;
    let mut query = dns::query(name, "A", None)?.to_vec()?;
    let receiving = socket.try_clone()?;
    receiving.set_read_timeout(Some(PATIENCE))?;
    let receiver = std::thread::spawn(move || {
        let mut arrived: Vec<Option<Instant>> = vec![None; count];
        let mut reply = [0; 512];
        while let Ok(len) = receiving.recv(&mut reply) {
            let id = usize::from(u16::from_be_bytes([reply[0], reply[1]]));
            if len > 2
                && let Some(slot) = arrived.get_mut(id)
            {
                slot.get_or_insert_with(Instant::now);
            }
            if id + 1 == count {
                break;
            }
        }
        arrived
    });
    let begun = Instant::now();
    let mut sent = Vec::with_capacity(count);
    for id in 0..count {
        // Not in step with anything of the server's.
        let jitter = rand::random::<f64>();
        let due = Duration::from_secs_f64((id as f64 + jitter) / f64::from(QUIET_RATE));
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        query[..2].copy_from_slice(&(id as u16).to_be_bytes());
        sent.push(Instant::now());
        socket.send(&query)?;
    }
    let arrived = receiver.join().ok().context("the receiver ended")?;
    let took = |(sent, arrived): (&Instant, &Option<Instant>)| {
        arrived.map(|at| at.duration_since(*sent)).filter(|took| *took < PATIENCE)
    };
    let took: Vec<Option<Duration>> = sent.iter().zip(&arrived).map(took).collect();
    let answered = took.iter().flatten().count() as f64 / count as f64;
    let micros: Vec<f64> =
        took.iter().map(|took| took.unwrap_or(PATIENCE).as_secs_f64() * 1e6).collect();
    let at = |q| quantile(&micros, q).context("nothing was asked");
    Ok(Quiet { answered, p99_us: at(0.99)?, p50_us: at(0.5)? })
}

/// Keeps the calling thread on one core.
///
/// # Errors
/// If there is no such core.
pub fn stay_on(core: &str) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core.parse()?);
    Ok(sched_setaffinity(None, &set)?)
}
