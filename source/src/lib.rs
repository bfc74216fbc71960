//! Where the cluster's state comes from: the Kubernetes API, or a watched folder of manifests.
//!
//! Outside objects are trimmed here, at the edge, and go to a [`daymark_cluster::Writer`]. This is
//! the only crate that names `kube` and `k8s-openapi`; it never decides what an object means to
//! DNS, lb or policy.
//!
//! Start with [`Source`], then [`manifests`] and [`kubernetes`], then `trim` (what is kept of an object).
#![forbid(unsafe_code)]

use std::{path::Path, sync::Arc};

use daymark_cluster::{Needs, Reader, Writer};

use self::{
    kubernetes::{ApiConfig, ApiObserver, ConnectError},
    manifests::ManifestError,
    status::Board,
};

pub mod kubernetes;
pub mod manifests;
mod status;
mod trim;

pub use self::status::{Status, Trouble};

/// A running source. Dropping it ends its threads and tasks; readers keep the last state.
pub struct Source {
    /// Sees what the source saw.
    pub reader: Reader,
    board: Arc<Board>,
    /// Never read: what runs ends with it.
    _running: Running,
}

enum Running {
    Manifests { _watcher: manifests::Watcher },
    Kubernetes { _running: kubernetes::Running },
}

impl Source {
    /// Reads the manifests at `path`, a folder or a file, and follows them on a thread of its own.
    /// The reader is synced on return. See [`manifests`] for what is understood.
    ///
    /// # Errors
    /// [`ManifestError::Unreadable`] and [`ManifestError::Invalid`], for want of an earlier state.
    /// What breaks later is logged, and the last good state of that file stays.
    pub fn manifests(path: impl AsRef<Path>, needs: Needs) -> Result<Self, ManifestError> {
        let board = Arc::new(Board::default());
        let (watcher, reader) = manifests::Watcher::start(
            path.as_ref(),
            manifests::Folder::new(path.as_ref().to_owned(), needs),
            Writer::new(needs.kinds),
            needs.kinds,
            Arc::clone(&board),
        )?;
        Ok(Source { reader, board, _running: Running::Manifests { _watcher: watcher } })
    }

    /// Follows the Kubernetes API on tasks of the current tokio runtime. Returns at once: whether
    /// the API answers shows in [`Source::status`] and in `reader.synced()`.
    ///
    /// # Errors
    /// [`ConnectError`] for what no waiting mends: a file that is missing, a URL that is none.
    pub fn kubernetes(
        config: &ApiConfig,
        needs: Needs,
        observer: Arc<dyn ApiObserver>,
    ) -> Result<Self, ConnectError> {
        let board = Arc::new(Board::default());
        let (running, reader) = kubernetes::start(config, needs, observer, &board)?;
        Ok(Source { reader, board, _running: Running::Kubernetes { _running: running } })
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        Status { synced: self.reader.snapshot().synced, troubles: self.board.troubles() }
    }
}
