//! `cache [TTL] [ZONES...]`.

use std::time::Duration;

use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::{Line, Token};
use crate::corefile::values::is_duration;

/// Entries that each of the two caches holds when nothing else is said (9984 is CoreDNS's figure).
pub const DEFAULT_CAPACITY: u32 = 9984;
/// Most that SERVFAIL may be kept (RFC 2308 §7.1).
const MAX_SERVFAIL: Duration = Duration::from_secs(300);
/// CoreDNS has 256 shards of at least 4 entries each.
const SHARDS: u32 = 256;
const MAX_TTL: u32 = i32::MAX as u32;
const PROPERTIES: &[&str] = &[
    "success",
    "denial",
    "prefetch",
    "serve_stale",
    "serve_stale_policy",
    "servfail",
    "disable",
    "keepttl",
];

/// The settings of `cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Names in these are cached.
    pub zones: Vec<Domain>,
    /// Replies with an answer.
    pub success: Part,
    /// NXDOMAIN and replies without data.
    pub denial: Part,
    /// Names that are about to expire and much asked for are asked again.
    pub prefetch: Prefetch,
    /// Whether what has expired is still served; `None` without `serve_stale`.
    pub stale: Option<Stale>,
    /// How long SERVFAIL is kept, at most 5 min; 0 not at all.
    pub servfail: Duration,
    /// TTLs are given as they were received and do not count down.
    pub keep_ttl: bool,
}

/// One of the two caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Entries, a multiple of 256 and at least 1024.
    pub capacity: u32,
    /// Most seconds that an entry is kept; wins over `min_ttl`.
    pub max_ttl: u32,
    /// Fewest seconds that an entry is kept.
    pub min_ttl: u32,
    /// Names in these are not kept.
    pub disabled: Vec<Domain>,
}

/// When entries are renewed before they expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefetch {
    /// So many queries make a name worth it; 0 turns this off.
    pub amount: u32,
    /// Queries count together that are no further apart than this.
    pub within: Duration,
    /// Renewed when less of the TTL is left than this, 10 to 90 per cent.
    pub percentage: u8,
}

/// How long and how what has expired is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// How long after it expired.
    pub up_to: Duration,
    /// Whether upstream is asked first.
    pub refresh: Refresh,
    /// The TTL that stale replies carry, in seconds.
    pub ttl: u32,
    /// After a failed renewal the next one waits this long, at most 5 min.
    pub recheck: Duration,
    /// A stale answer is served rather than a fresh denial.
    pub prefer_positive: bool,
}

/// When upstream is asked about a stale entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// After the stale reply went out.
    Immediate,
    /// Before, for so long; `None` as long as upstream takes to fail.
    Verify(Option<Duration>),
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let (ttl, zones) = ttl_and_zones(line, cx);
    let part =
        |max_ttl| Part { capacity: DEFAULT_CAPACITY, max_ttl, min_ttl: 5, disabled: Vec::new() };
    let mut config = Config {
        zones: cx.zones_or_served(zones),
        success: part(ttl.unwrap_or(3600)),
        denial: part(ttl.unwrap_or(1800)),
        prefetch: Prefetch { amount: 0, within: Duration::from_secs(60), percentage: 10 },
        stale: None,
        servfail: Duration::from_secs(5),
        keep_ttl: false,
    };
    let mut policy: Option<&Line> = None;
    for property in cx.properties(line) {
        match &*property.name().text {
            "success" => capacity(property, &mut config.success, cx),
            "denial" => capacity(property, &mut config.denial, cx),
            "prefetch" => {
                config.prefetch =
                    prefetch(property, config.prefetch, cx).unwrap_or(config.prefetch);
            }
            "serve_stale" => config.stale = stale(property, cx),
            "serve_stale_policy" => {
                if policy.is_some() {
                    let cause =
                        Cause::Once { name: "serve_stale_policy".to_owned(), place: "block" };
                    cx.mistake(property.span(), cause);
                }
                policy = Some(property);
                if let Some(token) = cx.one(property, "one argument, prefer_positive") {
                    cx.choice(&lower(token), "a policy", &[("prefer_positive", ())]);
                }
            }
            "servfail" => config.servfail = servfail(property, cx).unwrap_or(config.servfail),
            "disable" => disable(property, &mut config, cx),
            "keepttl" => config.keep_ttl |= cx.none(property),
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    if let Some(policy) = policy {
        match &mut config.stale {
            Some(stale) => stale.prefer_positive = true,
            None => cx.mistake(
                policy.span(),
                Cause::Conflict("`serve_stale_policy` needs `serve_stale`"),
            ),
        }
    }
    Some(config)
}

/// The first argument is a TTL if it is a number; the others are zones.
fn ttl_and_zones<'l>(line: &'l Line, cx: &mut Checker<'_>) -> (Option<u32>, &'l [Token]) {
    let Some((first, rest)) = line.args().split_first() else { return (None, &[]) };
    let digits = first.text.trim_start_matches(['+', '-']);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return (ttl(first, cx), rest);
    }
    if is_duration(&first.text) {
        let cause =
            Cause::Value { found: first.text.to_string(), want: "a TTL or a zone".to_owned() };
        cx.mistake_with(first.span, cause, "the TTL is a number of seconds without a unit");
        return (None, rest);
    }
    (None, line.args())
}

