//! The Kubernetes API as a source.
//!
//! One task for each kind lists and watches through a `kube` client; each line is decoded straight
//! into its compact form, so API objects are never held. State never goes back in time: see
//! `follow`, where to start reading. An API that is away, slow or hostile costs freshness only; the
//! last state stays.

use std::{path::PathBuf, sync::Arc, time::Duration};

use daymark_cluster::{Kind, Needs, Reader, Writer};
use tokio::task::JoinSet;

use self::{
    api::Api,
    connect::Connection,
    encoding::{Encoding, Message, Splitter},
    follow::Follower,
    saved::{AtEnd, State},
    sink::{Change, During, Sink},
};
use crate::status::Board;

mod api;
mod author;
mod connect;
mod encoding;
mod error;
mod follow;
mod frames;
mod json;
mod limit;
mod lines;
mod observe;
mod page;
mod paging;
mod path;
mod protobuf;
mod saved;
mod sink;
mod stream;
mod wire;

pub use self::{
    author::{Author, WriteError},
    connect::{ConnectError, SERVICE_ACCOUNT},
    limit::Limits,
    observe::{ApiObserver, Requested, Restart},
};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the head of a response.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How to reach the API, and how to behave towards it.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Where it is and who we are.
    pub access: Access,
    /// Waits between tries.
    pub backoff: Backoff,
    /// A watch without an event or bookmark for this long is begun anew. The API sends bookmarks
    /// about every minute.
    pub silence: Duration,
    /// Bounds on requests.
    pub limits: Limits,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// Where the state is saved, and read at the start; `None` saves nothing.
    pub state: Option<PathBuf>,
}

/// Where the API is and who we are to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Access {
    /// As a pod: by KUBERNETES_SERVICE_HOST and _PORT, and the account under [`SERVICE_ACCOUNT`].
    InCluster,
    /// By a kubeconfig file.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// A context in it; `None` for its current one.
        context: Option<String>,
    },
    /// By URL.
    Endpoint {
        /// `http://HOST:PORT` or `https://HOST:PORT`.
        url: String,
        /// Credentials; without them an https endpoint must be one that the system trusts.
        tls: Option<TlsFiles>,
    },
}

/// Client certificate, its key, and the CA of the server: PEM files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// Client certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// CA of the server; read again about every minute.
    pub ca: PathBuf,
}

/// Waits between tries: doubled from `min` to `max`, each shortened at random by up to half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// The first wait.
    pub min: Duration,
    /// The longest wait. What only a person can help is tried every 10 s.
    pub max: Duration,
}

impl Default for Backoff {
    /// For a few DNS servers: 100 ms to 1.5 s. Thousands of node agents want 1 s to 10 s.
    fn default() -> Self {
        Backoff { min: Duration::from_millis(100), max: Duration::from_millis(1500) }
    }
}

impl ApiConfig {
    /// The defaults for a DNS server.
    pub fn new(access: Access) -> Self {
        ApiConfig {
            access,
            backoff: Backoff::default(),
            silence: Duration::from_secs(90),
            limits: Limits::default(),
            user_agent: concat!("daymark/", env!("CARGO_PKG_VERSION")).to_owned(),
            state: None,
        }
    }
}

/// What runs, until it is dropped.
pub(crate) struct Running {
    _tasks: JoinSet<()>,
    _saving: Option<AtEnd>,
}

/// Starts the tasks.
pub(crate) fn start(
    config: &ApiConfig,
    needs: Needs,
    observer: Arc<dyn ApiObserver>,
    board: &Arc<Board>,
) -> Result<(Running, Reader), ConnectError> {
    let connection = Connection::new(config)?;
    let patience = config.silence.min(HEAD_TIMEOUT);
    let api = Arc::new(Api::new(connection, config.limits, Arc::clone(&observer), patience));
    let sink = Arc::new(Sink::new(needs, Writer::new(needs.kinds)));
    let mut tasks = JoinSet::new();
    let state = config.state.as_ref().map(|folder| {
        let access = format!("{:?}", config.access);
        let state = State::new(folder, access, needs, Arc::clone(&sink), observer);
        Arc::new(state)
    });
    if let Some(state) = &state {
        state.load();
        tasks.spawn(Arc::clone(state).keep_writing());
    }
    for kind in needs.kinds.iter() {
        let (api, sink, board) = (Arc::clone(&api), Arc::clone(&sink), Arc::clone(board));
        tasks.spawn(Follower::new(kind, api, sink, board, config.backoff, config.silence).run());
    }
    Ok((Running { _tasks: tasks, _saving: state.map(AtEnd) }, sink.reader()))
}

/// Reads a watch of `kind` in protobuf that comes in these parts, to its end or to what cannot be
/// read, into the store of `needs`. Returns how many events it told of. Only fuzzing has a use for it.
#[doc(hidden)]
pub fn read_watch(kind: Kind, needs: Needs, parts: &[&[u8]]) -> usize {
    let sink = Sink::new(needs, Writer::new(needs.kinds));
    let (mut splitter, mut told, mut batch) = (Splitter::new(Encoding::Protobuf), 0, Vec::new());
    for part in parts {
        let split = splitter.feed(part, |message| {
            let Message::Whole(message) = message else { return };
            if let Ok(change) = sink.change(kind, Encoding::Protobuf, message, During::Watch) {
                told += 1;
                if let Change::Event { event, .. } = change {
                    batch.extend(event);
                }
            }
        });
        if split.is_err() {
            break;
        }
    }
    sink.apply(&mut batch);
    told
}

/// Reads a saved state of the API `api`, of which all is needed. Returns how many objects it has, if it
/// is one. Only fuzzing has a use for it.
#[doc(hidden)]
pub fn read_state(api: &str, octets: &[u8]) -> Option<usize> {
    let kinds = Kind::ALL.into_iter().collect();
    let needs =
        Needs { kinds, labels: kinds, endpoint_pods: true, endpoint_zones: true, externals: true };
    let sink = Arc::new(Sink::new(needs, Writer::new(kinds)));
    let folder = std::path::Path::new("");
    State::new(folder, api.to_owned(), needs, sink, Arc::new(())).count(octets)
}

#[cfg(test)]
mod tests;
