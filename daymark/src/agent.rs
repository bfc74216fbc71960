//! `daymark agent`: the process around `daymark-agent`.

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use daymark_agent::{Options, Root, plan::Wishes};
use daymark_cluster::{Kind, Needs};
use daymark_cni::node::{Mode, Switches, VNI, VXLAN_PORT};
use daymark_source::{
    Source,
    kubernetes::{Access, ApiConfig},
};
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    arguments::{AgentOptions, AgentPlaces, AgentVerb, RoutingMode},
    logging,
    output::{complain, print},
};

/// Runs the agent until it is told to stop, or does what is asked instead.
pub(crate) fn run(options: &AgentOptions) -> ExitCode {
    if let Some(AgentVerb::Cleanup(places)) = &options.verb {
        return clean_up(places);
    }
    match logged(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Removes every trace of an agent, and says how much there was.
fn clean_up(places: &AgentPlaces) -> ExitCode {
    match daymark_agent::cleanup(&root(places, None)) {
        Ok(count) => {
            print(&format!("removed {count} files, links, routes and addresses\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("{error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

fn logged(options: &AgentOptions) -> anyhow::Result<()> {
    let registry = Registry::new();
    let opts = Opts::new("daymark_log_lost_total", "Log lines that could not be written.");
    let lost = IntCounterVec::new(opts, &["log"])?;
    registry.register(Box::new(lost.clone()))?;
    let log = logging::start(options.log_format, lost.with_label_values(&["server"]))
        .context("starting to log")?;
    let outcome = serve(options, registry);
    log.lines.flush();
    outcome
}

fn serve(options: &AgentOptions, registry: Registry) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Many pods at once have a thread each; nothing is won by keeping those for the next ones.
        .thread_keep_alive(Duration::from_secs(1))
        .enable_all()
        .thread_name("daymark")
        .build()
        .context("starting the runtime")?;
    runtime.block_on(async {
        let needs = Needs { kinds: [Kind::Node].into_iter().collect(), ..Needs::default() };
        let (source, api) = match &options.manifests {
            Some(path) => {
                let source = Source::manifests(path, needs);
                let shown = |error| anyhow::anyhow!("{:?}", miette::Report::new(error));
                (source.map_err(shown)?, None)
            }
            None => {
                let config = api(options)?;
                (Source::kubernetes(&config, needs, Arc::new(()))?, Some(config))
            }
        };
        let mut terminate = signal(SignalKind::terminate()).context("waiting for signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("waiting for signals")?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        daymark_agent::run(agent_options(options, api, registry)?, &source, stop).await
    })
}

fn api(options: &AgentOptions) -> anyhow::Result<ApiConfig> {
    let access = match &options.kubeconfig {
        Some(path) => Access::Kubeconfig { path: path.clone(), context: None },
        None => Access::InCluster,
    };
    // With the state on disk the agent starts while the API server is away.
    let state = options.places.state_dir.join("cluster");
    fs::create_dir_all(&state).with_context(|| format!("making {}", state.display()))?;
    Ok(ApiConfig { state: Some(state), ..ApiConfig::new(access) })
}

fn agent_options(
    options: &AgentOptions,
    api: Option<ApiConfig>,
    registry: Registry,
) -> anyhow::Result<Options> {
    let native_ranges = options
        .native_ranges
        .iter()
        .map(|text| text.parse().with_context(|| format!("--native-ranges: `{text}` is no range")))
        .collect::<anyhow::Result<_>>()?;
    Ok(Options {
        root: Root {
            cgroup: options.cgroup.clone().or_else(cgroup2),
            ..root(&options.places, options.table_memory)
        },
        wishes: Wishes {
            node_name: options.node_name.clone().context("--node-name is missing")?,
            mode: match options.routing {
                RoutingMode::Auto => Mode::Auto,
                RoutingMode::Native => Mode::Native,
                RoutingMode::Vxlan => Mode::Vxlan,
            },
            vxlan_port: VXLAN_PORT,
            vni: VNI,
            masquerade: !options.no_masquerade,
            native_ranges,
            switches: Switches::at(&options.sysctls),
        },
        listen: options.listen,
        api,
        registry,
    })
}

/// What these places are; `memory` in MiB.
fn root(places: &AgentPlaces, memory: Option<u64>) -> Root {
    Root {
        state: places.state_dir.clone(),
        socket: places.socket.clone(),
        bpffs: places.bpffs.clone(),
        cgroup: None,
        cni_configurations: places.cni_conf_dir.clone(),
        table_memory: memory.map(|mib| mib << 20),
    }
}

/// Where cgroup2 is mounted; on hosts that have both versions not at /sys/fs/cgroup.
fn cgroup2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
    mount.split(' ').nth(1).map(PathBuf::from)
}
