//! Counters of the hot path: plain integers, written by one thread, read by the scraper.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::MAX_SERIES;
use crate::plugin::Transport;

/// The labels that per-query families share.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Series {
    /// `server`: scheme, address and port listened on, `dns://:53`.
    pub server: String,
    /// `zone`: the block's zone, `dropped` for queries that no block takes.
    pub zone: String,
    /// `view`: empty without one.
    pub view: String,
    /// `plugin` of `coredns_dns_responses_total`: the first plugin behind `prometheus` in the chain,
    /// which is what CoreDNS reports for every reply the chain writes.
    pub plugin: String,
}

/// Index of a [`Series`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SeriesId(pub(super) u16);

/// Record types that have a label of their own; everything else is `other`.
pub const TYPES: [(u16, &str); 19] = [
    (1, "A"),
    (28, "AAAA"),
    (33, "SRV"),
    (12, "PTR"),
    (65, "HTTPS"),
    (16, "TXT"),
    (5, "CNAME"),
    (15, "MX"),
    (6, "SOA"),
    (2, "NS"),
    (64, "SVCB"),
    (48, "DNSKEY"),
    (43, "DS"),
    (50, "NSEC3"),
    (47, "NSEC"),
    (46, "RRSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
];
/// Label values of `type`, `other` being the last.
pub const TYPE_COUNT: usize = TYPES.len() + 1;
/// Response codes counted apart: 0..=22 by value, the last slot takes the rest.
pub const RCODE_COUNT: usize = 24;
/// Upper bounds of the size buckets in octets.
pub const SIZE_BOUNDS: [u64; 14] =
    [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000];
/// Number of bounded duration buckets: 0.25 ms × 2^0..15.
pub const TIME_BOUNDS: usize = 16;
const FIRST_TIME_BOUND: u64 = 250_000;

/// One query and its reply, as counted.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// Over which transport.
    pub transport: Transport,
    /// 0 for IPv4, 1 for IPv6.
    pub family: usize,
    /// QTYPE.
    pub qtype: u16,
    /// Whether DO was set.
    pub dnssec_ok: bool,
    /// Octets of the query.
    pub query_size: usize,
    /// Octets of the reply.
    pub reply_size: usize,
    /// RCODE.
    pub rcode: u16,
    /// Whether the chain wrote the reply (else the label `plugin` stays empty).
    pub by_chain: bool,
}

/// Counters of one thread.
pub struct Recorder {
    series: Box<[OnceLock<Box<Counters>>]>,
    /// Queries answered on the short way.
    pub short: Counter,
    /// Queries handed to the long way.
    pub long: Counter,
    /// Queries dropped because the long way was full.
    pub shed: Counter,
    /// Datagrams dropped because their source had had its share of scarce processor time.
    pub unfair: Counter,
    /// Datagrams that drew no reply: responses, cut headers.
    pub ignored: Counter,
}

/// An integer that normally one thread writes.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds without an atomic read-modify-write. Only for counters that a single thread writes.
    pub fn add_alone(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds; any number of threads may.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Values of one [`Series`] on one thread.
#[derive(Default)]
pub struct Counters {
    /// By transport, family, type.
    pub requests: [[[Counter; TYPE_COUNT]; 2]; 2],
    /// With the DO bit.
    pub dnssec_ok: Counter,
    /// By whether the chain wrote it, and code.
    pub responses: [[Counter; RCODE_COUNT]; 2],
    /// Query sizes by transport.
    pub query_size: [Histogram<{ SIZE_BOUNDS.len() + 1 }>; 2],
    /// Reply sizes by transport.
    pub reply_size: [Histogram<{ SIZE_BOUNDS.len() + 1 }>; 2],
    /// Durations in nanoseconds.
    pub duration: Histogram<{ TIME_BOUNDS + 1 }>,
}

/// Counts by bucket (not cumulative; the last is unbounded) and the sum of what was observed.
pub struct Histogram<const N: usize> {
    /// Counts.
    pub buckets: [Counter; N],
    /// Sum.
    pub sum: Counter,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Histogram { buckets: std::array::from_fn(|_| Counter::default()), sum: Counter::default() }
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder {
            series: (0..MAX_SERIES).map(|_| OnceLock::new()).collect(),
            short: Counter::default(),
            long: Counter::default(),
            shed: Counter::default(),
            unfair: Counter::default(),
            ignored: Counter::default(),
        }
    }
}

