//! The long way: a message object through a block's plugin chain, and the reply fitted to the client.

use std::sync::Arc;

use hickory_proto::{
    op::{Edns, Header, HeaderCounts, Message, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record,
        rdata::opt::{EdnsCode, EdnsOption, OPT},
    },
    serialize::binary::{BinEncodable, BinEncoder},
};

use super::{
    messages::Messages,
    routes::{Block, Routes},
};
use crate::{
    metrics::{Recorder, counters::Observation},
    plugin::{Answer, Failure, FailureReason, Origin, Query, Upward, family},
    plugins::{debug, metadata::Metadata, trace::span::Current},
    wire::{
        HEADER, MAX_MESSAGE, MIN_UDP,
        name::FoldedName,
        query::{self, Shape},
        rcode, reply,
    },
};

/// EDNS option code of Extended DNS Errors (RFC 8914).
const EDE: u16 = 15;

/// Info-codes of Extended DNS Errors (RFC 8914 §4).
pub mod ede {
    /// Nothing more precise.
    pub const OTHER: u16 = 0;
    /// The answer has expired, and there is no other now (RFC 8767).
    pub const STALE_ANSWER: u16 = 3;
    /// The failure happened before, and is remembered (RFC 9520).
    pub const CACHED_ERROR: u16 = 13;
    /// The server's policy blocks the name or the client.
    pub const BLOCKED: u16 = 15;
    /// The server's policy leaves out what the client asked for.
    pub const FILTERED: u16 = 17;
    /// That the name does not exist has expired, and there is no other answer now.
    pub const STALE_NXDOMAIN: u16 = 19;
}

/// Options that concern two neighbours alone: cookies (RFC 7873), keepalive (RFC 7828), padding
/// (RFC 7830). What an upstream says in them is not for our client.
pub(crate) const OF_ONE_HOP: [EdnsCode; 3] =
    [EdnsCode::Cookie, EdnsCode::Keepalive, EdnsCode::Padding];

/// Why a request goes the long way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Its client waits for the reply.
    Reply,
    /// Its client was answered on the short way; the cache's entry is to be renewed. Nothing is
    /// counted or logged a second time.
    Renewal,
}

/// A reply, and the messages that follow it if it is a zone transfer.
pub struct Replies {
    /// The first message, mostly the only one.
    pub first: Vec<u8>,
    /// Those that follow.
    pub rest: Option<Messages>,
}

impl From<Vec<u8>> for Replies {
    fn from(first: Vec<u8>) -> Self {
        Replies { first, rest: None }
    }
}

/// Answers one request with one message. `None` where none is due.
pub async fn answer(
    routes: &Arc<Routes>,
    recorder: &Recorder,
    request: &[u8],
    origin: Origin,
    purpose: Purpose,
) -> Option<Vec<u8>> {
    Some(replies(routes, recorder, request, origin, purpose).await?.first)
}

