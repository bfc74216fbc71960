//! The server: sockets and threads around the compiled configuration, and its life from start to stop.
//!
//! [`setup`] builds a configuration whole; [`listening`] serves it on sockets that outlive it; a
//! query is read by [`udp`] or [`tcp`], answered by [`short`] or [`long`]. [`Server`] is the front.

pub mod admission;
pub mod answering;
pub mod batch;
pub mod cluster_source;
pub mod doh;
pub mod endpoint;
mod fairness;
pub mod handover;
pub mod http;
pub mod https;
pub mod https3;
pub mod interfaces;
pub mod listening;
pub mod long;
mod messages;
pub mod outbox;
mod pace;
mod places;
pub mod quic;
pub mod routes;
pub mod setup;
pub mod short;
pub mod stream;
pub mod tcp;
pub mod udp;

use std::{
    any::Any,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use self::{
    admission::Admission,
    cluster_source::ClusterSource,
    endpoint::Endpoint,
    fairness::Quota,
    handover::{Handed, Inherited},
    http::HttpServers,
    listening::{Ending, ListenError, Listening, Shared},
    outbox::Outbox,
    setup::{Plan, SetupError, Workshop},
    udp::LongWay,
};
use crate::{
    corefile::{
        self,
        check::{Checked, Environment},
        mistake::Mistakes,
        source::Reader as FileReader,
    },
    metrics::Metrics,
    plugins::{
        extension::Extension,
        on::{
            self,
            config::{Event, Hook},
        },
        ready::ServerState,
        reload,
    },
};

/// Queries on the long way at once; each may hold a socket to an upstream.
const LONG_ROOM: usize = 8192;
/// What is in work when the server stops is answered within this time, as in CoreDNS.
const GRACE: Duration = Duration::from_secs(5);
/// What waits to be sent elsewhere then is sent within this time.
const SENDING: Duration = Duration::from_secs(2);
/// Connections at once, whatever they speak.
const CONNECTIONS: usize = 4096;
/// File descriptors that let both bounds be reached, with some for everything else.
pub const DESCRIPTORS: usize = 2 * LONG_ROOM;

/// Where the configuration comes from.
pub enum Origin {
    /// A Corefile, read again by `reload`.
    File(PathBuf),
    /// Text that does not change, with the name that mistakes are reported under.
    Text {
        /// The name.
        name: String,
        /// The text.
        text: String,
    },
}

/// What a server is started with.
pub struct Options {
    /// The configuration.
    pub origin: Origin,
    /// Reads files and environment variables.
    pub reader: Arc<dyn FileReader + Send + Sync>,
    /// Port where the Corefile names none.
    pub default_port: u16,
    /// Plugins beside those of this crate.
    pub extensions: Vec<Extension>,
    /// Opens clusters.
    pub source: Arc<dyn ClusterSource>,
    /// Counters; shared with whoever wants to show more.
    pub metrics: Arc<Metrics>,
    /// A forwarding loop ends the process, as in CoreDNS: see [`Server::fatal`]. Without this it is
    /// cut and everything else goes on.
    pub loop_exit: bool,
    /// Files and sockets that the process may have open. With fewer than [`DESCRIPTORS`] the bounds
    /// on queries and connections are lower, so that one kind can't take what the others need.
    pub descriptors: usize,
    /// A unix socket at which a process of the same network namespace hands its sockets to its
    /// successor: this one takes them from there, and offers them there. See [`handover`].
    pub handover: Option<PathBuf>,
}

/// Why a server does not start, or a reload does not happen.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The Corefile is wrong.
    #[error(transparent)]
    Corefile(#[from] Mistakes),
    /// It can't be served.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// An address can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The sockets of the process before can't be had, or ours not be offered.
    #[error("handing over at {}: {error}", path.display())]
    Handover {
        /// Where.
        path: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
}

/// A running server.
pub struct Server {
    options: Options,
    workshop: Workshop,
    shared: Arc<Shared>,
    serving: tokio::sync::Mutex<Serving>,
    /// What the last good configuration was, for `reload`.
    digest: Mutex<String>,
    fatal: watch::Receiver<Option<String>>,
    debugging: watch::Sender<bool>,
    /// Whether a successor serves our sockets.
    succeeded: watch::Sender<bool>,
}

#[derive(Default)]
struct Serving {
    listening: Listening,
    http: HttpServers,
    keep: Vec<Box<dyn Any + Send + Sync>>,
    lameduck: Duration,
    reload: Option<reload::config::Config>,
    hooks: Vec<Hook>,
    outboxes: Vec<Arc<dyn Outbox>>,
}

impl Server {
    /// Starts a server on the current runtime: reads the configuration, waits for clusters as long
    /// as it says, then listens.
    ///
    /// # Errors
    /// [`StartError`]: nothing is left running then.
    pub async fn start(options: Options) -> Result<Arc<Self>, StartError> {
        let runtime = Handle::current();
        let metrics = Arc::clone(&options.metrics);
        let long = LongWay {
            runtime: runtime.clone(),
            admission: Admission::new(LONG_ROOM.min(options.descriptors / 2)),
            recorder: metrics.queries().recorder(),
        };
        let (end, fatal) = watch::channel(None);
        let quota = Quota::of_this_process(&runtime);
        let workshop = Workshop {
            loop_exit: options.loop_exit.then_some(end),
            runtime,
            metrics: Arc::clone(&metrics),
            source: Arc::clone(&options.source),
            state: Arc::new(ServerState::default()),
            default_port: options.default_port,
        };
        let connections = Admission::new(CONNECTIONS.min(options.descriptors / 4));
        let server = Server {
            options,
            workshop,
            shared: Arc::new(Shared { metrics, long, connections, quota }),
            serving: tokio::sync::Mutex::new(Serving::default()),
            digest: Mutex::new(String::new()),
            fatal,
            debugging: watch::Sender::new(false),
            succeeded: watch::Sender::new(false),
        };
        let checked = server.read()?;
        let path = server.options.handover.clone();
        let failed = |path: &PathBuf| {
            let path = path.clone();
            move |error| StartError::Handover { path, error }
        };
        let mut inherited = match &path {
            Some(path) => Inherited::ask(path).map_err(failed(path))?,
            None => Inherited::default(),
        };
        server.serve(&checked, &mut inherited).await?;
        let server = Arc::new(server);
        if let Some(path) = &path {
            handover::offer(path, &server).map_err(failed(path))?;
        }
        inherited.taken();
        reload::start(&server).await;
        Ok(server)
    }

    /// Reads the configuration again and serves it, if it changed or `even_if_same`. The old one
    /// serves on until the new one does, and goes on doing so if that fails. Tells whether a new
    /// one is served.
    ///
    /// # Errors
    /// [`StartError`]; it also shows in `/ready`, in `coredns_reload_failed_total` and in the log.
    pub async fn reload(&self, even_if_same: bool) -> Result<bool, StartError> {
        let outcome = self.try_reload(even_if_same).await;
        let failure = outcome.as_ref().err().map(ToString::to_string);
        if outcome.is_err() {
            self.workshop.metrics.reload_failed.inc();
        }
        if !matches!(outcome, Ok(false)) {
            *self.workshop.state.reload_failure.lock() = failure;
        }
        outcome
    }

    async fn try_reload(&self, even_if_same: bool) -> Result<bool, StartError> {
        let checked = self.read()?;
        if checked.digest == *self.digest.lock() && !even_if_same {
            return Ok(false);
        }
        self.serve(&checked, &mut Inherited::default()).await?;
        Ok(true)
    }

    /// What is listened on for DNS.
    pub async fn endpoints(&self) -> Vec<Endpoint> {
        self.serving.lock().await.listening.endpoints()
    }

    /// The `reload` plugin's settings, if the configuration has it.
    pub async fn reload_settings(&self) -> Option<reload::config::Config> {
        self.serving.lock().await.reload
    }

    /// Waits for something that must end the process, if ever: a forwarding loop with
    /// [`Options::loop_exit`]. It is logged already; the text is for whoever wants more.
    pub async fn fatal(&self) -> String {
        let mut fatal = self.fatal.clone();
        match fatal.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            // Nobody is there to say so.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Whether the configuration has `debug`: then debug lines are to be logged.
    pub fn debugging(&self) -> watch::Receiver<bool> {
        self.debugging.subscribe()
    }

    /// Stops: not ready at once, then the commands of `on`, answering for as long as `lameduck` says,
    /// then no more.
    pub async fn stop(&self) {
        self.workshop.state.stopping.store(true, Ordering::Relaxed);
        let (lameduck, shutdown) = {
            let serving = self.serving.lock().await;
            (serving.lameduck, on::run(&serving.hooks, Event::Shutdown))
        };
        shutdown.await;
        if !lameduck.is_zero() {
            tracing::info!(?lameduck, "stopping; answering a little longer");
            sleep(lameduck).await;
        }
        self.end(Ending::Drain).await;
    }

    /// Waits until a successor serves our sockets, if ever.
    pub async fn succeeded(&self) {
        if self.succeeded.subscribe().wait_for(|succeeded| *succeeded).await.is_err() {
            // Nobody is there to say so.
            std::future::pending::<()>().await;
        }
    }

    /// Leaves the sockets to a successor, once what is in work is answered.
    pub async fn leave(&self) {
        self.workshop.state.stopping.store(true, Ordering::Relaxed);
        self.end(Ending::Leave).await;
    }

    /// Reads no more, answers what is in work, lets everything go.
    async fn end(&self, ending: Ending) {
        let mut serving = self.serving.lock().await;
        serving.listening.stop(ending);
        serving.http.stop();
        let deadline = Instant::now() + GRACE;
        let Shared { long, connections, .. } = &*self.shared;
        while long.admission.taken() + connections.taken() > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
        serving.keep.clear();
        let outboxes = std::mem::take(&mut serving.outboxes);
        let sent = futures::future::join_all(outboxes.iter().map(|outbox| outbox.finish()));
        if timeout(SENDING, sent).await.is_err() {
            tracing::warn!("what was to be sent elsewhere is not all sent");
        }
    }

    /// Every socket that can be handed on.
    async fn handed(&self) -> std::io::Result<Vec<Handed>> {
        let serving = self.serving.lock().await;
        let mut handed = serving.listening.handed()?;
        handed.extend(serving.http.handed()?);
        Ok(handed)
    }

    fn read(&self) -> Result<Checked, Mistakes> {
        let environment = Environment {
            reader: &*self.options.reader,
            default_port: self.options.default_port,
            extensions: &self.options.extensions,
        };
        let checked = match &self.options.origin {
            Origin::File(path) => corefile::load(path, &environment)?,
            Origin::Text { name, text } => corefile::load_text(name, text.clone(), &environment)?,
        };
        for warning in &checked.warnings {
            tracing::warn!("{warning}");
        }
        Ok(checked)
    }

    async fn serve(&self, checked: &Checked, inherited: &mut Inherited) -> Result<(), StartError> {
        let plan = setup::build(checked, &self.workshop).await?;
        cluster_source::wait_for(&plan.wait_for).await;
        let mut serving = self.serving.lock().await;
        let opened = serving.listening.open(&plan.wanted, inherited)?;
        let opened_http = serving.http.open(&plan.pages, inherited).await?;
        let Plan {
            wanted,
            pages,
            lameduck,
            reload,
            watched,
            keep,
            once_served,
            debug,
            hooks,
            outboxes,
            ..
        } = plan;
        serving.listening.serve(wanted, opened, &self.shared);
        let Workshop { runtime, metrics, .. } = &self.workshop;
        serving.http.serve(pages, opened_http, runtime, &metrics.http_shed);
        serving.lameduck = lameduck;
        serving.reload = reload;
        metrics.clusters.show(watched);
        // What the old configuration needed goes only now that nothing is answered from it.
        serving.keep = keep;
        serving.outboxes = outboxes;
        for start in once_served {
            start();
        }
        // Nobody waits for the commands: one that hangs must not hold up the server.
        drop(on::run(&hooks, Event::Startup));
        serving.hooks = hooks;
        drop(serving);
        self.debugging.send_replace(debug);
        *self.digest.lock() = checked.digest.clone();
        metrics.configured(&checked.digest, checked.has_reload());
        Ok(())
    }
}
