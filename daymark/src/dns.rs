//! `daymark dns`: the server's process around `daymark-dns`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use daymark_dns::{
    corefile::{mistake::Report, source::Disk},
    metrics::Metrics,
    plugins::{REGISTRY, Support, reload},
    server::{DESCRIPTORS, Options, Origin, Server, StartError},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    api_metrics::ApiMetrics,
    arguments::{DnsOptions, version},
    clusters::Clusters,
    default_corefile, logging,
    output::{complain, print},
};

/// Runs the server until it is told to stop.
pub(crate) fn run(options: DnsOptions) -> ExitCode {
    if options.print_version {
        print(&format!("{}\n", version()));
        return ExitCode::SUCCESS;
    }
    if options.plugins {
        for entry in REGISTRY.iter().filter(|entry| matches!(entry.support, Support::Ready { .. }))
        {
            print(&format!("dns.{}\n", entry.name));
        }
        return ExitCode::SUCCESS;
    }
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let lost = metrics.log_lost.with_label_values(&["server"]);
    let outcome =
        logging::start(options.log_format, lost).context("starting to log").and_then(|log| {
            let outcome = serve(options, metrics, log.debug);
            log.lines.flush();
            outcome
        });
    outcome.unwrap_or_else(|error| {
        complain(&format!("{error:#}\n"));
        ExitCode::FAILURE
    })
}

fn serve(
    options: DnsOptions,
    metrics: Arc<Metrics>,
    debug: Box<dyn Fn(bool) + Send>,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("daymark")
        .build()
        .context("starting the runtime")?;
    let _pidfile = options.pidfile.as_deref().map(PidFile::write).transpose()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let server = match Server::start(server_options(&options, metrics)).await {
            Ok(server) => server,
            Err(StartError::Corefile(mistakes)) => {
                return Err(anyhow::anyhow!("{:?}", miette::Report::new(Report::from(mistakes))));
            }
            Err(error) => return Err(error.into()),
        };
        let mut debugging = server.debugging();
        debug(*debugging.borrow_and_update());
        tokio::spawn(async move {
            while debugging.changed().await.is_ok() {
                debug(*debugging.borrow_and_update());
            }
        });
        if !options.quiet {
            for endpoint in server.endpoints().await {
                print(&format!("{}://{}\n", endpoint.scheme.name(), endpoint.address));
            }
            print(&format!("{}\n", version()));
        }
        tokio::select! {
            () = signals.obey(&server) => Ok(ExitCode::SUCCESS),
            () = server.succeeded() => {
                server.leave().await;
                Ok(ExitCode::SUCCESS)
            }
            _logged = server.fatal() => Ok(ExitCode::FAILURE),
        }
    })
}

fn server_options(options: &DnsOptions, metrics: Arc<Metrics>) -> Options {
    let origin = match &options.conf {
        Some(path) => Origin::File(path.clone()),
        None if Path::new("Corefile").exists() => Origin::File(PathBuf::from("Corefile")),
        None => Origin::Text {
            name: "the default Corefile".to_owned(),
            text: default_corefile::text(options.manifests.is_some()),
        },
    };
    let observer = ApiMetrics::new(&metrics);
    Options {
        origin,
        reader: Arc::new(Disk),
        default_port: options.port,
        extensions: Vec::new(),
        source: Arc::new(Clusters::new(
            options.manifests.clone(),
            options.state_dir.clone(),
            observer,
        )),
        metrics,
        loop_exit: options.loop_exit,
        descriptors: raise_descriptors(),
        handover: options.handover.clone(),
    }
}

/// Raises the number of files and sockets that we may have open as far as we are allowed to, as Go
/// does for CoreDNS, and tells it. The usual soft limit is for programs that use `select`.
fn raise_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "raising the limit of open files");
    }
    let now = getrlimit(Resource::Nofile).current;
    let most = now.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    if most < DESCRIPTORS {
        tracing::warn!(
            "only {most} files and sockets may be open, so fewer queries and connections are taken \
             at once; raise the limit (`ulimit -n`, LimitNOFILE) to {DESCRIPTORS}"
        );
    }
    most
}

/// The signals that CoreDNS understands.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    reload: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("waiting for signals");
        Ok(Signals {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            quit: on(SignalKind::quit())?,
            reload: on(SignalKind::user_defined1())?,
        })
    }

    /// SIGUSR1 reloads; SIGTERM and SIGINT stop after lameduck, a second one or SIGQUIT at once.
    async fn obey(&mut self, server: &Arc<Server>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.quit.recv() => return,
                _ = self.reload.recv() => reload::report(server.reload(true).await),
            }
        }
        tokio::select! {
            () = server.stop() => {}
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// A file with the process id, removed at the end.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> anyhow::Result<Self> {
        let file = PidFile(path.to_owned());
        // Dropped on failure: an empty file is left behind where the disk is full.
        std::fs::write(path, format!("{}\n", std::process::id())).map_err(|error| {
            let path = path.display();
            anyhow::anyhow!(
                "cannot write the process id to `{path}`: {error}; make room and check that this \
                 user may write there, or leave out --pidfile"
            )
        })?;
        Ok(file)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another process may have taken the file over (a successor does) or away; either is fine at the
        // end. What is no file (/dev/stdout) was there before us.
        let ours = format!("{}\n", std::process::id());
        if self.0.is_file() && std::fs::read_to_string(&self.0).is_ok_and(|text| text == ours) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}
