//! The small HTTP servers: `/health`, `/ready` and `/metrics`, kept open across reloads.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use prometheus::{Encoder, TextEncoder};
use tokio::{net::TcpListener, runtime::Handle};
use tokio_util::sync::CancellationToken;

use super::listening::ListenError;
use crate::{metrics::Metrics, plugins::ready::Readiness};

/// What one address serves; several plugins may share it.
#[derive(Clone, Default)]
pub struct Pages {
    /// `/health` (`health`).
    pub health: bool,
    /// `/ready` (`ready`).
    pub ready: Option<Arc<Readiness>>,
    /// `/metrics` (`prometheus`).
    pub metrics: Option<Arc<Metrics>>,
}

/// The HTTP servers of one process.
#[derive(Default)]
pub struct HttpServers {
    open: HashMap<SocketAddr, (Arc<ArcSwap<Pages>>, CancellationToken)>,
}

/// Sockets opened but not served yet.
pub struct OpenedHttp(Vec<(SocketAddr, TcpListener)>);

impl HttpServers {
    /// Opens what is not open yet.
    ///
    /// # Errors
    /// The first address that can't be listened on.
    pub async fn open(
        &self,
        wanted: &HashMap<SocketAddr, Pages>,
    ) -> Result<OpenedHttp, ListenError> {
        let mut opened = Vec::new();
        for address in wanted.keys().filter(|address| !self.open.contains_key(address)) {
            let listener = TcpListener::bind(address).await.map_err(|error| ListenError {
                address: *address,
                transport: "http",
                error,
            })?;
            opened.push((*address, listener));
        }
        Ok(OpenedHttp(opened))
    }

    /// Serves `wanted`, and closes what nobody wants any more.
    pub fn serve(
        &mut self,
        wanted: HashMap<SocketAddr, Pages>,
        opened: OpenedHttp,
        runtime: &Handle,
    ) {
        self.open.retain(|address, (_, stop)| {
            let keep = wanted.contains_key(address);
            if !keep {
                stop.cancel();
            }
            keep
        });
        let mut listeners: HashMap<_, _> = opened.0.into_iter().collect();
        for (address, pages) in wanted {
            match self.open.get(&address) {
                Some((held, _)) => held.store(Arc::new(pages)),
                None => {
                    let Some(listener) = listeners.remove(&address) else { continue };
                    let pages = Arc::new(ArcSwap::from_pointee(pages));
                    let stop = CancellationToken::new();
                    runtime.spawn(run(listener, Arc::clone(&pages), stop.clone()));
                    self.open.insert(address, (pages, stop));
                }
            }
        }
    }

    /// Closes everything.
    pub fn stop(&mut self) {
        self.open.drain().for_each(|(_, (_, stop))| stop.cancel());
    }
}

async fn run(listener: TcpListener, pages: Arc<ArcSwap<Pages>>, stop: CancellationToken) {
    let router = Router::new().fallback(answer).with_state(pages);
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "serving HTTP");
    }
}

async fn answer(State(pages): State<Arc<ArcSwap<Pages>>>, uri: Uri) -> Response {
    let pages = pages.load_full();
    match (uri.path(), &pages.ready, &pages.metrics) {
        ("/health", ..) if pages.health => "OK".into_response(),
        ("/ready", Some(readiness), _) => match readiness.check() {
            Ok(note) => format!("OK{note}").into_response(),
            Err(waiting) => (StatusCode::SERVICE_UNAVAILABLE, waiting).into_response(),
        },
        ("/metrics", _, Some(metrics)) => exposition(metrics),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Text buffers are reused between scrapes.
static SCRAPE: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn exposition(metrics: &Metrics) -> Response {
    let mut text = std::mem::take(&mut *SCRAPE.lock());
    text.clear();
    match TextEncoder::new().encode(&metrics.registry().gather(), &mut text) {
        Ok(()) => {
            let body = axum::body::Bytes::copy_from_slice(&text);
            *SCRAPE.lock() = text;
            ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
