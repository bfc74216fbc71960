//! A UDP worker: one thread on one socket, batches in, answers out; odd questions go the long way.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroU64,
    os::fd::AsFd,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rustix::thread::set_current_timer_slack;
use socket2::Socket;
use tokio::runtime::Handle;

use super::{
    admission::Admission,
    batch::{self, BATCH, Batch, Peer, Wait},
    fairness::{Change, Fairness, Quota},
    listening::Ending,
    long::{self, Purpose},
    pace::{PAUSE, Pace},
    routes::{Block, Routes},
    short::Short,
};
use crate::{
    metrics::{Recorder, SeriesId, counters::Observation},
    plugin::{Origin, Transport},
    plugins::kubernetes::wire::{Asked, Written},
    wire::{
        HEADER,
        name::FoldedName,
        query::{self, Plain, Shape},
        rcode,
        reply::{self, Reply},
    },
};

/// What all ways out of the short one share: where tasks run, who may have one, what they count in.
#[derive(Clone)]
pub struct LongWay {
    /// Runs the tasks.
    pub runtime: Handle,
    /// Bounds them.
    pub admission: Arc<Admission>,
    /// Their counters.
    pub recorder: Arc<Recorder>,
}

/// What was queued when it was time to end is answered for this long, however much keeps coming.
const LONGEST_DRAIN: Duration = Duration::from_secs(1);

/// A worker's socket and what it answers from.
pub struct Worker {
    /// The socket, shared with replies that come the long way.
    pub socket: Arc<Socket>,
    /// Address it is bound to.
    pub bound: SocketAddr,
    /// What is served there; swapped by a reload.
    pub routes: Arc<ArcSwap<Routes>>,
    /// This thread's own counters.
    pub recorder: Arc<Recorder>,
    /// The way for everything else.
    pub long: LongWay,
    /// Processor time that the process may use.
    pub quota: Arc<Quota>,
    /// How to end, once it is time.
    pub ending: Arc<OnceLock<Ending>>,
}

