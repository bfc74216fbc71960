//! Where `kubernetes` blocks get their cluster from: plugs `daymark-source` into `daymark-dns`.

use std::{path::PathBuf, sync::Arc};

use daymark_cluster::{Needs, Reader};
use daymark_dns::{
    plugins::kubernetes::config::Api,
    server::setup::{ClusterError, ClusterSource, OpenCluster},
};
use daymark_source::Source;
use parking_lot::Mutex;

/// Opens clusters and remembers them: a reload that needs no more gets the same store.
pub(crate) struct Clusters {
    manifests: Option<PathBuf>,
    open: Mutex<Vec<Remembered>>,
}

struct Remembered {
    api: Api,
    needs: Needs,
    cluster: std::sync::Weak<Cluster>,
}

struct Cluster(Source);

impl Clusters {
    /// Clusters from a folder of manifests, if one is given, else from API servers.
    pub(crate) fn new(manifests: Option<PathBuf>) -> Self {
        Clusters { manifests, open: Mutex::new(Vec::new()) }
    }

    fn start(&self, _api: &Api, needs: Needs) -> Result<Source, ClusterError> {
        let Some(path) = &self.manifests else {
            return Err(ClusterError("no API yet".to_owned()));
        };
        Source::manifests(path, needs)
            .map_err(|error| ClusterError(format!("{:?}", miette::Report::new(error))))
    }
}

impl ClusterSource for Clusters {
    fn open(&self, api: &Api, needs: Needs) -> Result<Arc<dyn OpenCluster>, ClusterError> {
        let mut open = self.open.lock();
        open.retain(|remembered| remembered.cluster.strong_count() > 0);
        let same = |held: &&Remembered| held.api == *api && held.needs == needs;
        if let Some(cluster) = open.iter().find(same).and_then(|held| held.cluster.upgrade()) {
            return Ok(cluster);
        }
        let cluster = Arc::new(Cluster(self.start(api, needs)?));
        let weak = Arc::downgrade(&cluster);
        open.push(Remembered { api: api.clone(), needs, cluster: weak });
        Ok(cluster)
    }
}

impl OpenCluster for Cluster {
    fn reader(&self) -> Reader {
        self.0.reader.clone()
    }

    fn trouble(&self) -> Option<String> {
        let troubles = self.0.status().troubles;
        let texts: Vec<&str> = troubles.iter().map(|trouble| trouble.message.as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}
