//! The small HTTP servers: `/health`, `/ready` and `/metrics`, kept open across reloads.
//!
//! A connection is for one request and for a short time: so a client that sends or takes nothing
//! holds its place no longer than any other, and the bound on connections is one that frees itself.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use parking_lot::Mutex;
use prometheus::{Encoder, IntCounter, TextEncoder};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    admission::{Admission, Place},
    handover::{Handed, Inherited, Use},
    listening::ListenError,
};
use crate::{metrics::Metrics, plugins::ready::Readiness};

/// Connections to one address at once, shared fairly between clients.
const CONNECTIONS: usize = 64;
/// A connection is over after this time, whatever of its request or response is still to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of the longest head of a request.
const MAX_HEAD: usize = 16 << 10;

/// What one address serves; several plugins may share it.
#[derive(Clone, Default)]
pub struct Pages {
    /// `/health` (`health`).
    pub health: bool,
    /// `/ready` (`ready`).
    pub ready: Option<Arc<Readiness>>,
    /// `/metrics` (`prometheus`).
    pub metrics: Option<Arc<Metrics>>,
    /// How TLS is spoken, if it is.
    pub tls: Option<TlsAcceptor>,
    /// Fields of each response.
    pub headers: HeaderMap,
}

/// The HTTP servers of one process.
#[derive(Default)]
pub struct HttpServers {
    open: HashMap<SocketAddr, Open>,
}

struct Open {
    pages: Arc<ArcSwap<Pages>>,
    /// The listening socket, to be handed on.
    socket: Option<OwnedFd>,
    stop: CancellationToken,
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
        inherited: &mut Inherited,
    ) -> Result<OpenedHttp, ListenError> {
        let mut opened = Vec::new();
        for address in wanted.keys().filter(|address| !self.open.contains_key(address)) {
            let listener = match inherited.listener(Use::Http, *address) {
                Some(listener) => TcpListener::from_std(listener),
                None => TcpListener::bind(address).await,
            };
            let listener = listener.map_err(|error| ListenError {
                address: *address,
                transport: "http",
                error,
            })?;
            opened.push((*address, listener));
        }
        Ok(OpenedHttp(opened))
    }

    /// Serves `wanted`, and closes what nobody wants any more. `shed` counts connections that are
    /// turned away.
    pub fn serve(
        &mut self,
        wanted: HashMap<SocketAddr, Pages>,
        opened: OpenedHttp,
        runtime: &Handle,
        shed: &IntCounter,
    ) {
        self.open.retain(|address, Open { stop, .. }| {
            let keep = wanted.contains_key(address);
            if !keep {
                stop.cancel();
            }
            keep
        });
        let mut listeners: HashMap<_, _> = opened.0.into_iter().collect();
        for (address, pages) in wanted {
            match self.open.get(&address) {
                Some(held) => held.pages.store(Arc::new(pages)),
                None => {
                    let Some(listener) = listeners.remove(&address) else { continue };
                    let pages = Arc::new(ArcSwap::from_pointee(pages));
                    let stop = CancellationToken::new();
                    let socket = listener.as_fd().try_clone_to_owned().ok();
                    runtime.spawn(run(listener, Arc::clone(&pages), shed.clone(), stop.clone()));
                    self.open.insert(address, Open { pages, socket, stop });
                }
            }
        }
    }

    /// Every socket that a successor can go on with.
    ///
    /// # Errors
    /// If there are too many descriptors.
    pub fn handed(&self) -> io::Result<Vec<Handed>> {
        let open = self.open.iter();
        let sockets = open.filter_map(|(address, open)| Some((address, open.socket.as_ref()?)));
        let handed = sockets.map(|(address, socket)| {
            socket.try_clone().map(|socket| (Use::Http, *address, socket))
        });
        handed.collect()
    }

    /// Closes everything.
    pub fn stop(&mut self) {
        self.open.drain().for_each(|(_, open)| open.stop.cancel());
    }
}

/// Accepts until told to stop; what is accepted by then is still answered.
async fn run(
    listener: TcpListener,
    pages: Arc<ArcSwap<Pages>>,
    shed: IntCounter,
    stop: CancellationToken,
) {
    let router = Router::new().fallback(answer).with_state(Arc::clone(&pages));
    let connections = Admission::new(CONNECTIONS);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, client)) => match connections.admit(client.ip().to_canonical()) {
                Some(place) => {
                    let tls = pages.load().tls.clone();
                    tokio::spawn(within(stream, tls, router.clone(), place));
                }
                None => shed.inc(),
            },
            Err(error) => {
                // Out of descriptors, most likely: waiting lets others close theirs.
                tracing::warn!(%error, "accepting an HTTP connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// One connection, with its handshake if there is one.
async fn within(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, _place: Place) {
    let served = async {
        match tls {
            None => serve(stream, router).await,
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => serve(stream, router).await,
                Err(error) => tracing::debug!(%error, "a TLS handshake for HTTP"),
            },
        }
    };
    if timeout(PATIENCE, served).await.is_err() {
        tracing::debug!("an HTTP connection took too long");
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, router: Router) {
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(MAX_HEAD);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "serving HTTP");
    }
}

async fn answer(State(pages): State<Arc<ArcSwap<Pages>>>, uri: Uri) -> Response {
    let pages = pages.load_full();
    let mut response = page(&pages, &uri);
    let headers = pages.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    response.headers_mut().extend(headers);
    response
}

fn page(pages: &Pages, uri: &Uri) -> Response {
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
