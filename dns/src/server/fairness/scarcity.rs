//! What holds while processor time is scarce: how much there is time for, and what of it each source may
//! have.

use std::time::{Duration, Instant};

use super::{
    INTERVAL,
    sketch::{Sketch, Source},
};

/// Sources that the kernel thins at most; what more there are is dropped after it was received.
const THINNED: usize = 8;
/// The least share that the kernel lets through: with none, nobody would notice that a source ended.
const LEAST_PASS: f64 = 0.001;
/// What a thinned source may have above its share before it is dropped here: the kernel draws lots.
const SLACK: f64 = 1.25;
/// Queries a second and core that there is always time for, whatever else the process does.
const LEAST_BUDGET: f64 = 2_000.0;
/// Scarcity is over when everything would have fitted for so long.
const CALM: Duration = Duration::from_secs(1);

/// Budget and shares of one worker.
pub(super) struct Scarcity {
    /// Queries a second that there is time for.
    budget: f64,
    /// The least that it may become.
    least: f64,
    /// Datagrams that a source may send in an interval.
    share: f64,
    thinned: Vec<Thinned>,
    /// What the kernel was told last.
    told: Vec<(Source, f64)>,
    /// Since when everything would have fitted.
    calm: Option<Instant>,
}

/// A source of which the kernel drops some.
struct Thinned {
    source: Source,
    /// Share that comes through.
    pass: f64,
    /// Datagrams that came through in this interval.
    passed: u32,
}

impl Thinned {
    /// Datagrams that were sent in this interval, as far as one can tell.
    fn sent(&self) -> f64 {
        f64::from(self.passed) / self.pass
    }
}

impl Scarcity {
    /// With time for `budget` queries a second, on so many cores.
    pub(super) fn new(budget: f64, cores: f64) -> Self {
        Scarcity {
            budget,
            least: LEAST_BUDGET * cores,
            share: f64::INFINITY,
            thinned: Vec::with_capacity(THINNED),
            told: Vec::with_capacity(THINNED),
            calm: None,
        }
    }

    /// Counts a datagram; tells whether its source has not had its share.
    pub(super) fn admits(&mut self, source: Source, sketch: &mut Sketch) -> bool {
        if let Some(thinned) = self.thinned.iter_mut().find(|thinned| thinned.source == source) {
            thinned.passed += 1;
            return f64::from(thinned.passed) <= self.share * SLACK;
        }
        let sent = sketch.add(source);
        if f64::from(sent) <= self.share {
            return true;
        }
        if self.thinned.len() < THINNED {
            sketch.forget(source, sent);
            self.thinned.push(Thinned { source, pass: 1.0, passed: sent });
        }
        false
    }

    /// Sources of which the kernel shall drop some.
    pub(super) fn thinned(&self) -> usize {
        self.thinned.len()
    }

    /// What a source may ask in a second.
    pub(super) fn rate(&self) -> f64 {
        self.share / INTERVAL.as_secs_f64()
    }

    /// Ends an interval of `seconds`: there was time for `times` what was done. Tells whether scarcity
    /// lasts.
    pub(super) fn adjust(
        &mut self,
        now: Instant,
        times: f64,
        seconds: f64,
        sketch: &Sketch,
    ) -> bool {
        self.budget = (self.budget * times.clamp(0.5, 1.5)).max(self.least);
        let wants = || {
            let thinned = self.thinned.iter().map(Thinned::sent);
            sketch.counts().map(f64::from).chain(thinned)
        };
        let level = level(wants, self.budget * seconds);
        // What one may have in this interval, and so in the next.
        self.share = level.map_or(f64::INFINITY, |level| level / seconds * INTERVAL.as_secs_f64());
        for thinned in &mut self.thinned {
            let wanted = level.map_or(1.0, |level| level / thinned.sent().max(1.0));
            // Down at once, up by steps: what did not come through is a guess.
            thinned.pass = wanted.clamp(LEAST_PASS, (2.0 * thinned.pass).min(1.0));
            thinned.passed = 0;
        }
        self.thinned.retain(|thinned| thinned.pass < 1.0);
        if level.is_some() {
            self.calm = None;
            return true;
        }
        now.duration_since(*self.calm.get_or_insert(now)) < CALM
    }

