//! A stored reply: its records as wire bytes, where their TTLs stand, and how old it is.
//!
//! A reply is written from it by one copy: the question in front comes from the query, and is as long
//! as the one that the bytes were made behind, so that compression pointers hold.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use hickory_proto::op::Message;

use super::moment::{Moment, millis};
use crate::{
    plugins::kubernetes::wire::{Asked, Written},
    server::long::{self, ede},
    wire::{HEADER, MAX_MESSAGE, name::FoldedName, reply::Reply, rtype, u16_at},
};

/// A renewal that did not say how it went is given up after this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// The least pause after a renewal failed (RFC 9520 §3.2).
const PAUSE: Duration = Duration::from_secs(1);

/// A pointer to the question's name.
const QUESTION_NAME: [u8; 2] = [0xc0, HEADER as u8];
const AA: u8 = 0x04;
const RA: u8 = 0x80;
const AD: u8 = 0x20;
/// RCODE.
const NXDOMAIN: u8 = 3;

/// What a stored reply is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Answers its question.
    Answer,
    /// NOERROR that answers otherwise: a referral, records in the additional section alone.
    Other,
    /// NXDOMAIN, or no data.
    Denial,
    /// SERVFAIL or NOTIMP.
    Failure,
}

/// A stored reply.
pub struct Entry {
    kind: Kind,
    /// AA of the header's third octet; RA, AD and RCODE of its fourth.
    flags: [u8; 2],
    /// ANCOUNT, NSCOUNT, ARCOUNT.
    counts: [u8; 6],
    /// All records, as they stand behind the question. No OPT.
    records: Box<[u8]>,
    /// Offsets of the TTLs in `records`.
    ttls: Box<[u16]>,
    addresses: Addresses,
    /// Every record is an address of the name that was asked.
    renameable: bool,
    stored: Moment,
    /// Milliseconds.
    lifetime: u64,
    /// Nobody may begin a renewal before this time, in milliseconds.
    renewal: AtomicU64,
    /// The short way began a renewal; the long way has to do it.
    wanted: AtomicBool,
    hits: AtomicU32,
    last_hit: AtomicU64,
    /// Sets entries apart that were made at the same time.
    jitter: u8,
}

/// Address records that follow each other in the answer section, all of the same size: they may start
/// anywhere.
#[derive(Clone, Copy, Default, Debug)]
struct Addresses {
    start: usize,
    size: usize,
    count: usize,
}

/// How old an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Age {
    /// Seconds left, at least 1.
    Fresh(u32),
    /// Milliseconds since it expired.
    Expired(u64),
}

impl Entry {
    /// An entry for `message`, which has exactly one question and no EDNS part. `None` if it can't
    /// be written in 65,535 octets.
    pub fn new(kind: Kind, message: &Message, lifetime: Duration, stored: Moment) -> Option<Self> {
        let bytes = long::fit(message, MAX_MESSAGE)?;
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let cut = header[2] & 0x02 != 0;
        let start = FoldedName::default().read(&bytes, HEADER)? + 4;
        let counts = [header[6], header[7], header[8], header[9], header[10], header[11]];
        let layout = Layout::read(bytes.get(start..)?, counts).filter(|_| !cut)?;
        Some(Entry {
            kind,
            flags: [header[2] & AA, header[3] & (RA | AD | 0x0f)],
            counts,
            records: bytes[start..].into(),
            ttls: layout.ttls.into(),
            addresses: layout.addresses,
            renameable: layout.renameable,
            stored,
            lifetime: millis(lifetime),
            renewal: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            hits: AtomicU32::new(0),
            last_hit: AtomicU64::new(0),
            jitter: rand::random(),
        })
    }