impl Recorder {
    /// Values of a series, if it was ever touched on this thread.
    pub fn values(&self, id: SeriesId) -> Option<&Counters> {
        self.series[usize::from(id.0)].get().map(|values| &**values)
    }

    /// Values of a series. Allocates on first touch.
    pub fn touch(&self, id: SeriesId) -> &Counters {
        self.series[usize::from(id.0)].get_or_init(Box::default)
    }
}

impl Counters {
    /// Counts one query, on the only thread that writes these counters. The duration is counted by
    /// [`Counters::took_alone`].
    pub fn observe_alone(&self, seen: &Observation) {
        self.count(seen, Counter::add_alone);
    }

    /// Counts one query and its duration, from any thread.
    pub fn observe(&self, seen: &Observation, nanos: u64) {
        self.count(seen, Counter::add);
        self.duration.buckets[time_bucket(nanos)].add(1);
        self.duration.sum.add(nanos);
    }

    /// Counts that `queries` took `nanos` each, on the only thread that writes these counters.
    pub fn took_alone(&self, queries: u64, nanos: u64) {
        self.duration.buckets[time_bucket(nanos)].add_alone(queries);
        self.duration.sum.add_alone(nanos * queries);
    }

    fn count(&self, seen: &Observation, add: impl Fn(&Counter, u64)) {
        let transport = seen.transport.carrier() as usize;
        add(&self.requests[transport][seen.family & 1][type_index(seen.qtype)], 1);
        if seen.dnssec_ok {
            add(&self.dnssec_ok, 1);
        }
        let rcode = usize::from(seen.rcode).min(RCODE_COUNT - 1);
        add(&self.responses[usize::from(seen.by_chain)][rcode], 1);
        for (histogram, size) in
            [(&self.query_size, seen.query_size), (&self.reply_size, seen.reply_size)]
        {
            add(&histogram[transport].buckets[size_bucket(size as u64)], 1);
            add(&histogram[transport].sum, size as u64);
        }
    }
}

fn type_index(qtype: u16) -> usize {
    // The common types come first.
    TYPES.iter().position(|(known, _)| *known == qtype).unwrap_or(TYPES.len())
}

fn size_bucket(size: u64) -> usize {
    SIZE_BOUNDS.iter().position(|bound| size <= *bound).unwrap_or(SIZE_BOUNDS.len())
}

/// Buckets double from 0.25 ms, so the bucket is a logarithm.
fn time_bucket(nanos: u64) -> usize {
    let ratio = nanos.div_ceil(FIRST_TIME_BOUND);
    let bucket = ratio.saturating_sub(1).checked_ilog2().map_or(0, |log| log as usize + 1);
    bucket.min(TIME_BOUNDS)
}

/// Upper bound of duration bucket `index` in seconds.
pub fn time_bound(index: usize) -> f64 {
    0.00025 * f64::from(1u32 << index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_is_not_below_them() {
        for nanos in
            [0, 1, 249_999, 250_000, 250_001, 500_000, 500_001, 8_192_000_000, 9_000_000_000]
        {
            let seconds = nanos as f64 / 1e9;
            let want = (0..TIME_BOUNDS).find(|i| seconds <= time_bound(*i)).unwrap_or(TIME_BOUNDS);
            assert_eq!(time_bucket(nanos), want, "{nanos} ns");
        }
    }

    #[test]
    fn one_query_moves_exactly_its_counters() {
        let recorder = Recorder::default();
        let counters = recorder.touch(SeriesId(3));
        let seen = Observation {
            transport: Transport::Udp,
            family: 1,
            qtype: 28,
            dnssec_ok: true,
            query_size: 60,
            reply_size: 512,
            rcode: 3,
            by_chain: true,
        };
        counters.observe_alone(&seen);
        counters.took_alone(1, 300_000);
        assert_eq!(counters.requests[0][1][1].get(), 1);
        assert_eq!(counters.dnssec_ok.get(), 1);
        assert_eq!(counters.responses[1][3].get(), 1);
        assert_eq!(counters.query_size[0].buckets[1].get(), 1);
        assert_eq!(counters.reply_size[0].buckets[6].get(), 1);
        assert_eq!(counters.reply_size[0].sum.get(), 512);
        assert_eq!(counters.duration.buckets[1].get(), 1);
        let total: u64 = counters.requests.iter().flatten().flatten().map(Counter::get).sum();
        assert_eq!(total, 1);
        assert!(recorder.values(SeriesId(2)).is_none());
    }
}
