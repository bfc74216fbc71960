//! The query log: raw records from the threads that answer, printed by another. See README.md.

pub mod config;
pub mod format;
mod line;

use std::{
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use config::Config;
use hickory_proto::op::Message;
use parking_lot::Mutex;
use prometheus::IntCounter;

use self::{
    format::Piece,
    line::{Labels, Line, NAME_ROOM},
};
use crate::{
    plugin::{Query, Transport},
    plugins::kubernetes::wire::Written,
    server::batch::Peer,
    wire::{HEADER, query::Plain},
};

/// Records that a thread may have waiting; the next is lost and counted.
const WAITING: usize = 8192;
/// Buffers; threads share one only where there are more threads.
const BUFFERS: usize = 16;
/// How often waiting records are printed.
const PERIOD: Duration = Duration::from_millis(20);

/// The `log` plugin of one server block.
pub struct QueryLog {
    config: Config,
    /// Metadata labels of all formats.
    labels: Vec<Box<str>>,
    buffers: [Mutex<Vec<Line>>; BUFFERS],
    lost: IntCounter,
}

impl QueryLog {
    /// A log by its settings. Nothing is printed until [`QueryLog::print`] is called. `lost` counts
    /// lines that never are: printing was too slow, or failed.
    pub fn new(config: Config, lost: IntCounter) -> Arc<Self> {
        let buffers = std::array::from_fn(|_| Mutex::new(Vec::new()));
        let pieces = config.rules.iter().flat_map(|rule| &rule.format);
        let mut labels: Vec<Box<str>> = pieces
            .filter_map(|piece| match piece {
                Piece::Metadata(label) => Some(label.clone()),
                _ => None,
            })
            .collect();
        labels.sort_unstable();
        labels.dedup();
        Arc::new(QueryLog { config, labels, buffers, lost })
    }

    /// Whether a format has metadata labels: their values show on the long way only.
    pub fn wants_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Prints waiting records to `out` every 20 ms for as long as anybody else holds the log.
    pub fn start_printing(self: &Arc<Self>, mut out: impl Write + Send + 'static) {
        let log = Arc::downgrade(self);
        let printing = std::thread::Builder::new().name("query-log".to_owned()).spawn(move || {
            while let Some(log) = log.upgrade() {
                log.print(&mut out);
                drop(log);
                std::thread::sleep(PERIOD);
            }
        });
        if let Err(error) = printing {
            tracing::error!(%error, "no thread for the query log: queries are not logged");
        }
    }

    /// Notes a query answered on the short way. Does not allocate once the buffer has grown, and
    /// waits for nobody but another thread's note or the swap of two buffers.
    pub fn note_short(
        &self,
        message: &[u8],
        plain: &Plain,
        peer: &Peer,
        bound: SocketAddr,
        reply: (&[u8], Written),
        received: Instant,
    ) {
        let (reply, written) = reply;
        let mut line = Line {
            client: peer.client(),
            local: SocketAddr::new(peer.asked().unwrap_or(bound.ip()), bound.port()),
            transport: Transport::Udp,
            id: u16::from_be_bytes([message[0], message[1]]),
            opcode: 0,
            qtype: plain.qtype,
            class: crate::wire::CLASS_IN,
            size: message.len() as u16,
            dnssec_ok: plain.edns.is_some_and(|edns| edns.dnssec_ok),
            payload: plain.udp_limit() as u16,
            rcode: written.rcode,
            flags: u16::from_be_bytes([reply[2], reply[3]]),
            has_answer: reply[6] != 0 || reply[7] != 0,
            reply_size: written.len as u16,
            took: received.elapsed(),
            name: [0; NAME_ROOM],
            name_len: 0,
            labels: None,
        };
        line.set_name(&message[HEADER..plain.question_end - 4]);
        self.push(line);
    }

    /// Notes a query answered on the long way. `bytes` is empty if no reply was sent.
    pub fn note_long(&self, query: &Query, reply: &Message, bytes: &[u8]) {
        let mut line = Line {
            client: query.origin.client,
            local: query.origin.local,
            transport: query.origin.transport,
            id: query.message.metadata.id,
            opcode: query.message.metadata.op_code.into(),
            qtype: query.rtype().into(),
            class: query.message.queries[0].query_class.into(),
            size: query.size as u16,
            dnssec_ok: query.dnssec_ok(),
            payload: query.size_limit() as u16,
            rcode: reply.metadata.response_code.into(),
            flags: crate::wire::u16_at(bytes, 2).unwrap_or(0),
            has_answer: !reply.answers.is_empty(),
            reply_size: bytes.len() as u16,
            took: query.origin.received.elapsed(),
            name: [0; NAME_ROOM],
            name_len: 0,
            labels: self.label_values(query),
        };
        let mut wire = Vec::with_capacity(NAME_ROOM);
        for label in query.name() {
            wire.push(label.len() as u8);
            wire.extend(label);
        }
        wire.push(0);
        line.set_name(&wire);
        self.push(line);
    }

    /// The labels that the query has a value for.
    fn label_values(&self, query: &Query) -> Option<Labels> {
        let labels = self.labels.iter();
        let values = labels.filter_map(|label| Some((label.clone(), query.metadata.value(label)?)));
        let values: Labels = values.collect();
        (!values.is_empty()).then_some(values)
    }

    fn push(&self, line: Line) {
        let mut buffer = self.buffers[own_buffer()].lock();
        if buffer.len() < WAITING {
            buffer.push(line);
        } else {
            self.lost.inc();
        }
    }

    /// Prints what waits.
    pub fn print(&self, out: &mut impl Write) {
        let mut text = String::new();
        for buffer in &self.buffers {
            // Swapped for a buffer of the same size, so that pushing need not grow it again.
            let room = buffer.lock().capacity();
            let lines = std::mem::replace(&mut *buffer.lock(), Vec::with_capacity(room));
            for line in lines {
                let rule = self.config.rules.iter().find(|rule| line.is_below(&rule.name));
                if let Some(rule) = rule.filter(|rule| line.is_of(rule.classes)) {
                    line.render(&rule.format, &mut text);
                }
            }
        }
        if !text.is_empty() && out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            // Perhaps some of them got through.
            self.lost.inc_by(text.lines().count() as u64);
        }
    }
}

/// A buffer for the calling thread, handed out in turn.
fn own_buffer() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Relaxed) % BUFFERS;
    }
    OWN.with(|own| *own)
}