impl Worker {
    /// Serves until told to stop.
    pub fn run(self) {
        let mut batch = Batch::default();
        let mut turn = Turn { fairness: Fairness::new(Arc::clone(&self.quota)), ..Turn::default() };
        let mut pace = Pace::default();
        turn.drops = batch::drops(self.socket.as_fd());
        // A predecessor may have left one. Most sockets have none, which is no error of ours.
        let _ = self.socket.detach_filter();
        // A pause that is rounded up by the default of 50 µs would be twice as long.
        if let Err(error) = set_current_timer_slack(NonZeroU64::new(1)) {
            tracing::debug!(%error, "timer slack");
        }
        while self.ending.get().is_none() {
            match batch.receive(self.socket.as_fd(), Wait::ForOne) {
                Ok(0) => {}
                Ok(count) => {
                    let received = self.serve(&mut batch, count, &mut turn);
                    if pace.pauses(count, received, count == BATCH) {
                        std::thread::sleep(PAUSE);
                    }
                }
                // Nothing came for a while: a look at whether it is time to end.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.count_drops(&mut turn.drops);
                }
                // A client's ICMP error or a signal; the next receive blocks again.
                Err(error) => tracing::trace!(%error, "receiving datagrams"),
            }
        }
        if self.ending.get() == Some(&Ending::Drain) {
            self.drain(&mut batch, &mut turn);
        }
    }

    /// Answers what is queued.
    fn drain(&self, batch: &mut Batch, turn: &mut Turn) {
        let begun = Instant::now();
        while begun.elapsed() < LONGEST_DRAIN
            && let Ok(count @ 1..) = batch.receive(self.socket.as_fd(), Wait::No)
        {
            self.serve(batch, count, turn);
        }
    }

    /// Answers a batch; gives the time at which it was received.
    fn serve(&self, batch: &mut Batch, count: usize, turn: &mut Turn) -> Instant {
        let received = Instant::now();
        turn.received = Some(received);
        let routes = self.routes.load();
        for index in 0..count {
            if !turn.fairness.admits(batch.source(index)) {
                self.recorder.unfair.add_alone(1);
                continue;
            }
            let shape = query::read(batch.query(index), &mut turn.name);
            match shape {
                Shape::Plain(plain) => self.plain(&routes, batch, index, &plain, turn),
                Shape::Odd => self.go_long(&routes, batch, index, turn, Purpose::Reply),
                Shape::Reject(code) => self.reject(batch, index, code),
                Shape::Ignore => self.recorder.ignored.add_alone(1),
            }
        }
        batch.send(self.socket.as_fd());
        turn.count_durations(&self.recorder);
        let (drops, full) = (&mut turn.drops, count == BATCH);
        let spent = || {
            self.count_drops(drops);
            processor_time()
        };
        if let Some(change) = turn.fairness.note_batch(received, full, spent) {
            self.thin(change);
        }
        received
    }

    /// Counts what the kernel dropped since it was `known` to have dropped so many.
    fn count_drops(&self, known: &mut u32) {
        let drops = batch::drops(self.socket.as_fd());
        self.recorder.dropped.add_alone(u64::from(drops.wrapping_sub(*known)));
        *known = drops;
    }

    /// Has the kernel drop some of what greedy sources send, or no longer.
    fn thin(&self, change: Change) {
        let changed = match change {
            Change::Thin(program) => self.socket.attach_filter(&program),
            Change::Stop => self.socket.detach_filter(),
        };
        if let Err(error) = changed {
            // What the kernel does not drop is dropped here.
            tracing::debug!(%error, "a filter on a UDP socket");
        }
    }

    fn plain(
        &self,
        routes: &Arc<Routes>,
        batch: &mut Batch,
        index: usize,
        plain: &Plain,
        turn: &mut Turn,
    ) {
        let Some(block) = routes.find(&turn.name, plain.qtype) else {
            return self.refuse(routes.dropped, batch, index, plain, turn);
        };
        let Some(plan) = &block.short else {
            return self.go_long(routes, batch, index, turn, Purpose::Reply);
        };
        let plain = &block.bounded_plain(plain);
        let limit = plain.udp_limit();
        self.make_room(batch, limit);
        turn.rotation = turn.rotation.wrapping_add(1);
        let (message, out) = batch.reply_room(index, limit);
        let asked = Asked {
            message,
            plain,
            name: &turn.name,
            limit,
            renamed: false,
            rotation: turn.rotation,
        };
        let (written, refresh) = match plan.answer(out, &asked) {
            Short::Answered(written) => (written, false),
            Short::AnsweredRefresh(written) => (written, true),
            Short::Long => return self.go_long(routes, batch, index, turn, Purpose::Reply),
        };
        if refresh {
            self.go_long(routes, batch, index, turn, Purpose::Renewal);
        }
        self.note(block, batch, index, plain, written, turn);
        batch.reply(index, written.len);
        self.recorder.short.add_alone(1);
    }

    fn note(
        &self,
        block: &Block,
        batch: &Batch,
        index: usize,
        plain: &Plain,
        written: Written,
        turn: &mut Turn,
    ) {
        if let Some(series) = block.series {
            let seen = observation(batch, index, plain, written, true);
            self.recorder.touch(series).observe_alone(&seen);
            turn.took(series);
        }
        if let Some(log) = &block.log {
            let received = turn.received.unwrap_or_else(Instant::now);
            let reply = (batch.written(written.len), written);
            log.note_short(
                batch.query(index),
                plain,
                &batch.peer(index),
                self.bound,
                reply,
                received,
            );
        }
    }

    /// No block takes the name: REFUSED, without authority (RFC 1035 §4.1.1).
    fn refuse(
        &self,
        dropped: SeriesId,
        batch: &mut Batch,
        index: usize,
        plain: &Plain,
        turn: &mut Turn,
    ) {
        let limit = plain.udp_limit();
        self.make_room(batch, limit);
        let (message, out) = batch.reply_room(index, limit);
        let Some(mut reply) = Reply::new(out, message, plain, limit) else { return };
        reply.set_rcode(rcode::REFUSED);
        reply.clear_authoritative();
        let written = Written { len: reply.finish(), rcode: rcode::REFUSED };
        let seen = observation(batch, index, plain, written, false);
        self.recorder.touch(dropped).observe_alone(&seen);
        turn.took(dropped);
        batch.reply(index, written.len);
        self.recorder.short.add_alone(1);
    }

    fn reject(&self, batch: &mut Batch, index: usize, code: u16) {
        self.make_room(batch, HEADER);
        let (message, out) = batch.reply_room(index, HEADER);
        let len = reply::reject(out, message, code);
        batch.reply(index, len);
    }

    fn make_room(&self, batch: &mut Batch, want: usize) {
        if !batch.has_room(want) {
            batch.send(self.socket.as_fd());
        }
    }

    /// Spawns a task for the query, if its client may have one; else the query is dropped, like a
    /// datagram that a full socket drops.
    fn go_long(
        &self,
        routes: &Arc<Routes>,
        batch: &Batch,
        index: usize,
        turn: &Turn,
        purpose: Purpose,
    ) {
        let peer = batch.peer(index);
        let client = peer.client();
        let Some(place) = self.long.admission.admit(client.ip()) else {
            self.recorder.shed.add_alone(1);
            routes.shed.iter().for_each(|shed| shed.queries.inc());
            return;
        };
        let local = SocketAddr::new(peer.asked().unwrap_or(self.bound.ip()), self.bound.port());
        let received = turn.received.unwrap_or_else(Instant::now);
        let origin = Origin { client, local, transport: Transport::Udp, received, parent: None };
        let (request, routes) = (batch.query(index).to_vec(), Arc::clone(routes));
        let (socket, recorder) = (Arc::clone(&self.socket), Arc::clone(&self.long.recorder));
        self.recorder.long.add_alone(u64::from(purpose == Purpose::Reply));
        self.long.runtime.spawn(async move {
            let reply = long::answer(&routes, &recorder, &request, origin, purpose).await;
            if let Some(reply) = reply
                && !send(&socket, &peer, &reply)
            {
                routes.shed.iter().for_each(|shed| shed.replies.inc());
            }
            drop(place);
        });
    }
}

