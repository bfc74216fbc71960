//! Real nodes: the image in Pods that kubelets start (`tests/node`).

use std::process::Command;

use crate::{
    image, packages, peers,
    shell::{execute, peers_folder, repository},
};

/// What runs on the nodes.
// Groups of clap are called after their types, and the image's flags have that name.
#[derive(Debug, clap::Args)]
#[group(id = "nodes")]
pub(crate) struct Options {
    #[command(flatten)]
    image: image::Options,
    /// Who gives Pods their network.
    #[arg(long, value_enum, default_value_t = Network::Bridge)]
    network: Network,
    /// How Daymark's network reaches Pods of other nodes.
    #[arg(long, value_enum, default_value_t = Routing::Native)]
    routing: Routing,
    /// Nodes and Pods have IPv6 addresses as well, with Daymark's network.
    #[arg(long)]
    dual_stack: bool,
    /// For how long Pods come and go, with Daymark's network, in seconds.
    #[arg(long, default_value_t = 60)]
    churn: u32,
}

/// Who gives Pods their network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Network {
    /// The reference plugins, and static routes: the run is about the cluster's DNS.
    Bridge,
    /// The chart's DaemonSet.
    Daymark,
}

/// How packets get to other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Routing {
    /// By routes.
    Native,
    /// By tunnels.
    Vxlan,
}

/// Makes the image and what nodes need, and runs `tests/node/run.sh`.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    packages::for_nodes();
    peers::build_for_nodes()?;
    let archive = image::build(&options.image)?;
    let (repository_name, tag) = options.image.name_and_tag();
    let mut nodes = Command::new(repository().join("tests/node/run.sh"));
    nodes.arg(archive).args([repository_name, tag]).env("PEERS_BIN", peers_folder());
    if options.network == Network::Daymark {
        nodes.env("NETWORK", "daymark").env("CHURN_SECONDS", options.churn.to_string());
        nodes.env(
            "ROUTING",
            match options.routing {
                Routing::Native => "native",
                Routing::Vxlan => "vxlan",
            },
        );
        if options.dual_stack {
            nodes.env("DUAL_STACK", "1");
        }
    }
    execute(&mut nodes)
}