    /// Whether the reply is the same for a question with another name, but for that name.
    pub fn is_renameable(&self) -> bool {
        self.renameable
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Octets that it takes, its own bookkeeping included.
    pub fn size(&self) -> usize {
        size_of::<Entry>() + self.records.len() + 2 * self.ttls.len()
    }

    /// Its age.
    pub fn age(&self, now: Moment) -> Age {
        let age = now.since(self.stored);
        match self.lifetime.checked_sub(age) {
            None | Some(0) => Age::Expired(age - self.lifetime),
            Some(left) => Age::Fresh(seconds(left)),
        }
    }

    /// Seconds that it had when it was stored.
    pub fn full_ttl(&self) -> u32 {
        seconds(self.lifetime)
    }

    /// What is to be said of this reply, given at that age: an Extended DNS Error's code.
    pub fn extended_error(&self, age: Age) -> Option<u16> {
        match (self.kind, age) {
            (Kind::Failure, _) => Some(ede::CACHED_ERROR),
            (_, Age::Fresh(_)) => None,
            (_, Age::Expired(_)) if self.flags[1] & 0x0f == NXDOMAIN => Some(ede::STALE_NXDOMAIN),
            (_, Age::Expired(_)) => Some(ede::STALE_ANSWER),
        }
    }

    /// Writes the reply to `asked`; every record carries `ttl`, and clients that know EDNS hear of
    /// `extended_error`. `None` if it does not fit: nothing is ever cut here.
    pub fn write(
        &self,
        out: &mut [u8],
        asked: &Asked<'_>,
        ttl: u32,
        extended_error: Option<u16>,
    ) -> Option<Written> {
        let mut reply = Reply::new(out, asked.message, asked.plain, asked.limit)?;
        // RFC 6840 §5.7, §5.8: AD is for clients that said that they understand it.
        let wants_authentic = asked.plain.edns.is_some_and(|edns| edns.dnssec_ok)
            || asked.message.get(3).is_some_and(|octet| octet & AD != 0);
        let flags = if wants_authentic { self.flags[1] } else { self.flags[1] & !AD };
        reply.set_flags([self.flags[0], flags]);
        let records = reply.push_records(&self.records, self.counts)?;
        self.addresses.rotate(&self.records, records, asked.rotation);
        let ttl = ttl.to_be_bytes();
        for at in &self.ttls {
            let at = usize::from(*at);
            records[at..at + 4].copy_from_slice(&ttl);
        }
        if let Some(code) = extended_error {
            reply.set_extended_error(code);
        }
        Some(Written { len: reply.finish(), rcode: u16::from(self.flags[1] & 0x0f) })
    }

    /// Counts a hit; gives the number of hits so far that were no further apart than `within`.
    pub fn hit(&self, now: Moment, within: Duration) -> u32 {
        // Two hits at once may be counted as one: nobody needs this to be exact.
        let last = self.last_hit.swap(now.0, Ordering::Relaxed);
        let so_far = self.hits.load(Ordering::Relaxed);
        let hits = match now.since(Moment(last)) > millis(within) {
            true => 1,
            false => so_far.saturating_add(1),
        };
        self.hits.store(hits, Ordering::Relaxed);
        hits
    }

    /// Whether so little of its lifetime is left that it may be renewed: `percentage` of it, less up
    /// to a quarter of that, so that what was asked for together is not renewed together.
    pub fn nears_its_end(&self, now: Moment, percentage: u8) -> bool {
        let age = now.since(self.stored);
        let threshold = self.lifetime.saturating_mul(percentage.into()) / 100;
        let less = threshold / 4 * u64::from(self.jitter) / u64::from(u8::MAX);
        age + threshold - less >= self.lifetime
    }

    /// Takes over the hits of the entry that this one replaces.
    pub fn inherit(&self, older: &Entry) {
        self.hits.store(older.hits.load(Ordering::Relaxed), Ordering::Relaxed);
        self.last_hit.store(older.last_hit.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether a renewal may begin: none is under way, and none failed just now.
    pub fn may_renew(&self, now: Moment) -> bool {
        now.0 >= self.renewal.load(Ordering::Acquire)
    }

    /// Begins a renewal. `false` if somebody else did, or one failed just now.
    pub fn begin_renewal(&self, now: Moment) -> bool {
        let until = self.renewal.load(Ordering::Acquire);
        now.0 >= until
            && self
                .renewal
                .compare_exchange(until, now.plus(PATIENCE).0, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    /// Begins a renewal that the long way has to carry out.
    pub fn want_renewal(&self, now: Moment) -> bool {
        let begun = self.begin_renewal(now);
        if begun {
            self.wanted.store(true, Ordering::Release);
        }
        begun
    }

    /// Whether the short way began a renewal that nobody has taken up: the caller does now.
    pub fn take_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire) && self.wanted.swap(false, Ordering::AcqRel)
    }

    /// Ends a renewal. After a failed one the next may begin in `pause`, at least a second.
    pub fn end_renewal(&self, now: Moment, renewed: bool, pause: Duration) {
        let until = if renewed { Moment::default() } else { now.plus(pause.max(PAUSE)) };
        self.renewal.store(until.0, Ordering::Release);
    }
}

impl Addresses {
    /// Lets the addresses in `out`, a copy of `records`, begin with another one.
    fn rotate(&self, records: &[u8], out: &mut [u8], rotation: u32) {
        if self.count < 2 {
            return;
        }
        let first = rotation as usize % self.count * self.size;
        if first == 0 {
            return;
        }
        let range = self.start..self.start + self.count * self.size;
        let (before, behind) = records[range.clone()].split_at(first);
        let out = &mut out[range];
        out[..behind.len()].copy_from_slice(behind);
        out[behind.len()..].copy_from_slice(before);
    }
}

/// Reads where the parts of encoded records are.
struct Layout<'b> {
    records: &'b [u8],
    ttls: Vec<u16>,
    addresses: Addresses,
    renameable: bool,
    /// Type of the last answer, and whether all since that type began can change places.
    last: Option<(u16, [u8; 2], bool)>,
}

impl<'b> Layout<'b> {
    fn read(records: &'b [u8], counts: [u8; 6]) -> Option<Self> {
        let count = |at: usize| usize::from(u16::from_be_bytes([counts[at], counts[at + 1]]));
        let (answers, rest) = (count(0), count(2) + count(4));
        let addresses = Addresses::default();
        let mut layout =
            Layout { records, ttls: Vec::new(), addresses, renameable: true, last: None };
        let mut at = 0;
        for index in 0..answers + rest {
            at = layout.record(at, index < answers)?;
        }
        (at == records.len()).then_some(layout)
    }

    /// Reads the record at `at`; gives the offset behind it.
    fn record(&mut self, at: usize, is_answer: bool) -> Option<usize> {
        let fixed = skip_name(self.records, at)?;
        let rtype = u16_at(self.records, fixed)?;
        let end = fixed + 10 + usize::from(u16_at(self.records, fixed + 8)?);
        self.records.get(..end)?;
        self.ttls.push(u16::try_from(fixed + 4).ok()?);
        // Elsewhere a name may stand whole, or point into the question's.
        self.renameable &=
            self.records[at..fixed] == QUESTION_NAME && matches!(rtype, rtype::A | rtype::AAAA);
        if is_answer {
            self.note_answer(at, fixed, end, rtype);
        }
        Some(end)
    }

    fn note_answer(&mut self, at: usize, fixed: usize, end: usize, rtype: u16) {
        let owner = [self.records[at], self.records[fixed - 1]];
        let is_pointer = fixed - at == 2;
        let movable = is_pointer && matches!(rtype, rtype::A | rtype::AAAA);
        match self.last {
            Some((last, first_owner, all)) if last == rtype => {
                let all = all && movable && owner == first_owner && end - at == self.addresses.size;
                self.last = Some((rtype, first_owner, all));
                self.addresses.count = if all { self.addresses.count + 1 } else { 0 };
            }
            _ => {
                self.last = Some((rtype, owner, movable));
                if movable {
                    self.addresses = Addresses { start: at, size: end - at, count: 1 };
                }
            }
        }
    }
}

/// The offset behind the name at `at`, compressed or not.
fn skip_name(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            len if len < 64 => at += 1 + usize::from(len),
            len if len >= 0xc0 => return bytes.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
    }
}

/// Whole seconds, those begun included.
fn seconds(millis: u64) -> u32 {
    u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX)
}
