//! `timeouts { read DURATION ... }`.

use std::{num::NonZeroUsize, time::Duration};

use crate::corefile::{
    cause::Cause,
    checker::Checker,
    tree::{Line, Token},
};

const PROPERTIES: &[&str] = &["read", "write", "idle", "maxtcpqueries"];
/// The shortest and the longest time that CoreDNS takes.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of `timeouts`; what is not set keeps the server's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Config {
    /// For a query to arrive once it has begun.
    pub read: Option<Duration>,
    /// For a client to take a reply.
    pub write: Option<Duration>,
    /// Without a query, until a connection is closed.
    pub idle: Option<Duration>,
    /// Queries on one connection (TCP and TLS).
    pub queries: Option<Queries>,
}

/// How many queries a connection may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queries {
    /// Any number.
    Unlimited,
    /// So many; then it is closed.
    Most(NonZeroUsize),
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.none(line);
    let mut config = Config::default();
    let properties = cx.properties(line);
    if properties.is_empty() {
        let cause = Cause::Conflict("`timeouts` needs at least one timeout in its block");
        cx.mistake_with(line.span(), cause, "put a line such as `idle 30s` in it");
        return None;
    }
    for property in properties {
        let name = &*property.name().text;
        if !PROPERTIES.contains(&name) {
            cx.unknown(property, PROPERTIES);
            continue;
        }
        let want = if name == "maxtcpqueries" { "a number" } else { "a duration" };
        let Some(value) = cx.one(property, want) else { continue };
        match name {
            "read" => config.read = time(value, cx),
            "write" => config.write = time(value, cx),
            "idle" => config.idle = time(value, cx),
            _ => config.queries = queries(value, cx),
        }
    }
    Some(config)
}

fn time(token: &Token, cx: &mut Checker<'_>) -> Option<Duration> {
    // CoreDNS takes a bare number for seconds here.
    let seconds = token.text.parse().ok().map(Duration::from_secs);
    let time = seconds.or_else(|| cx.duration(token, "a timeout"))?;
    if !(SHORTEST..=LONGEST).contains(&time) {
        cx.out_of_range(token, "a timeout", "from 1s to 24h");
        return None;
    }
    Some(time)
}

fn queries(token: &Token, cx: &mut Checker<'_>) -> Option<Queries> {
    match cx.integer(token, "the number of queries", -1..=i64::from(u32::MAX))? {
        -1 => Some(Queries::Unlimited),
        number => {
            let most = usize::try_from(number).ok().and_then(NonZeroUsize::new);
            if most.is_none() {
                cx.out_of_range(token, "the number of queries", "-1 (any number) or 1 and more");
            }
            most.map(Queries::Most)
        }
    }
}