/// Answers one request. `None` where no answer is due.
pub async fn replies(
    routes: &Arc<Routes>,
    recorder: &Recorder,
    request: &[u8],
    origin: Origin,
    purpose: Purpose,
) -> Option<Replies> {
    let mut name = FoldedName::default();
    match query::read(request, &mut name) {
        Shape::Ignore => return None,
        Shape::Reject(code) => return Some(rejected(request, code).into()),
        Shape::Plain(_) | Shape::Odd => {}
    }
    let message = match Message::from_vec(request) {
        Ok(message) if message.queries.len() == 1 => message,
        _ => {
            debug::dump(
                request,
                format_args!("no query can be made of this from {}", origin.client),
            );
            return Some(rejected(request, rcode::FORMERR).into());
        }
    };
    let upward = Upward { routes: Arc::clone(routes), depth: 0 };
    let query = Query {
        message: Arc::new(message),
        size: request.len(),
        origin,
        upward,
        metadata: Metadata::default(),
        labels: Arc::default(),
        span: Current::default(),
    };
    if let Some(edns) = query.message.edns.as_ref().filter(|edns| edns.version() != 0) {
        return fit(&bad_version(&query, edns), query.size_limit()).map(Replies::from);
    }
    let in_class = query.class() == DNSClass::IN || routes.other_classes;
    let routed = if in_class { routes.route(&query) } else { None };
    let Some((block, query)) = routed else {
        let reply = finished(&query, Answer::with_code(&query, ResponseCode::Refused));
        let bytes = fit(&reply, query.size_limit())?;
        let seen = observation(&query, reply.metadata.response_code, bytes.len(), false);
        recorder.touch(routes.dropped).observe(&seen, nanos(&query));
        return Some(bytes.into());
    };
    let query = block.bounded(query);
    let mut visit = match purpose {
        Purpose::Reply => block.taps.query(&query, request),
        Purpose::Renewal => None,
    };
    let outcome = block.run(&query).await;
    if matches!(&outcome, Err(failure) if failure.reason == FailureReason::Dropped) {
        // Counted as CoreDNS counts it: a reply of no octets that no plugin wrote.
        note(block, recorder, &query, &Answer::to(&query).message, &[], false);
        return None;
    }
    let (mut answer, by_chain) = block.settle(&query, outcome);
    if purpose == Purpose::Renewal {
        return None;
    }
    let transfer = answer.transfer.take();
    let reply = finished(&query, answer);
    let mut rest = transfer.map(|transfer| Messages::of(&reply, &transfer).told(visit.take()));
    let first = match &mut rest {
        Some(messages) => messages.next()?,
        None => fit(&reply, query.size_limit())?,
    };
    note(block, recorder, &query, &reply, &first, by_chain);
    if let Some(visit) = &visit {
        visit.answered(&first);
    }
    Some(Replies { first, rest })
}

/// Reads a message name into `folded`. `None` never happens for names off the wire.
pub fn fold(name: &Name, folded: &mut FoldedName) -> Option<()> {
    let mut wire = Vec::with_capacity(name.len() + 1);
    for label in name {
        wire.push(label.len() as u8);
        wire.extend(label);
    }
    wire.push(0);
    folded.read(&wire, 0).map(|_| ())
}

/// The reply for a failure: its code, and an Extended DNS Error where it has one.
pub fn failed(query: &Query, failure: &Failure) -> Answer {
    let mut answer = Answer::with_code(query, failure.code);
    match &failure.reason {
        FailureReason::Upstream { to, what, ede } => {
            add_extended_error(&mut answer.message, *ede, &format!("{to}: {what}"));
        }
        FailureReason::Deadline(_) => {
            add_extended_error(&mut answer.message, ede::OTHER, &failure.reason.to_string());
        }
        _ => {}
    }
    answer
}

/// Adds an Extended DNS Error (RFC 8914); it leaves only if the client sent an OPT.
pub fn add_extended_error(message: &mut Message, code: u16, text: &str) {
    let mut data = code.to_be_bytes().to_vec();
    data.extend(text.as_bytes().iter().take(200));
    let edns = message.edns.get_or_insert_with(Edns::new);
    edns.options_mut().insert(EdnsOption::Unknown(EDE, data));
}

/// Sets what every reply has: id and question of the query, and an OPT exactly if it had one.
///
/// The client's options are not echoed. Of those in the answer, from a plugin or an upstream, it gets
/// an Extended DNS Error and what it has itself asked for: the answer may have been fetched for
/// somebody else.
fn finished(query: &Query, answer: Answer) -> Message {
    let mut reply = answer.message;
    let request = &query.message;
    reply.metadata.id = request.metadata.id;
    reply.queries = request.queries.clone();
    let own = reply.edns.take();
    reply.edns = request.edns.as_ref().map(|asked| {
        let mut edns = Edns::new();
        edns.set_max_payload(asked.max_payload());
        edns.set_dnssec_ok(asked.flags().dnssec_ok);
        let wanted = |code: EdnsCode| {
            code == EdnsCode::Unknown(EDE)
                || (asked.option(code).is_some() && !OF_ONE_HOP.contains(&code))
        };
        for (code, option) in own.iter().flat_map(|own| own.options().as_ref()) {
            if wanted(*code) {
                edns.options_mut().insert(option.clone());
            }
        }
        edns
    });
    reply
}

