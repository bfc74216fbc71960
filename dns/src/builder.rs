//! The front of this crate for programs that embed the server.

use std::{path::PathBuf, sync::Arc};

use daymark_cluster::Needs;

use crate::{
    corefile::source::{Disk, Reader},
    metrics::Metrics,
    plugins::{extension::Extension, kubernetes::config::Api},
    server::{
        DESCRIPTORS, Options, Origin, Server, StartError,
        cluster_source::{ClusterError, ClusterSource, OpenCluster},
    },
};

/// Puts a server together: a Corefile, and what it needs beside this crate.
///
/// ```no_run
/// # async fn embed() -> Result<(), daymark_dns::StartError> {
/// let server = daymark_dns::Builder::text(".:1053 {\n hosts {\n 10.0.0.1 db.test\n }\n}")
///     .start()
///     .await?;
/// // … and at the end, after `health`'s lameduck time:
/// server.stop().await;
/// # Ok(())
/// # }
/// ```
///
/// `dns/examples/embed.rs` has a plugin and a source of Services of its own.
pub struct Builder(Options);

impl Builder {
    /// A server that runs the Corefile at `path`, which `reload` reads again.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Builder::new(Origin::File(path.into()))
    }

    /// A server that runs this Corefile.
    pub fn text(corefile: impl Into<String>) -> Self {
        let name = "Corefile".to_owned();
        Builder::new(Origin::Text { name, text: corefile.into() })
    }

    fn new(origin: Origin) -> Self {
        Builder(Options {
            origin,
            reader: Arc::new(Disk),
            default_port: 53,
            extensions: Vec::new(),
            source: Arc::new(NoCluster),
            metrics: Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))),
            loop_exit: false,
            descriptors: DESCRIPTORS,
            handover: None,
        })
    }

    /// Port of server blocks that name none; 53 without this.
    #[must_use]
    pub fn default_port(mut self, port: u16) -> Self {
        self.0.default_port = port;
        self
    }

    /// Where files that the Corefile names, and environment variables, come from; this machine without
    /// it.
    #[must_use]
    pub fn reader(mut self, reader: impl Reader + Send + Sync + 'static) -> Self {
        self.0.reader = Arc::new(reader);
        self
    }

    /// A plugin of one's own. The Corefile decides which blocks have it.
    #[must_use]
    pub fn plugin(mut self, extension: Extension) -> Self {
        self.0.extensions.push(extension);
        self
    }

    /// Where `kubernetes` blocks get their cluster from. Without this they are an error.
    #[must_use]
    pub fn clusters(mut self, source: impl ClusterSource + 'static) -> Self {
        self.0.source = Arc::new(source);
        self
    }

    /// Counters to share with other parts of the program; `prometheus` shows their registry.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.0.metrics = metrics;
        self
    }

    /// How many files and sockets the server may have open; more than enough for its bounds without
    /// this. With fewer the bounds are lower.
    #[must_use]
    pub fn descriptors(mut self, most: usize) -> Self {
        self.0.descriptors = most;
        self
    }

    /// Takes the sockets of the server that offers them at this unix socket, and offers its own there:
    /// see [`crate::server::handover`].
    #[must_use]
    pub fn handover(mut self, socket: impl Into<PathBuf>) -> Self {
        self.0.handover = Some(socket.into());
        self
    }

    /// Starts the server on the current tokio runtime, which needs its timer and I/O. It serves until
    /// [`Server::stop`]; dropping it does not stop it.
    ///
    /// # Errors
    /// [`StartError`]: nothing is left running then.
    pub async fn start(self) -> Result<Arc<Server>, StartError> {
        Server::start(self.0).await
    }
}

/// For programs without a cluster.
struct NoCluster;

impl ClusterSource for NoCluster {
    fn open(&self, _api: &Api, _needs: Needs) -> Result<Arc<dyn OpenCluster>, ClusterError> {
        let what = "this program has no source of clusters; give the builder one with `clusters`";
        Err(ClusterError(what.to_owned()))
    }
}
