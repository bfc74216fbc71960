//! A stored reply: its records as wire bytes, where their TTLs stand, and how old it is.
//!
//! A reply is written from it by one copy: the question in front comes from the query, and is as long
//! as the one that the bytes were made behind, so that compression pointers hold. An entry is one
//! allocation, because caches hold many: bookkeeping, then key, records and offsets of TTLs.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use hickory_proto::op::Message;
use triomphe::ThinArc;

use super::{
    key::Key,
    moment::{Moment, millis},
};
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

/// A stored reply, shared by whoever has it.
#[derive(Clone)]
pub struct Entry(ThinArc<Head, u8>);

/// What stands in front of an entry's bytes. Times are milliseconds.
struct Head {
    stored: Moment,
    lifetime: u64,
    /// Nobody may begin a renewal before this time, counted from `stored`.
    renewal: AtomicU32,
    hits: AtomicU32,
    /// The low half of a moment: after 49 days without a hit it may be taken for a later one.
    last_hit: AtomicU32,
    key: u16,
    records: u16,
    /// ANCOUNT, NSCOUNT, ARCOUNT.
    counts: [u8; 6],
    addresses: Addresses,
    /// AA of the header's third octet; RA, AD and RCODE of its fourth.
    flags: [u8; 2],
    kind: Kind,
    /// Every record is an address of the name that was asked.
    renameable: bool,
    /// The short way began a renewal; the long way has to do it.
    wanted: AtomicBool,
    /// Sets entries apart that were made at the same time.
    jitter: u8,
}

