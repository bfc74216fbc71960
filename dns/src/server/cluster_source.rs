//! Where a server's clusters come from: the trait that whoever embeds the server implements.

use std::{sync::Arc, time::Duration};

use daymark_cluster::{Needs, Reader};
use tokio::time::{Instant, sleep};

use crate::plugins::{kubernetes::config::Api, ready::Ready};

/// With a saved state a source is waited for no longer than this.
const WITH_SAVED_STATE: Duration = Duration::from_secs(1);

/// Opens the cluster behind a `kubernetes` block. Whoever embeds the server says how.
pub trait ClusterSource: Send + Sync {
    /// A store for the API server that `api` names (the one in reach, where it names none), with at
    /// least what `needs` asks for. Asked again for the same, it may give the same store.
    ///
    /// # Errors
    /// Why no connection can even be tried: a file that is missing, a configuration that is none.
    fn open(&self, api: &Api, needs: Needs) -> Result<Arc<dyn OpenCluster>, ClusterError>;
}

/// An open store. Dropping it may end its connection.
pub trait OpenCluster: Send + Sync {
    /// Reads it.
    fn reader(&self) -> Reader;
    /// What is known to be wrong with its source now, for people.
    fn trouble(&self) -> Option<String>;
    /// Whether its source does not answer: who waits for it had better go on with a saved state, if
    /// there is one.
    fn is_away(&self) -> bool {
        false
    }
}

/// Why a cluster can't be opened, in words for people.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ClusterError(pub String);

/// Readiness of `kubernetes`: once everything was listed.
pub(super) struct ClusterReady(pub(super) Arc<dyn OpenCluster>);

impl Ready for ClusterReady {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn ready(&self) -> bool {
        self.0.reader().synced()
    }

    fn remark(&self) -> Option<String> {
        self.0.trouble()
    }
}

/// Waits until every cluster is listed, or its time is up: answers that are not known then are
/// SERVFAIL until they are. With a saved state nobody waits for a source that is away, nor for long:
/// but where it answers, what it says is newer.
pub(super) async fn wait_for(clusters: &[(Arc<dyn OpenCluster>, Duration)]) {
    const LOOK: Duration = Duration::from_millis(5);
    let start = Instant::now();
    for (cluster, patience) in clusters {
        let reader = cluster.reader();
        while reader.saved_at().is_some() && !cluster.is_away() {
            if start.elapsed() >= WITH_SAVED_STATE.min(*patience) {
                break;
            }
            sleep(LOOK).await;
        }
        while !reader.synced() {
            if start.elapsed() >= *patience {
                tracing::warn!(target: "plugin/kubernetes", "starting server with unsynced Kubernetes API");
                // What a list that stalls has kept back is answered now.
                reader.stop_waiting();
                break;
            }
            sleep(LOOK).await;
        }
    }
}
