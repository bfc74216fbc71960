//! Which replies are kept, as what, and for how long (RFC 2308, RFC 9520, and CoreDNS's bounds).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};

use super::{
    config::{Config, Part},
    entry::Kind,
};
use crate::{plugin::Query, wire::rtype};

/// Seconds that a reply without a TTL of its own is kept (CoreDNS's figure).
const NO_TTL: u32 = 5;
/// RRSIG (RFC 4034 §3).
const RRSIG: u16 = 46;

/// What to do with a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Keep it; every record is given this lifetime as its TTL.
    Keep(Kind, Duration),
    /// Good for the one who asked, and not to be kept.
    Pass(Kind),
    /// Not to be kept, and no news about the name either: cut, refused, a transfer.
    Unfit,
    /// It answers another question.
    Mismatch,
}

/// Judges `reply` to `query`.
pub fn judge(query: &Query, reply: &Message, config: &Config) -> Verdict {
    if !answers(query, reply) {
        return Verdict::Mismatch;
    }
    let Some(kind) = kind(query, reply) else { return Verdict::Unfit };
    let keep = match kind {
        Kind::Failure => Some(config.servfail),
        Kind::Denial if !has_soa(reply) => None,
        Kind::Denial => bounded(least_ttl(reply), &config.denial),
        Kind::Answer => bounded(least_ttl(reply), &config.success),
        Kind::Other => {
            let referral = reply.authorities.iter().any(|r| r.record_type() == RecordType::NS);
            let ttl = match least_ttl(reply) {
                Some(0) => Some(0),
                _ if referral => Some(NO_TTL),
                ttl => ttl,
            };
            bounded(ttl, &config.success)
        }
    };
    match keep.filter(|lifetime| !lifetime.is_zero()) {
        Some(lifetime) => Verdict::Keep(kind, lifetime),
        None => Verdict::Pass(kind),
    }
}

/// Whether this is a reply to the question that was asked.
fn answers(query: &Query, reply: &Message) -> bool {
    let [question] = reply.queries.as_slice() else { return false };
    let asked = &query.message.queries[0];
    reply.metadata.message_type == MessageType::Response
        && question.query_type == asked.query_type
        && question.query_class == asked.query_class
        && question.name == asked.name
}

fn kind(query: &Query, reply: &Message) -> Option<Kind> {
    let transfer = matches!(u16::from(query.rtype()), rtype::AXFR | rtype::IXFR);
    let query_again = reply.metadata.op_code == OpCode::Query && !transfer;
    if !query_again || reply.metadata.truncation {
        return None;
    }
    if query.dnssec_ok() && has_expired_signature(reply) {
        return None;
    }
    let empty = reply.answers.is_empty();
    match reply.metadata.response_code {
        ResponseCode::NoError if !empty && is_answered(query, reply) => Some(Kind::Answer),
        ResponseCode::NoError if has_soa(reply) => Some(Kind::Denial),
        // Aliases that lead nowhere, and no SOA to say for how long (RFC 2308 §5).
        ResponseCode::NoError if !empty => None,
        ResponseCode::NoError => Some(Kind::Other),
        ResponseCode::NXDomain if empty => Some(Kind::Denial),
        ResponseCode::ServFail | ResponseCode::NotImp => Some(Kind::Failure),
        _ => None,
    }
}

/// Whether a record of the type asked for stands at the end of the aliases that begin at the name
/// asked for (RFC 1034 §3.6.2). Aliases that fork or loop lead nowhere.
fn is_answered(query: &Query, reply: &Message) -> bool {
    let rtype = query.rtype();
    let answers = &reply.answers;
    let has = |name: &Name, rtype: RecordType| {
        answers.iter().any(|record| record.name == *name && record.record_type() == rtype)
    };
    match rtype {
        RecordType::ANY => answers.iter().any(|record| record.name == *query.name()),
        RecordType::CNAME => matches!(alias(answers, query.name()), Some(Some(_))),
        _ => {
            let mut name = query.name();
            for _ in 0..=answers.len() {
                match alias(answers, name) {
                    Some(Some(target)) => name = target,
                    Some(None) => return has(name, rtype),
                    None => return false,
                }
            }
            false
        }
    }
}

/// The target of `owner`'s alias, if it has one; `None` if it has several.
fn alias<'r>(answers: &'r [Record], owner: &Name) -> Option<Option<&'r Name>> {
    let mut target: Option<&Name> = None;
    for record in answers {
        if let RData::CNAME(alias) = &record.data
            && record.name == *owner
        {
            match target {
                Some(known) if *known != alias.0 => return None,
                _ => target = Some(&alias.0),
            }
        }
    }
    Some(target)
}

fn has_soa(reply: &Message) -> bool {
    reply.authorities.iter().any(|record| record.record_type() == RecordType::SOA)
}

/// The least TTL of all records, and of negative answers the SOA's MINIMUM (RFC 2308 §5). `None`
/// without records.
fn least_ttl(reply: &Message) -> Option<u32> {
    let records = reply.answers.iter().chain(&reply.authorities).chain(&reply.additionals);
    let minimum = reply.authorities.iter().filter_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.minimum),
        _ => None,
    });
    records.map(|record| record.ttl).chain(minimum).min()
}

/// The lifetime within a cache's bounds. A TTL of 0 means that the data may be used for the
/// transaction in progress alone (RFC 1035 §3.2.1).
fn bounded(ttl: Option<u32>, part: &Part) -> Option<Duration> {
    let ttl = ttl.unwrap_or(NO_TTL);
    // The most wins where the two contradict each other.
    let kept = ttl.max(part.min_ttl).min(part.max_ttl);
    (ttl > 0).then(|| Duration::from_secs(u64::from(kept)))
}

fn has_expired_signature(reply: &Message) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as u32;
    let records = reply.answers.iter().chain(&reply.authorities).chain(&reply.additionals);
    records.filter_map(validity).any(|(inception, expiration)| {
        // Serial number arithmetic (RFC 4034 §3.1.5).
        now.wrapping_sub(inception) > i32::MAX as u32
            || expiration.wrapping_sub(now) > i32::MAX as u32
    })
}

/// Inception and expiration of an RRSIG record, in seconds since 1970 modulo 2^32.
fn validity(record: &Record) -> Option<(u32, u32)> {
    let RData::Unknown { code, rdata } = &record.data else { return None };
    if u16::from(*code) != RRSIG {
        return None;
    }
    let field = |at: usize| {
        let octets = rdata.anything.get(at..at + 4)?;
        Some(u32::from_be_bytes(octets.try_into().ok()?))
    };
    Some((field(12)?, field(8)?))
}
