//! `reload [INTERVAL] [JITTER]`.

use std::time::Duration;

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// Time between two looks at the Corefile when none is given.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
/// Spread of that time when none is given.
pub const DEFAULT_JITTER: Duration = Duration::from_secs(15);
const MIN_INTERVAL: Duration = Duration::from_secs(2);
const MIN_JITTER: Duration = Duration::from_secs(1);

/// The settings of `reload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Time between two looks at the Corefile, at least 2 s.
    pub interval: Duration,
    /// The whole width within which the interval is varied, half to each side; 0, or 1 s to half the interval.
    pub jitter: Duration,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.no_block(line);
    let args = cx.args(line, 0..=2, "at most two arguments, interval and jitter")?;
    let mut config = Config { interval: DEFAULT_INTERVAL, jitter: DEFAULT_JITTER };
    let mut good = true;
    if let Some(token) = args.first() {
        match cx.duration(token, "the interval") {
            Some(interval) if interval < MIN_INTERVAL => {
                cx.out_of_range(token, "the interval", "2s or more");
                good = false;
            }
            Some(interval) => config.interval = interval,
            None => good = false,
        }
    }
    if let Some(token) = args.get(1) {
        match cx.duration(token, "the jitter") {
            Some(jitter) if !jitter.is_zero() && jitter < MIN_JITTER => {
                cx.out_of_range(token, "the jitter", "0s, or 1s or more");
                good = false;
            }
            Some(jitter) => config.jitter = jitter,
            None => good = false,
        }
    }
    config.jitter = config.jitter.min(config.interval / 2);
    good.then_some(config)
}
