//! Answers as short texts, waited for, and collected while something else happens.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::bail;
use hickory_proto::rr::RData;

use crate::{
    dns::{self, Transport},
    process::PATIENCE,
};

/// What a server answers over UDP: an RCODE other than NOERROR (`NXDOMAIN`), else the answer's data
/// in order and separated by spaces (`10.0.0.1 10.0.0.2`), `NODATA` if there is none.
///
/// # Errors
/// If no reply comes.
pub fn answer(server: SocketAddr, name: &str, rtype: &str) -> anyhow::Result<String> {
    let reply = dns::ask(server, &dns::query(name, rtype, None)?, Transport::Udp)?;
    let code = reply.metadata.response_code;
    match u16::from(code) {
        0 => {}
        2 => return Ok("SERVFAIL".to_owned()),
        3 => return Ok("NXDOMAIN".to_owned()),
        5 => return Ok("REFUSED".to_owned()),
        other => return Ok(format!("RCODE {other}")),
    }
    let mut data: Vec<String> = reply
        .answers
        .iter()
        .map(|record| match &record.data {
            RData::PTR(name) => name.0.to_ascii(),
            other => other.to_string(),
        })
        .collect();
    data.sort();
    Ok(if data.is_empty() { "NODATA".to_owned() } else { data.join(" ") })
}

/// Waits until a server answers `want`.
///
/// # Errors
/// With the last answer, if it does not within [`PATIENCE`].
pub fn wait_for(server: SocketAddr, name: &str, rtype: &str, want: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let got = answer(server, name, rtype).unwrap_or_else(|error| format!("{error:#}"));
        if got == want {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("{name} {rtype} is `{got}`, not `{want}`, after {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks one question again and again, in a thread of its own, and remembers every answer.
pub struct Asker {
    seen: Arc<Mutex<BTreeSet<String>>>,
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Asker {
    /// Begins to ask.
    pub fn start(server: SocketAddr, name: &str, rtype: &str) -> Self {
        let (seen, count) =
            (Arc::<Mutex<BTreeSet<String>>>::default(), Arc::<AtomicUsize>::default());
        let stop = Arc::<AtomicBool>::default();
        let thread = std::thread::spawn({
            let (seen, count, stop) = (seen.clone(), Arc::clone(&count), stop.clone());
            let (name, rtype) = (name.to_owned(), rtype.to_owned());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    // A server that stands still gives no reply: that is no wrong answer.
                    if let Ok(answer) = answer(server, &name, &rtype) {
                        seen.lock().expect("nobody panics with the lock").insert(answer);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Asker { seen, count, stop, thread: Some(thread) }
    }

    /// How many answers came so far.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits for some more answers.
    ///
    /// # Errors
    /// If they do not come within [`PATIENCE`].
    pub fn wait_for_more(&self, more: usize) -> anyhow::Result<()> {
        let (start, want) = (Instant::now(), self.count() + more);
        while self.count() < want {
            anyhow::ensure!(start.elapsed() < PATIENCE, "no answers any more");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Stops asking and gives the distinct answers.
    pub fn stop(mut self) -> BTreeSet<String> {
        self.end();
        std::mem::take(&mut self.seen.lock().expect("nobody panics with the lock"))
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the asking thread does not panic");
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.end();
    }
}
