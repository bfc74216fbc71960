//! What a source tells those who count.

use std::time::Duration;

use daymark_cluster::Kind;

/// One request, when its response's head came or it failed.
#[derive(Clone, Copy, Debug)]
pub struct Requested<'a> {
    /// Host and port as the URL has them.
    pub host: &'a str,
    /// Method: always `GET`, which is what client-go calls verb.
    pub method: &'static str,
    /// Whether it was a watch; client-go counts those but times only the others.
    pub watch: bool,
    /// Status; `None` if none came, for which client-go writes `<error>`.
    pub code: Option<u16>,
    /// From sending to the response's head.
    pub latency: Duration,
}

/// Why a watch was begun anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// The server ended it, as it does from time to time.
    Ended,
    /// It broke off, or spoke nonsense.
    Broken,
    /// Nothing came for too long.
    Silent,
}

/// Told of what happens towards the API. Called on the tasks that do the work: must not block.
pub trait ApiObserver: Send + Sync {
    /// A request was answered or failed.
    fn requested(&self, _request: Requested<'_>) {}
    /// A request waited this long for [`super::Limits`].
    fn limited(&self, _host: &str, _method: &'static str, _waited: Duration) {}
    /// A complete list was taken over.
    fn listed(&self, _kind: Kind) {}
    /// A watch goes on from where another one stopped.
    fn restarted(&self, _kind: Kind, _why: Restart) {}
    /// The state was written to disk, or could not be.
    fn saved(&self, _well: bool) {}
    /// So many changes were seen, those of a list included.
    fn changed(&self, _kind: Kind, _count: usize) {}
}

/// Counts nothing.
impl ApiObserver for () {}
