//! Flags of `daymark agent`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::{LogFormat, StatusFormat};

/// Flags of `daymark agent`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct AgentOptions {
    /// What to do instead of running.
    #[command(subcommand)]
    pub(crate) verb: Option<AgentVerb>,
    /// This node's name in the cluster.
    #[arg(long, value_name = "NAME", env = "NODE_NAME", required = true)]
    pub(crate) node_name: Option<String>,
    /// Take Nodes from this folder (or file) of manifests, not from an API server.
    #[arg(long, value_name = "PATH")]
    pub(crate) manifests: Option<PathBuf>,
    /// How to reach the API server; without it as a Pod does.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", conflicts_with = "manifests")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// What is its own on this node.
    #[command(flatten)]
    pub(crate) places: AgentPlaces,
    /// The cgroup2 whose processes can reach host ports by 127.0.0.1 [default: the root of cgroup2].
    #[arg(long, value_name = "DIR")]
    pub(crate) cgroup: Option<PathBuf>,
    /// Where the kernel's switches are: in a container another mount of it, since /proc/sys itself is
    /// read-only there.
    #[arg(long, value_name = "DIR", default_value = "/proc/sys")]
    pub(crate) sysctls: PathBuf,
    /// How packets get to other nodes.
    #[arg(long, value_enum, default_value_t = RoutingMode::Auto)]
    pub(crate) routing: RoutingMode,
    /// Leave the source address of what pods send out of the cluster as it is.
    #[arg(long)]
    pub(crate) no_masquerade: bool,
    /// Ranges to which pods send with their own addresses, beside the pods' own.
    #[arg(long, value_name = "RANGE", value_delimiter = ',')]
    pub(crate) native_ranges: Vec<String>,
    /// Size the tables as on a node with so much memory [default: what this one has].
    #[arg(long, value_name = "MIB")]
    pub(crate) table_memory: Option<u64>,
    /// Where to serve `/healthz`, `/readyz`, `/metrics` and `/status`.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9964")]
    pub(crate) listen: SocketAddr,
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "DAYMARK_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// What an agent can be told to do instead of running.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentVerb {
    /// Remove every trace of an agent from this node: its network configuration, programs, tables,
    /// links, routes, addresses and state. Pods that it attached lose their network. No agent may run.
    Cleanup(AgentPlaces),
}

/// What is an agent's own on a node.
#[derive(Debug, Args)]
pub(crate) struct AgentPlaces {
    /// What has to survive a restart is kept in this folder.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/daymark")]
    pub(crate) state_dir: PathBuf,
    /// Where the CNI plugin finds the agent.
    #[arg(long, value_name = "SOCKET", default_value = "/run/daymark/agent.sock")]
    pub(crate) socket: PathBuf,
    /// Maps and programs are pinned in this folder of a bpffs.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/daymark")]
    pub(crate) bpffs: PathBuf,
    /// The folder that the container runtime reads network configurations from.
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub(crate) cni_conf_dir: PathBuf,
}

/// Flags of `daymark status`.
#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    /// Where the agent listens: its `--listen`.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9964")]
    pub(crate) agent: SocketAddr,
    /// How to write it.
    #[arg(long, short, value_enum, default_value_t = StatusFormat::Text)]
    pub(crate) output: StatusFormat,
}

/// How packets get to other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoutingMode {
    /// Native within a subnet, VXLAN else.
    Auto,
    /// By routes.
    Native,
    /// By tunnels.
    Vxlan,
}