fn ttl(token: &Token, cx: &mut Checker<'_>) -> Option<u32> {
    cx.integer(token, "the TTL in seconds", 1..=MAX_TTL)
}

fn capacity(line: &Line, part: &mut Part, cx: &mut Checker<'_>) {
    let Some(args) = cx.args(line, 1..=3, "a capacity, and perhaps a TTL and a least TTL") else {
        return;
    };
    if let Some(entries) = cx.integer(&args[0], "the capacity", 0..=u32::MAX) {
        part.capacity = (entries / SHARDS).max(4) * SHARDS;
    }
    if let Some(max_ttl) = args.get(1).and_then(|token| ttl(token, cx)) {
        part.max_ttl = max_ttl;
    }
    let Some(token) = args.get(2) else { return };
    if let Some(min_ttl) = cx.integer(token, "the least TTL in seconds", 0..=MAX_TTL) {
        part.min_ttl = min_ttl;
        if min_ttl > part.max_ttl {
            cx.mistake(token.span, Cause::Conflict("the least TTL is above the greatest"));
        }
    }
}

fn prefetch(line: &Line, mut config: Prefetch, cx: &mut Checker<'_>) -> Option<Prefetch> {
    let args = cx.args(line, 1..=3, "an amount, and perhaps a duration and a percentage")?;
    config.amount = cx.integer(&args[0], "the amount of queries", 0..=u32::MAX)?;
    if let Some(token) = args.get(1) {
        config.within = cx.duration(token, "the duration")?;
    }
    if let Some(token) = args.get(2) {
        let Some(digits) = token.text.strip_suffix('%') else {
            let cause =
                Cause::Value { found: token.text.to_string(), want: "a percentage".to_owned() };
            cx.mistake_with(token.span, cause, "write it like `10%`");
            return None;
        };
        let number = Token { text: digits.into(), ..token.clone() };
        config.percentage = cx.integer(&number, "the percentage", 10..=90)?;
    }
    Some(config)
}

fn stale(line: &Line, cx: &mut Checker<'_>) -> Option<Stale> {
    const WANT: &str =
        "at most a duration, immediate or verify with a timeout, a TTL, and a recheck time";
    let mut stale = Stale {
        up_to: Duration::from_secs(3600),
        refresh: Refresh::Immediate,
        ttl: 0,
        recheck: Duration::ZERO,
        prefer_positive: false,
    };
    let mut args = cx.args(line, 0..=5, WANT)?.iter();
    if let Some(token) = args.next() {
        stale.up_to = cx.duration(token, "how long stale entries are served")?;
    }
    if let Some(token) = args.next()
        && cx.choice(
            &lower(token),
            "a way to refresh",
            &[("immediate", false), ("verify", true)],
        )?
    {
        let timeout = match args.next() {
            Some(token) => {
                Some(cx.duration(token, "the timeout")?).filter(|timeout| !timeout.is_zero())
            }
            None => None,
        };
        stale.refresh = Refresh::Verify(timeout);
    }
    if let Some(token) = args.next() {
        stale.ttl = whole_seconds(token, cx)?;
    }
    if let Some(token) = args.next() {
        stale.recheck = cx.duration(token, "the recheck time")?;
        if stale.recheck > MAX_SERVFAIL {
            cx.out_of_range(token, "the recheck time", "5m or less");
        }
    }
    if let Some(surplus) = args.next() {
        let cause = Cause::Arguments {
            name: "serve_stale".into(),
            want: WANT.into(),
            found: line.args().len(),
        };
        cx.mistake(surplus.span, cause);
    }
    Some(stale)
}

/// The words of `serve_stale` may be in capitals.
fn lower(token: &Token) -> Token {
    Token { text: token.text.to_lowercase().into(), ..token.clone() }
}

fn whole_seconds(token: &Token, cx: &mut Checker<'_>) -> Option<u32> {
    let ttl = cx.duration(token, "the TTL of stale replies")?;
    let seconds = u32::try_from(ttl.as_secs()).ok().filter(|_| ttl.subsec_nanos() == 0);
    if seconds.is_none() {
        cx.out_of_range(token, "the TTL of stale replies", "whole seconds up to 4294967295s");
    }
    seconds
}

fn servfail(line: &Line, cx: &mut Checker<'_>) -> Option<Duration> {
    let token = cx.one(line, "one argument, a duration")?;
    let duration = cx.duration(token, "the time SERVFAIL is kept")?;
    if duration > MAX_SERVFAIL {
        cx.out_of_range(token, "the time SERVFAIL is kept", "5m or less (RFC 2308 §7.1)");
    }
    Some(duration)
}

fn disable(line: &Line, config: &mut Config, cx: &mut Checker<'_>) {
    let Some([which, zones @ ..]) = cx.some(line, "success or denial, and perhaps zones") else {
        return;
    };
    let Some(success) = cx.choice(which, "a cache", &[("success", true), ("denial", false)]) else {
        return;
    };
    let zones = if zones.is_empty() {
        vec![Domain::root()]
    } else {
        zones.iter().filter_map(|zone| cx.domain(zone)).collect()
    };
    if success { config.success.disabled = zones } else { config.denial.disabled = zones }
}
