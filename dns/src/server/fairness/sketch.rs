//! How many datagrams each source sent, in fixed room and whatever the number of sources: a count-min
//! sketch. A source that shares one counter with a busy one is told from it by its other counter.

use std::{hash::BuildHasher, net::IpAddr};

use foldhash::fast::RandomState;

/// Counters of a row; a power of two.
const WIDTH: usize = 512;

/// Who is counted as one: an IPv4 address, or the network that one IPv6 host may take its addresses
/// from (RFC 4291 §2.5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// An address.
    V4(u32),
    /// The first half of an address.
    V6(u64),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Source::V4(address.to_bits()),
            IpAddr::V6(address) => Source::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// Counts since it was cleared.
pub(super) struct Sketch {
    rows: [[u32; WIDTH]; 2],
    /// Others than those of the last time: who shares counters today does not tomorrow.
    hasher: RandomState,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { rows: [[0; WIDTH]; 2], hasher: RandomState::default() }
    }
}

impl Sketch {
    /// Counts one; gives how many the source sent so far, or more.
    pub(super) fn add(&mut self, source: Source) -> u32 {
        let [first, second] = self.counters(source);
        *first = first.saturating_add(1);
        *second = second.saturating_add(1);
        (*first).min(*second)
    }

    /// Takes `count` of a source's datagrams out again.
    pub(super) fn forget(&mut self, source: Source, count: u32) {
        for counter in self.counters(source) {
            *counter = counter.saturating_sub(count);
        }
    }

    fn counters(&mut self, source: Source) -> [&mut u32; 2] {
        let hash = self.hasher.hash_one(source);
        let [first, second] = &mut self.rows;
        [&mut first[hash as usize % WIDTH], &mut second[(hash >> 32) as usize % WIDTH]]
    }

    /// Counts that are not zero, each of one source or of several.
    pub(super) fn counts(&self) -> impl Iterator<Item = u32> + '_ {
        self.rows[0].iter().copied().filter(|count| *count != 0)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Sketch::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_source_is_told_from_a_busy_one() {
        let mut sketch = Sketch::default();
        (0..100_000).for_each(|_| {
            sketch.add(Source::V4(1));
        });
        // Two counters of 512 each: some sources share one with the busy one, hardly any shares both.
        let unlucky = (2..2_002).filter(|source| sketch.add(Source::V4(*source)) > 10_000).count();
        assert!(unlucky < 5, "{unlucky} of 2,000");
        assert_eq!(sketch.counts().map(u64::from).sum::<u64>(), 102_000);
        sketch.clear();
        assert_eq!(sketch.counts().count(), 0);
    }

    #[test]
    fn a_host_counts_once_however_many_addresses_it_takes() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
    }
}