/// Processor time that the process used so far.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Sends a reply; tells whether the socket took it.
fn send(socket: &Socket, peer: &Peer, reply: &[u8]) -> bool {
    let sent = batch::send_one(socket.as_fd(), peer, reply);
    if let Err(error) = &sent {
        // The client went away or is not reachable: its loss alone, and as common as clients are.
        tracing::debug!(%error, client = %peer.client(), "sending a reply");
    }
    sent.is_ok()
}

fn observation(
    batch: &Batch,
    index: usize,
    plain: &Plain,
    written: Written,
    by_chain: bool,
) -> Observation {
    Observation {
        transport: Transport::Udp,
        family: usize::from(batch.is_v6(index)),
        qtype: plain.qtype,
        dnssec_ok: plain.edns.is_some_and(|edns| edns.dnssec_ok),
        query_size: batch.query(index).len(),
        reply_size: written.len,
        rcode: written.rcode,
        by_chain,
    }
}

/// What a worker carries from query to query.
#[derive(Default)]
struct Turn {
    name: FoldedName,
    rotation: u32,
    received: Option<Instant>,
    fairness: Fairness,
    /// What the kernel had dropped when it was last asked.
    drops: u32,
    /// Queries of this batch by series: their durations are counted together.
    answered: Vec<(SeriesId, u64)>,
}

impl Turn {
    fn took(&mut self, series: SeriesId) {
        match self.answered.iter_mut().find(|(known, _)| *known == series) {
            Some((_, count)) => *count += 1,
            None => self.answered.push((series, 1)),
        }
    }

    fn count_durations(&mut self, recorder: &Recorder) {
        let Some(received) = self.received else { return };
        let nanos = received.elapsed().as_nanos() as u64;
        for (series, count) in self.answered.drain(..) {
            recorder.touch(series).took_alone(count, nanos);
        }
    }
}

#[cfg(test)]
mod tests;
