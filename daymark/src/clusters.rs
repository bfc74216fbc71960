//! Where `kubernetes` blocks get their cluster from: plugs `daymark-source` into `daymark-dns`.

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
};

use daymark_cluster::{Needs, Reader};
use daymark_dns::{
    plugins::kubernetes::config::Api,
    server::cluster_source::{ClusterError, ClusterSource, OpenCluster},
};
use daymark_source::{
    Source,
    kubernetes::{Access, ApiConfig, ApiObserver, Limits, TlsFiles},
};
use parking_lot::Mutex;

/// Opens clusters and remembers them: a reload that needs no more gets the same store.
pub(crate) struct Clusters {
    manifests: Option<PathBuf>,
    state: Option<PathBuf>,
    observer: Arc<dyn ApiObserver>,
    open: Mutex<Vec<Remembered>>,
}

struct Remembered {
    api: Api,
    needs: Needs,
    cluster: Weak<Cluster>,
}

struct Cluster(Source);

impl Clusters {
    /// Clusters from a folder of manifests, if one is given, else from API servers, whose state is
    /// saved in the folder `state`.
    pub(crate) fn new(
        manifests: Option<PathBuf>,
        state: Option<PathBuf>,
        observer: Arc<dyn ApiObserver>,
    ) -> Self {
        Clusters { manifests, state, observer, open: Mutex::new(Vec::new()) }
    }

    fn start(&self, api: &Api, needs: Needs) -> Result<Source, ClusterError> {
        let readable = |error: &dyn miette::Diagnostic| ClusterError(one_line(error));
        match &self.manifests {
            Some(path) => Source::manifests(path, needs).map_err(|error| readable(&error)),
            None => {
                let config = ApiConfig { state: self.state.clone(), ..config(api) };
                Source::kubernetes(&config, needs, Arc::clone(&self.observer))
                    .map_err(|error| readable(&error))
            }
        }
    }
}

/// A mistake and its remedy in one text; those of several mistakes after each other.
fn one_line(error: &dyn miette::Diagnostic) -> String {
    if let Some(related) = error.related() {
        return related.map(one_line).collect::<Vec<_>>().join("; ");
    }
    match error.help() {
        Some(help) => format!("{error}; {help}"),
        None => error.to_string(),
    }
}

/// The API server that a `kubernetes` block names, as the source wants to be told.
fn config(api: &Api) -> ApiConfig {
    let access = match (&api.kubeconfig, &api.endpoint) {
        (Some((path, context)), _) => Access::Kubeconfig {
            path: path.clone(),
            context: context.as_ref().map(ToString::to_string),
        },
        (None, Some(url)) => Access::Endpoint {
            url: url.to_string(),
            tls: api.tls.as_ref().map(|tls| TlsFiles {
                cert: tls.certificate.clone(),
                key: tls.key.clone(),
                ca: tls.ca.clone(),
            }),
        },
        (None, None) => Access::InCluster,
    };
    let mut config = ApiConfig::new(access);
    config.limits = Limits { qps: api.qps, burst: api.burst, max_inflight: api.max_inflight };
    config
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

    fn is_away(&self) -> bool {
        !self.0.status().troubles.is_empty()
    }

    fn trouble(&self) -> Option<String> {
        let saved = self.0.reader.saved_at().map(|at| {
            let age = at.elapsed().unwrap_or_default().as_secs();
            format!("answering from the state saved {age} s ago")
        });
        let troubles = self.0.status().troubles.into_iter().map(|trouble| trouble.message);
        let texts: Vec<String> = saved.into_iter().chain(troubles).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}
