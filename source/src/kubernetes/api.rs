//! One API endpoint: sends requests within the limits and tells who counts.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use daymark_cluster::Kind;
use futures::AsyncBufRead;
use http::{Request, header};

use super::{
    connect::{Connection, TokenFile},
    error::ApiError,
    limit::{Limiter, Limits},
    observe::{ApiObserver, Requested},
};

/// A response's body as it comes in.
pub(super) type Body = Pin<Box<dyn AsyncBufRead + Send>>;

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
        Api { connection, limiter, observer, patience, streaming: AtomicBool::new(true) }
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

    /// Sends a request for `kind` and returns the body of a successful response.
    pub(super) async fn get(&self, kind: Kind, ask: Ask, uri: &str) -> Result<Body, ApiError> {
        let queued = Instant::now();
        let _place = self.limiter.admit().await;
        self.observer.limited(&self.connection.host, Self::METHOD, queued.elapsed());
        let mut request = Request::get(uri).header(header::ACCEPT, "application/json");
        if let Some(token) = self.connection.token.as_ref().and_then(TokenFile::header) {
            request = request.header(header::AUTHORIZATION, token);
        }
        let request = request
            .body(Vec::new())
            .map_err(|error| ApiError::of(kube::Error::HttpError(error), self.endpoint(), kind))?;
        let sent = Instant::now();
        let sending = self.connection.client.request_stream(request);
        let outcome = match tokio::time::timeout(self.patience, sending).await {
            Ok(Ok(body)) => Ok(Box::pin(body) as Body),
            Ok(Err(error)) => Err(ApiError::of(error, self.endpoint(), kind)),
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
}