fn bad_version(query: &Query, asked: &Edns) -> Message {
    let mut reply = Answer::with_code(query, ResponseCode::BADVERS).message;
    let mut edns = Edns::new();
    edns.set_max_payload(asked.max_payload());
    reply.edns = Some(edns);
    reply
}

/// Encodes `reply` in at most `limit` octets: first records of the additional section go, silently;
/// then those of the authority and answer sections, which sets TC (RFC 2181 §9). `None` only if not
/// even the question fits. Options of an OPT that takes too much room with them are left out.
pub fn fit(reply: &Message, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(MIN_UDP);
    let mut encoder = BinEncoder::new(&mut bytes);
    let mut opt = reply.edns.as_ref().map(|edns| {
        let mut edns = edns.clone();
        edns.set_rcode_high(reply.metadata.response_code.high());
        Record::from(&edns)
    });
    let limit = limit.min(MAX_MESSAGE);
    let size = |opt: &Record| opt.to_bytes().map_or(0, |bytes| bytes.len());
    let mut opt_size = opt.as_ref().map_or(0, size);
    let questions: usize = reply.queries.iter().map(|query| query.name.len() + 4).sum();
    if HEADER + questions + opt_size > limit
        && let Some(opt) = &mut opt
    {
        opt.data = RData::OPT(OPT::default());
        opt_size = size(opt);
    }
    encoder.set_max_size(limit.checked_sub(opt_size)? as u16);
    let place = encoder.place::<Header>().ok()?;
    encoder.emit_all(reply.queries.iter()).ok()?;
    let (answers, answers_cut) = emit(&mut encoder, &reply.answers);
    let (authorities, authorities_cut) = match answers_cut {
        true => (0, false),
        false => emit(&mut encoder, &reply.authorities),
    };
    let cut = answers_cut || authorities_cut;
    let (mut additionals, _) =
        if cut { (0, false) } else { emit(&mut encoder, &reply.additionals) };
    if let Some(opt) = opt {
        encoder.set_max_size(limit as u16);
        opt.emit(&mut encoder).ok()?;
        additionals += 1;
    }
    let mut metadata = reply.metadata;
    metadata.truncation |= cut;
    let queries = reply.queries.len() as u16;
    let counts = HeaderCounts { queries, answers, authorities, additionals };
    place.replace(&mut encoder, Header { metadata, counts }).ok()?;
    Some(bytes)
}

/// Emits as many records as fit; tells how many, and whether some did not.
pub(super) fn emit(encoder: &mut BinEncoder<'_>, records: &[Record]) -> (u16, bool) {
    let mut count = 0;
    for record in records {
        let before = encoder.offset();
        if record.emit(encoder).is_err() {
            encoder.set_offset(before);
            encoder.trim();
            return (count, true);
        }
        count += 1;
    }
    (count, false)
}

fn rejected(request: &[u8], code: u16) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    let len = reply::reject(&mut out, request, code);
    out.truncate(len);
    out
}

fn nanos(query: &Query) -> u64 {
    query.origin.received.elapsed().as_nanos() as u64
}

fn observation(query: &Query, code: ResponseCode, size: usize, by_chain: bool) -> Observation {
    Observation {
        transport: query.origin.transport,
        family: family(query.origin.client.ip()),
        qtype: query.rtype().into(),
        dnssec_ok: query.dnssec_ok(),
        query_size: query.size,
        reply_size: size,
        rcode: code.into(),
        by_chain,
    }
}

fn note(
    block: &Block,
    recorder: &Recorder,
    query: &Query,
    reply: &Message,
    bytes: &[u8],
    by_chain: bool,
) {
    if let Some(series) = block.series {
        let seen = observation(query, reply.metadata.response_code, bytes.len(), by_chain);
        recorder.touch(series).observe(&seen, nanos(query));
    }
    if let Some(log) = &block.log {
        log.note_long(query, reply, bytes);
    }
}

#[cfg(test)]
mod tests;