/// Address records that follow each other in the answer section, all of the same size: they may start
/// anywhere.
#[derive(Clone, Copy, Default, Debug)]
struct Addresses {
    start: u16,
    size: u16,
    count: u16,
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
    /// An entry for `message`, which has exactly one question, that of `key`, and no EDNS part. `None`
    /// if it can't be written in 65,535 octets.
    pub fn new(
        key: &Key,
        kind: Kind,
        message: &Message,
        lifetime: Duration,
        stored: Moment,
    ) -> Option<Self> {
        let bytes = long::fit(message, MAX_MESSAGE)?;
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let cut = header[2] & 0x02 != 0;
        let start = FoldedName::default().read(&bytes, HEADER)? + 4;
        let counts = [header[6], header[7], header[8], header[9], header[10], header[11]];
        let records = bytes.get(start..)?;
        let layout = Layout::read(records, counts).filter(|_| !cut)?;
        let head = Head {
            stored,
            lifetime: millis(lifetime),
            renewal: AtomicU32::new(0),
            hits: AtomicU32::new(0),
            last_hit: AtomicU32::new(0),
            key: u16::try_from(key.as_bytes().len()).ok()?,
            records: u16::try_from(records.len()).ok()?,
            counts,
            addresses: layout.addresses,
            flags: [header[2] & AA, header[3] & (RA | AD | 0x0f)],
            kind,
            renameable: layout.renameable,
            wanted: AtomicBool::new(false),
            jitter: rand::random(),
        };
        let ttls = layout.ttls.as_flattened();
        let tail: Vec<u8> = [key.as_bytes(), records, ttls].concat();
        Some(Entry(ThinArc::from_header_and_slice(head, &tail)))
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    /// What it is found by: a [`Key`]'s bytes.
    pub fn key(&self) -> &[u8] {
        &self.0.slice[..usize::from(self.head().key)]
    }

    /// All records, as they stand behind the question, no OPT; and the offsets of their TTLs.
    fn records(&self) -> (&[u8], &[[u8; 2]]) {
        let behind = &self.0.slice[usize::from(self.head().key)..];
        let (records, ttls) = behind.split_at(usize::from(self.head().records));
        (records, ttls.as_chunks().0)
    }

    /// Whether the reply is the same for a question with another name, but for that name.
    pub fn is_renameable(&self) -> bool {
        self.head().renameable
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.head().kind
    }

    /// Octets that it takes, its own bookkeeping included.
    pub fn size(&self) -> usize {
        size_of::<Head>() + self.0.slice.len()
    }

    /// Its age.
    pub fn age(&self, now: Moment) -> Age {
        let age = now.since(self.head().stored);
        match self.head().lifetime.checked_sub(age) {
            None | Some(0) => Age::Expired(age - self.head().lifetime),
            Some(left) => Age::Fresh(seconds(left)),
        }
    }

    /// Seconds that it had when it was stored.
    pub fn full_ttl(&self) -> u32 {
        seconds(self.head().lifetime)
    }

    /// What is to be said of this reply, given at that age: an Extended DNS Error's code.
    pub fn extended_error(&self, age: Age) -> Option<u16> {
        match (self.kind(), age) {
            (Kind::Failure, _) => Some(ede::CACHED_ERROR),
            (_, Age::Fresh(_)) => None,
            (_, Age::Expired(_)) if self.head().flags[1] & 0x0f == NXDOMAIN => {
                Some(ede::STALE_NXDOMAIN)
            }
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
        let head = self.head();
        let flags = if wants_authentic { head.flags[1] } else { head.flags[1] & !AD };
        reply.set_flags([head.flags[0], flags]);
        let (records, ttls) = self.records();
        let out = reply.push_records(records, head.counts)?;
        head.addresses.rotate(records, out, asked.rotation);
        let ttl = ttl.to_be_bytes();
        for at in ttls {
            let at = usize::from(u16::from_be_bytes(*at));
            out[at..at + 4].copy_from_slice(&ttl);
        }
        if let Some(code) = extended_error {
            reply.set_extended_error(code);
        }
        Some(Written { len: reply.finish(), rcode: u16::from(head.flags[1] & 0x0f) })
    }

    /// Counts a hit; gives the number of hits so far that were no further apart than `within`.
    pub fn hit(&self, now: Moment, within: Duration) -> u32 {
        // Two hits at once may be counted as one: nobody needs this to be exact.
        let head = self.head();
        let last = head.last_hit.swap(now.0 as u32, Ordering::Relaxed);
        let so_far = head.hits.load(Ordering::Relaxed);
        let hits = match u64::from((now.0 as u32).wrapping_sub(last)) > millis(within) {
            true => 1,
            false => so_far.saturating_add(1),
        };
        head.hits.store(hits, Ordering::Relaxed);
        hits
    }

    /// Whether so little of its lifetime is left that it may be renewed: `percentage` of it, less up
    /// to a quarter of that, so that what was asked for together is not renewed together.
    pub fn nears_its_end(&self, now: Moment, percentage: u8) -> bool {
        let head = self.head();
        let age = now.since(head.stored);
        let threshold = head.lifetime.saturating_mul(percentage.into()) / 100;
        let less = threshold / 4 * u64::from(head.jitter) / u64::from(u8::MAX);
        age + threshold - less >= head.lifetime
    }

    /// Takes over the hits of the entry that this one replaces.
    pub fn inherit(&self, older: &Entry) {
        let (head, older) = (self.head(), older.head());
        head.hits.store(older.hits.load(Ordering::Relaxed), Ordering::Relaxed);
        head.last_hit.store(older.last_hit.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// `now`, counted from the time at which this was stored; at most 49 days.
    fn counted(&self, now: Moment) -> u32 {
        u32::try_from(now.since(self.head().stored)).unwrap_or(u32::MAX)
    }

    /// Whether a renewal may begin: none is under way, and none failed just now.
    pub fn may_renew(&self, now: Moment) -> bool {
        self.counted(now) >= self.head().renewal.load(Ordering::Acquire)
    }

    /// Begins a renewal. `false` if somebody else did, or one failed just now.
    pub fn begin_renewal(&self, now: Moment) -> bool {
        let renewal = &self.head().renewal;
        let until = renewal.load(Ordering::Acquire);
        let next = self.counted(now.plus(PATIENCE));
        self.counted(now) >= until
            && renewal.compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Begins a renewal that the long way has to carry out.
    pub fn want_renewal(&self, now: Moment) -> bool {
        let begun = self.begin_renewal(now);
        if begun {
            self.head().wanted.store(true, Ordering::Release);
        }
        begun
    }

    /// Whether the short way began a renewal that nobody has taken up: the caller does now.
    pub fn take_wanted(&self) -> bool {
        let wanted = &self.head().wanted;
        wanted.load(Ordering::Acquire) && wanted.swap(false, Ordering::AcqRel)
    }

    /// Ends a renewal. After a failed one the next may begin in `pause`, at least a second.
    pub fn end_renewal(&self, now: Moment, renewed: bool, pause: Duration) {
        let until = if renewed { 0 } else { self.counted(now.plus(pause.max(PAUSE))) };
        self.head().renewal.store(until, Ordering::Release);
    }
}

impl Addresses {
    /// Lets the addresses in `out`, a copy of `records`, begin with another one.
    fn rotate(&self, records: &[u8], out: &mut [u8], rotation: u32) {
        if self.count < 2 {
            return;
        }
        let [start, size, count] = [self.start, self.size, self.count].map(usize::from);
        let first = rotation as usize % count * size;
        if first == 0 {
            return;
        }
        let range = start..start + count * size;
        let (before, behind) = records[range.clone()].split_at(first);
        let out = &mut out[range];
        out[..behind.len()].copy_from_slice(behind);
        out[behind.len()..].copy_from_slice(before);
    }
}

/// Reads where the parts of encoded records are.
struct Layout<'b> {
    records: &'b [u8],
    /// Offsets, big-endian.
    ttls: Vec<[u8; 2]>,
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
        self.ttls.push(u16::try_from(fixed + 4).ok()?.to_be_bytes());
        // Elsewhere a name may stand whole, or point into the question's.
        self.renameable &=
            self.records[at..fixed] == QUESTION_NAME && matches!(rtype, rtype::A | rtype::AAAA);
        if is_answer {
            self.note_answer(at, fixed, end, rtype)?;
        }
        Some(end)
    }

    fn note_answer(&mut self, at: usize, fixed: usize, end: usize, rtype: u16) -> Option<()> {
        let owner = [self.records[at], self.records[fixed - 1]];
        let is_pointer = fixed - at == 2;
        let movable = is_pointer && matches!(rtype, rtype::A | rtype::AAAA);
        let size = u16::try_from(end - at).ok()?;
        match self.last {
            Some((last, first_owner, all)) if last == rtype => {
                let all = all && movable && owner == first_owner && size == self.addresses.size;
                self.last = Some((rtype, first_owner, all));
                self.addresses.count = if all { self.addresses.count + 1 } else { 0 };
            }
            _ => {
                self.last = Some((rtype, owner, movable));
                if movable {
                    self.addresses = Addresses { start: u16::try_from(at).ok()?, size, count: 1 };
                }
            }
        }
        Some(())
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
