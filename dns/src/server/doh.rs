//! What DNS over HTTPS is on any version of HTTP: requests to messages, replies to responses (RFC 8484).

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use hickory_proto::op::Message;
use http::{HeaderValue, Method, Response, StatusCode, header, request};
use prometheus::IntCounterVec;

use super::answering::Answering;
use crate::{
    plugin::Origin,
    wire::{
        MAX_MESSAGE,
        name::FoldedName,
        query::{self, Shape},
        ttl,
    },
};

/// Where messages are sent to.
const PATH: &str = "/dns-query";
/// What they are.
const MESSAGE: HeaderValue = HeaderValue::from_static("application/dns-message");
/// How long a reply without records may be kept, and the longest for any other; CoreDNS's.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);

/// Where a request has its message.
pub enum Asked {
    /// In its URI: this.
    InUri(Vec<u8>),
    /// In its body.
    InBody,
}

/// Why a request gets no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Nothing is there.
    NotFound,
    /// There is no DNS message in it.
    Unreadable,
    /// No reply is due.
    NoReply,
}

/// Counts responses.
#[derive(Clone)]
pub struct Counted {
    /// By server and status.
    pub responses: IntCounterVec,
    /// The server.
    pub server: String,
}

/// Tells where a request has its message.
///
/// # Errors
/// If it has none.
pub fn asked(head: &request::Parts) -> Result<Asked, Refusal> {
    if head.uri.path() != PATH {
        return Err(Refusal::NotFound);
    }
    match head.method {
        Method::POST => Ok(Asked::InBody),
        Method::GET => {
            let query = head.uri.query().unwrap_or_default();
            let mut found = query.split('&').filter_map(|pair| pair.strip_prefix("dns="));
            let (Some(text), None) = (found.next(), found.next()) else {
                return Err(Refusal::Unreadable);
            };
            let message = BASE64URL_NOPAD.decode(text.as_bytes());
            let message = message.map_err(|_| Refusal::Unreadable)?;
            match message.len() <= MAX_MESSAGE {
                true => Ok(Asked::InUri(message)),
                false => Err(Refusal::Unreadable),
            }
        }
        _ => Err(Refusal::Unreadable),
    }
}

/// Answers a message.
///
/// # Errors
/// If it is none, or gets no reply.
pub async fn answer(
    answering: &Answering,
    message: &[u8],
    origin: Origin,
) -> Result<Vec<u8>, Refusal> {
    let readable = match query::read(message, &mut FoldedName::default()) {
        Shape::Plain(_) => true,
        Shape::Odd => Message::from_vec(message).is_ok(),
        Shape::Reject(_) | Shape::Ignore => false,
    };
    if !readable {
        return Err(Refusal::Unreadable);
    }
    answering.answer(message, origin).await.ok_or(Refusal::NoReply)
}

/// The response for a reply, counted.
pub fn response(reply: Result<Vec<u8>, Refusal>, counted: &Counted) -> Response<Bytes> {
    let (status, body) = match &reply {
        Ok(_) => (StatusCode::OK, Bytes::new()),
        Err(Refusal::NotFound) => (StatusCode::NOT_FOUND, Bytes::from_static(b"\n")),
        Err(Refusal::Unreadable) => {
            (StatusCode::BAD_REQUEST, Bytes::from_static(b"invalid request\n"))
        }
        Err(Refusal::NoReply) => {
            (StatusCode::INTERNAL_SERVER_ERROR, Bytes::from_static(b"No response\n"))
        }
    };
    counted.responses.with_label_values(&[&counted.server, status.as_str()]).inc();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Ok(reply) = reply {
        let age = ttl::least(&reply).map_or(SHORTEST, |ttl| Duration::from_secs(ttl.into()));
        let age = HeaderValue::try_from(format!("max-age={}", age.min(LONGEST).as_secs()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, MESSAGE);
        headers.extend(age.ok().map(|age| (header::CACHE_CONTROL, age)));
        *response.body_mut() = reply.into();
    }
    response
}
