//! What the agent says of itself over HTTP: `/healthz`, `/readyz`, `/metrics`, `/status`. On loopback
//! unless told otherwise.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use axum::{
    Json, Router, http::StatusCode, http::header, response::IntoResponse, response::Response,
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus::{IntCounter, Opts, Registry, TextEncoder};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::status::Reporter;

/// Connections at once. Each is for one request.
const CONNECTIONS: usize = 32;
/// A connection is over after this time, whatever of its request or response is still to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether pods can be added. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    /// Tells.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves on a task of the current runtime until that ends.
///
/// # Errors
/// If the address can't be had.
pub async fn serve(
    address: SocketAddr,
    readiness: Readiness,
    registry: Registry,
    reporter: Arc<Reporter>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address}; choose another one by --listen"))?;
    let opts =
        Opts::new("daymark_agent_http_shed_total", "HTTP connections turned away at the bound.");
    let shed = IntCounter::with_opts(opts)?;
    registry.register(Box::new(shed.clone()))?;
    let ready = move || async move {
        match readiness.get() {
            true => (StatusCode::OK, "OK\n"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        }
    };
    let metrics = move || async move {
        match TextEncoder::new().encode_to_string(&registry.gather()) {
            Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
            Err(error) => wrong(&error),
        }
    };
    let status = move || async move {
        // Tables are walked.
        match tokio::task::spawn_blocking(move || reporter.status()).await {
            Ok(Ok(status)) => Json(status).into_response(),
            Ok(Err(error)) => wrong(&error),
            Err(error) => wrong(&error),
        }
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "OK\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status));
    tokio::spawn(accept(listener, router, shed));
    Ok(())
}

/// Takes connections until the runtime ends. One more than there is room for is closed, for whoever
/// holds the others has to go soon.
async fn accept(listener: TcpListener, router: Router, shed: IntCounter) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Such as a process without file descriptors: it gets some back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            shed.inc();
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).keep_alive(false);
            let connection = http.serve_connection(TokioIo::new(stream), service);
            // How it ends is the client's own business.
            let _ = tokio::time::timeout(PATIENCE, connection).await;
            drop(place);
        });
    }
}

fn wrong(error: &dyn std::error::Error) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
}
