//! DNS over HTTPS to an upstream (RFC 8484): HTTP/2, where every query is a stream of its own, or
//! HTTP/1.1 with a server that speaks nothing else.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use futures::{FutureExt, future::BoxFuture};
use hickory_proto::op::Message;
use http::{HeaderValue, Method, Request, Response, header, request::Builder};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Mutex;

use super::{
    config::{Connections, DohMethod},
    failure::AskError,
    message::{self, Outgoing},
    stream::{self, Identity},
};
use crate::wire::MAX_MESSAGE;

/// What the client speaks, most wanted first (RFC 7301).
pub const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];

const HTTP2: &[u8] = b"h2";
/// Where messages are sent to; CoreDNS knows no other place.
const PATH: &str = "/dns-query";
const MESSAGE: HeaderValue = HeaderValue::from_static("application/dns-message");
/// Octets of the longest list of header fields.
const MAX_HEAD: u32 = 16 << 10;

/// How to reach an upstream.
#[derive(Clone)]
pub struct Dial {
    /// Where it is.
    pub upstream: SocketAddr,
    /// TLS that offers [`PROTOCOLS`].
    pub identity: Identity,
    /// The source address.
    pub settings: Connections,
    /// Where requests have their message.
    pub method: DohMethod,
    /// Host and port of the URI.
    pub authority: Arc<str>,
}

/// An open connection.
#[derive(Clone)]
pub struct Session {
    sender: Sender,
    local: Option<SocketAddr>,
    method: DohMethod,
    authority: Arc<str>,
}

type Body = Full<Bytes>;

#[derive(Clone)]
enum Sender {
    /// One request at a time.
    Http1(Arc<Mutex<http1::SendRequest<Body>>>),
    Http2(http2::SendRequest<Body>),
}

impl Dial {
    /// Connects. The future has to run for as long as the session is used; it ends with the
    /// connection.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn connect(&self) -> Result<(Session, BoxFuture<'static, ()>), AskError> {
        let stream = stream::tcp(self.upstream, &self.settings).await?;
        let local = stream.local_addr().ok();
        let stream = stream::tls(stream, &self.identity).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        let stream = TokioIo::new(stream);
        let failed = |error: hyper::Error| AskError::Connect(error.to_string());
        let (sender, driver) = match is_http2 {
            true => {
                let mut client = http2::Builder::new(TokioExecutor::new());
                // Until the server has said how many streams it takes, it gets one: it would refuse others.
                client
                    .timer(TokioTimer::new())
                    .initial_max_send_streams(1)
                    .max_header_list_size(MAX_HEAD);
                let (sender, connection) = client.handshake(stream).await.map_err(failed)?;
                (Sender::Http2(sender), connection.map(drop).boxed())
            }
            false => {
                let mut client = http1::Builder::new();
                client.max_buf_size(MAX_HEAD as usize);
                let (sender, connection) = client.handshake(stream).await.map_err(failed)?;
                (Sender::Http1(Arc::new(Mutex::new(sender))), connection.map(drop).boxed())
            }
        };
        let (method, authority) = (self.method, Arc::clone(&self.authority));
        let session = Session { sender, local, method, authority };
        Ok((session, driver))
    }
}

impl Session {
    /// Asks and waits for the reply.
    ///
    /// # Errors
    /// [`AskError`]; [`AskError::Closed`] if the connection broke.
    pub async fn ask(&self, query: &Outgoing) -> Result<Message, AskError> {
        let request = self.request(query);
        let response = match &self.sender {
            Sender::Http2(sender) => {
                let mut sender = sender.clone();
                sender.send_request(request).await.map_err(|_| AskError::Closed)?
            }
            Sender::Http1(sender) => {
                let mut sender = sender.lock().await;
                sender.ready().await.map_err(|_| AskError::Closed)?;
                let response = sender.send_request(request).await;
                // The next request must wait until this response is whole.
                return read(query, response.map_err(|_| AskError::Closed)?).await;
            }
        };
        read(query, response).await
    }

    /// Whether it can't be used any more.
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http2(sender) => sender.is_closed(),
            // One that is busy is open.
            Sender::Http1(sender) => sender.try_lock().is_ok_and(|sender| sender.is_closed()),
        }
    }

    /// Our end of it.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Whether it can carry several queries at once.
    pub fn is_shared(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    fn request(&self, query: &Outgoing) -> Request<Body> {
        let mut message = Vec::with_capacity(query.size());
        // Always the same id, so that caches on the way see the same request (RFC 8484 §4.1).
        query.write(0, &mut message);
        let builder = Request::builder().header(header::ACCEPT, MESSAGE);
        let request = match self.method {
            DohMethod::Get => {
                let path = format!("{PATH}?dns={}", BASE64URL_NOPAD.encode(&message));
                self.to(builder.method(Method::GET), &path).body(Body::default())
            }
            DohMethod::Post => {
                let builder = builder.method(Method::POST).header(header::CONTENT_TYPE, MESSAGE);
                self.to(builder, PATH).body(Body::from(message))
            }
        };
        request.expect("the authority was checked at the start")
    }

    /// Says where a request goes: HTTP/2 has the host in the URI, HTTP/1.1 in the header.
    fn to(&self, builder: Builder, path: &str) -> Builder {
        match self.sender {
            Sender::Http2(_) => builder.uri(format!("https://{}{path}", self.authority)),
            Sender::Http1(_) => builder.uri(path).header(header::HOST, &*self.authority),
        }
    }
}

/// The message of a response. What its TTLs have lost on the way is said in `Age` (RFC 8484 §5.1).
async fn read(query: &Outgoing, response: Response<Incoming>) -> Result<Message, AskError> {
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        return Err(AskError::Http(head.status.as_u16()));
    }
    let body = Limited::new(body, MAX_MESSAGE).collect().await;
    let body = body.map_err(|_| AskError::Closed)?.to_bytes();
    if !query.is_answered_by(0, &body) {
        return Err(AskError::Malformed);
    }
    let mut message = message::read(&body, false)?;
    let age = head.headers.get(header::AGE).and_then(|age| age.to_str().ok()?.parse::<u32>().ok());
    if let Some(age) = age {
        let sections = [&mut message.answers, &mut message.authorities, &mut message.additionals];
        for record in sections.into_iter().flatten() {
            record.ttl = record.ttl.saturating_sub(age);
        }
    }
    Ok(message)
}