    /// The sources to be thinned and what shall come through of each, if that is news for the kernel.
    pub(super) fn news(&mut self) -> Option<&[(Source, f64)]> {
        let close = |thinned: &Thinned, told: &(Source, f64)| {
            thinned.source == told.0 && (thinned.pass / told.1 - 1.0).abs() < 0.1
        };
        let known = self.thinned.len() == self.told.len()
            && self.thinned.iter().zip(&self.told).all(|(thinned, told)| close(thinned, told));
        if known {
            // The kernel does what it was told: counts are scaled by that.
            let told = self.thinned.iter_mut().zip(&self.told);
            told.for_each(|(thinned, told)| thinned.pass = told.1);
            return None;
        }
        self.told.clear();
        self.told.extend(self.thinned.iter().map(|thinned| (thinned.source, thinned.pass)));
        Some(&self.told)
    }

    /// What the kernel was told last.
    pub(super) fn told(&self) -> &[(Source, f64)] {
        &self.told
    }
}

/// The most that each may have so that all together have `room`: who wants less has all that he wants.
/// `None` if all fits.
fn level<W: Iterator<Item = f64>>(wants: impl Fn() -> W, room: f64) -> Option<f64> {
    let (total, most) =
        wants().fold((0.0, 0.0), |(total, most): (f64, f64), want| (total + want, most.max(want)));
    if total <= room {
        return None;
    }
    let (mut low, mut high) = (0.0, most);
    // A millionth of the greediest one's wants is near enough.
    for _ in 0..20 {
        let middle = (low + high) / 2.0;
        let taken: f64 = wants().map(|want| want.min(middle)).sum();
        if taken > room { high = middle } else { low = middle }
    }
    Some(low.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_little_has_it_all_and_the_greedy_share_the_rest() {
        let level = |wants: &[f64], room| level(|| wants.iter().copied(), room);
        let close = |level: Option<f64>, wanted: f64| {
            assert!((level.expect("a level") - wanted).abs() < 0.01, "{level:?}, not {wanted}");
        };
        assert_eq!(level(&[1.0, 2.0, 3.0], 6.0), None);
        assert_eq!(level(&[], 0.0), None);
        close(level(&[10.0, 1000.0], 500.0), 490.0);
        close(level(&[10.0, 600.0, 1000.0], 500.0), 245.0);
        close(level(&[100.0; 5], 250.0), 50.0);
    }

    #[test]
    fn whoever_sends_too_much_is_thinned_and_freed_when_it_ends() {
        let (greedy, quiet) = (Source::V4(1), Source::V4(2));
        let (mut sketch, mut scarcity) = (Sketch::default(), Scarcity::new(10_000.0, 1.0));
        let mut now = Instant::now();
        let mut interval = |scarcity: &mut Scarcity, sent: u32| {
            sketch.clear();
            let taken = (0..sent).filter(|_| scarcity.admits(greedy, &mut sketch)).count();
            assert!((0..5).all(|_| scarcity.admits(quiet, &mut sketch)), "the quiet one has all");
            now += INTERVAL;
            (taken, scarcity.adjust(now, 1.0, 0.1, &sketch))
        };
        assert_eq!(interval(&mut scarcity, 10_000), (10_000, true));
        let (taken, _) = interval(&mut scarcity, 10_000);
        assert!((900..=1250).contains(&taken), "{taken}");
        let news = scarcity.news().expect("something to tell").to_vec();
        let [(source, pass)] = news[..] else { panic!("{news:?}") };
        assert!(source == greedy && (0.09..0.11).contains(&pass), "{news:?}");
        // The kernel lets a tenth through: that is its share, and nothing new.
        let (taken, _) = interval(&mut scarcity, 1_000);
        assert!(taken > 900 && scarcity.news().is_none());
        // It ends; what it sends now comes through more and more.
        let lasting = (0..50).take_while(|_| interval(&mut scarcity, 0).1).count();
        assert!((10..20).contains(&lasting), "{lasting} intervals");
        assert_eq!((scarcity.thinned(), scarcity.news().map(<[_]>::len)), (0, Some(0)));
    }
}
