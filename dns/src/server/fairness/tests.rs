//! A worker under load, as far as its accounts see it. What a query costs is simulated.

use super::*;

/// Processor time for a datagram that is received, and for one that is answered.
const RECEIVED: Duration = Duration::from_nanos(800);
const ANSWERED: Duration = Duration::from_nanos(4_600);

/// A worker with a quota of a fifth of a core, and the kernel before it.
struct Rig {
    fairness: Fairness,
    now: Instant,
    spent: Duration,
    /// Sources with datagrams a millisecond.
    sources: Vec<(Source, u32)>,
    /// What the kernel lets through, in thousandths, of sources that it thins.
    thinned: Vec<(Source, u32)>,
    /// By source: datagrams sent, datagrams answered.
    seen: Vec<(u32, u32)>,
    /// What an answer costs, beside [`ANSWERED`].
    extra: Duration,
    /// Whether batches are full.
    full: bool,
}

impl Rig {
    fn new(sources: &[u32]) -> Self {
        let sources: Vec<(Source, u32)> =
            (1..).map(Source::V4).zip(sources.iter().copied()).collect();
        Rig {
            fairness: Fairness::new(Quota::of(0.2)),
            now: Instant::now(),
            spent: Duration::ZERO,
            seen: vec![(0, 0); sources.len()],
            sources,
            thinned: Vec::new(),
            extra: Duration::ZERO,
            full: false,
        }
    }

    /// Runs for so many milliseconds, a batch in each; gives the share of the quota that was used.
    fn run(&mut self, millis: u32) -> f64 {
        let before = self.spent;
        self.seen.fill((0, 0));
        for milli in 0..millis {
            for (at, (source, rate)) in self.sources.clone().into_iter().enumerate() {
                for n in 0..rate {
                    self.seen[at].0 += 1;
                    let pass = self.thinned.iter().find(|(thinned, _)| *thinned == source);
                    // Even steps instead of lots.
                    let lot = (milli * rate + n) * 379 % 1000;
                    if pass.is_some_and(|(_, pass)| lot >= *pass) {
                        continue;
                    }
                    self.spent += RECEIVED;
                    if self.fairness.admits(source) {
                        self.spent += ANSWERED + self.extra;
                        self.seen[at].1 += 1;
                    }
                }
            }
            self.now += Duration::from_millis(1);
            let spent = self.spent;
            self.fairness.note_batch(self.now, self.full, || spent);
            self.thinned = match &self.fairness.scarcity {
                Some(scarcity) => {
                    let told = scarcity.told().iter();
                    told.map(|(source, pass)| (*source, (pass * 1000.0) as u32)).collect()
                }
                None => Vec::new(),
            };
        }
        (self.spent - before).as_secs_f64() / (f64::from(millis) / 1000.0 * 0.2)
    }
}

#[test]
fn a_flood_leaves_the_quota_unspent_and_the_quiet_one_answered() {
    let mut rig = Rig::new(&[130, 1]);
    rig.run(1_000);
    let load = rig.run(2_000);
    assert!((0.5..0.85).contains(&load), "{load}");
    let [flood, quiet] = rig.seen[..] else { panic!("two sources") };
    assert_eq!(quiet.0, quiet.1, "all of the quiet one's are answered");
    assert!(flood.1 > 20_000, "the flood has what is left: {flood:?}");
}

#[test]
fn when_the_flood_ends_nothing_is_dropped_any_more() {
    let mut rig = Rig::new(&[130, 1]);
    rig.run(1_000);
    rig.sources[0].1 = 1;
    rig.run(3_000);
    assert!(rig.fairness.scarcity.is_none());
    rig.run(1_000);
    assert_eq!(rig.seen, [(1_000, 1_000), (1_000, 1_000)]);
}

#[test]
fn who_asks_alone_has_everything() {
    let mut rig = Rig::new(&[130]);
    rig.run(2_000);
    assert_eq!(rig.seen, [(260_000, 260_000)]);
}

#[test]
fn many_that_ask_alike_are_held_alike() {
    let mut rig = Rig::new(&[4; 30]);
    rig.run(1_000);
    let load = rig.run(2_000);
    assert!((0.5..0.9).contains(&load), "{load}");
    let (least, most) =
        rig.seen.iter().fold((u32::MAX, 0), |(low, high), (_, n)| (low.min(*n), high.max(*n)));
    assert!(least > 0 && most < 2 * least, "from {least} to {most}");
}

#[test]
fn with_time_enough_nothing_is_dropped() {
    let mut rig = Rig::new(&[10, 5, 1]);
    let load = rig.run(3_000);
    assert!(load < 0.85, "{load}");
    assert!(rig.seen.iter().all(|(sent, answered)| sent == answered));
}

#[test]
fn other_work_does_not_starve_those_who_ask_little() {
    let mut rig = Rig::new(&[1, 1]);
    // Something else uses all that there is.
    rig.extra = Duration::from_millis(2);
    rig.run(3_000);
    // 2,000 a second and core: 400.
    rig.run(1_000);
    let answered: u32 = rig.seen.iter().map(|(_, answered)| answered).sum();
    assert!(answered >= 350, "{:?}", rig.seen);
}

#[test]
fn a_queue_that_stays_full_is_a_flood_and_a_burst_is_none() {
    // One core of a machine may be busy while the others are not.
    let mut rig = Rig::new(&[30, 1]);
    rig.fairness.quota = Quota::of(4.0);
    rig.full = true;
    rig.run(110);
    assert!(rig.fairness.scarcity.is_none());
    rig.full = false;
    rig.run(1_000);
    assert!(rig.fairness.scarcity.is_none() && rig.seen[0].0 == rig.seen[0].1);
    rig.full = true;
    rig.run(1_000);
    let [flood, quiet] = rig.seen[..] else { panic!("two sources") };
    assert!(flood.1 < flood.0 && quiet.0 == quiet.1, "{:?}", rig.seen);
}
