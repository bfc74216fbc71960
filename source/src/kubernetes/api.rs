//! One API endpoint: sends requests within the limits and tells who counts.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use daymark_cluster::Kind;
use futures::{AsyncBufRead, AsyncReadExt, TryStreamExt};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use tracing::info;

use super::{
    connect::{Connection, TokenFile},
    encoding::{Encoding, Status},
    error::ApiError,
    limit::{Limiter, Limits},
    observe::{ApiObserver, Requested},
};

/// A response's body as it comes in.
pub(super) type Body = Pin<Box<dyn AsyncBufRead + Send>>;

/// A successful response.
pub(super) struct Answer {
    /// How its body is written.
    pub(super) encoding: Encoding,
    pub(super) body: Body,
}

/// Most of a failure's body that is read, in bytes.
const MAX_FAILURE: u64 = 64 << 10;

/// Whether a request stays open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    List,
    Watch,
}

/// Shared by the tasks of all kinds.
pub(super) struct Api {
    connection: Connection,
    limiter: Limiter,
    pub(super) observer: Arc<dyn ApiObserver>,
    /// Longest wait for a response's head.
    patience: Duration,
    /// Whether streaming lists are worth asking for; cleared for good by the first refusal.
    streaming: AtomicBool,
    /// Whether protobuf is worth asking for; cleared for good by the first 406.
    protobuf: AtomicBool,
}

impl Api {
    const METHOD: &'static str = "GET";

    pub(super) fn new(
        connection: Connection,
        limits: Limits,
        observer: Arc<dyn ApiObserver>,
        patience: Duration,
    ) -> Self {
        let limiter = Limiter::new(limits);
        let (streaming, protobuf) = (AtomicBool::new(true), AtomicBool::new(true));
        Api { connection, limiter, observer, patience, streaming, protobuf }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.connection.endpoint
    }

    pub(super) fn streams_lists(&self) -> bool {
        self.streaming.load(Ordering::Relaxed)
    }

    /// Notes that this endpoint knows no streaming lists. Whether that is news.
    pub(super) fn stop_streaming_lists(&self) -> bool {
        self.streaming.swap(false, Ordering::Relaxed)
    }

    /// Asks for `kind` and returns a successful response.
    pub(super) async fn get(&self, kind: Kind, ask: Ask, uri: &str) -> Result<Answer, ApiError> {
        let wanted = match self.protobuf.load(Ordering::Relaxed) {
            true => Encoding::best(kind, ask),
            false => Encoding::Json,
        };
        let outcome = self.send(kind, ask, uri, wanted).await;
        match outcome {
            // JSON was offered too, so this server (or what stands before it) knows no choices.
            Err(ApiError::Server { code: 406, .. }) if wanted == Encoding::Protobuf => {
                if self.protobuf.swap(false, Ordering::Relaxed) {
                    info!(
                        endpoint = self.endpoint(),
                        "the API does not take our offer of protobuf; asking for JSON from now on"
                    );
                }
                self.send(kind, ask, uri, Encoding::Json).await
            }
            outcome => outcome,
        }
    }

    async fn send(
        &self,
        kind: Kind,
        ask: Ask,
        uri: &str,
        wanted: Encoding,
    ) -> Result<Answer, ApiError> {
        let queued = Instant::now();
        let _place = self.limiter.admit().await;
        self.observer.limited(&self.connection.host, Self::METHOD, queued.elapsed());
        let mut request = Request::get(uri).header(header::ACCEPT, wanted.accept());
        if let Some(token) = self.connection.token.as_ref().and_then(TokenFile::header) {
            request = request.header(header::AUTHORIZATION, token);
        }
        let request = request
            .body(kube::client::Body::empty())
            .map_err(|error| ApiError::of(kube::Error::HttpError(error), self.endpoint(), kind))?;
        let sent = Instant::now();
        let outcome = match tokio::time::timeout(self.patience, self.answer(kind, request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ApiError::Silent { endpoint: self.endpoint().to_owned() }),
        };
        self.observer.requested(Requested {
            host: &self.connection.host,
            method: Self::METHOD,
            watch: ask == Ask::Watch,
            code: match &outcome {
                Ok(_) => Some(200),
                Err(error) => error.code(),
            },
            latency: sent.elapsed(),
        });
        outcome
    }

    /// The response to `request`. kube's own way of it knows failures as JSON only.
    async fn answer(
        &self,
        kind: Kind,
        request: Request<kube::client::Body>,
    ) -> Result<Answer, ApiError> {
        let response = self.connection.client.send(request).await;
        let response = response.map_err(|error| ApiError::of(error, self.endpoint(), kind))?;
        let encoding = Encoding::of(response.headers().get(header::CONTENT_TYPE));
        let code = response.status();
        let body = response.into_body().into_data_stream().map_err(io::Error::other);
        let body = Box::pin(body.into_async_read());
        if !code.is_client_error() && !code.is_server_error() {
            return Ok(Answer { encoding, body });
        }
        let mut text = Vec::new();
        // What came before it broke off is still the best word on what went wrong.
        let _ = body.take(MAX_FAILURE).read_to_end(&mut text).await;
        let Status { code, reason, message } = failure(code, encoding, &text);
        Err(ApiError::status(code, &reason, message, self.endpoint(), kind))
    }
}

/// What a failure's body says. Who stands before the API answers in text of any form.
fn failure(code: StatusCode, encoding: Encoding, body: &[u8]) -> Status {
    match encoding.status(body) {
        Ok(status) if status.code != 0 => status,
        Ok(status) => Status { code: code.as_u16(), ..status },
        Err(_) => Status {
            code: code.as_u16(),
            reason: String::new(),
            message: String::from_utf8_lossy(body).trim().to_owned(),
        },
    }
}
