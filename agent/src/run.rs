//! The agent's life: what comes up after what, what follows the cluster, and what stays when it ends.
//!
//! Nothing is taken away at the end: programs, tables, links and routes go on without us, and the next
//! agent takes them up. While the API server is away everything stays as it last was.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use daymark_cluster::{Delta, Follow, Node, Snapshot};
use daymark_cni::{
    attachments::{Attachments, Settings},
    metrics::Metrics as CniMetrics,
    node::{self, Applied, NodePlan, conflist},
    record,
    server::{self, Socket},
};
use daymark_loader::{Datapath, Kernel, kernel};
use daymark_source::{
    Source,
    kubernetes::{ApiConfig, Author},
};
use prometheus::Registry;
use tokio::sync::Notify;

use crate::{
    foreign,
    metrics::KernelMetrics,
    plan::{self, Missing, Wishes},
    root::Root,
    serving::{self, Readiness},
    status::Reporter,
};

/// The taint that keeps pods from a node until its agent is ready.
pub const TAINT: &str = "daymark.io/agent-not-ready";
/// How often connections whose time is over are taken out of the tables.
const SWEEP: Duration = Duration::from_secs(5);
/// How long a container runtime may take to load a configuration that has just been written: it is
/// told by the file system, and reads at once.
const RUNTIME_LOADS: Duration = Duration::from_secs(2);
/// Between tries of what could not be done, and between complaints about what is missing.
const AGAIN: Duration = Duration::from_secs(5);

/// What an agent is told at its start.
pub struct Options {
    /// What is its own on this machine.
    pub root: Root,
    /// How the operator wants the network.
    pub wishes: Wishes,
    /// Where it says how it is doing.
    pub listen: SocketAddr,
    /// Where the taint is to be taken from the Node; `None` without an API server.
    pub api: Option<ApiConfig>,
    /// What is counted elsewhere in this process, and is shown with the rest.
    pub registry: Registry,
}

/// Tells a task that Nodes have changed.
struct Watching(Arc<Notify>);

impl Follow for Watching {
    fn follow(&mut self, _: &Snapshot, _: &Snapshot, delta: &Delta) {
        if !delta.nodes.is_empty() || delta.synced {
            self.0.notify_one();
        }
    }
}

/// Runs until `stop` is done.
///
/// # Errors
/// If another agent has the root, if the kernel can't do what it must, or if what an earlier agent left
/// can't be taken up. What is missing in the cluster is waited for.
pub async fn run(
    options: Options,
    source: &Source,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    tokio::select! {
        ended = live(options, source) => ended,
        () = stop => Ok(()),
    }
}

async fn live(options: Options, source: &Source) -> anyhow::Result<()> {
    let Options { root, wishes, listen, api, registry } = options;
    let _lock = root.lock()?;
    // Plugins that come early wait instead of failing.
    let socket = Socket::bind(&root.socket)
        .with_context(|| format!("listening for the plugin at {}", root.socket.display()))?;
    let readiness = Readiness::default();
    let reporter = Arc::new(Reporter::new(wishes.node_name.clone(), readiness.clone()));
    serving::serve(listen, readiness.clone(), registry.clone(), Arc::clone(&reporter)).await?;
    let cni_metrics = CniMetrics::new(&registry)?;

    let changed = Arc::new(Notify::new());
    let _following = source.reader.follow(Box::new(Watching(Arc::clone(&changed))));
    let first = first_plan(source, &wishes, &changed, &reporter).await;

    // Everything below works on the kernel and blocks, shortly; the runtime has nothing else to do yet.
    kernel::mount_bpffs(&root.bpffs).context("mounting a BPF file system")?;
    let datapath = Kernel::open(&kernel::Root {
        bpffs: root.bpffs.clone(),
        cgroup: root.cgroup.clone(),
        memory: root.table_memory,
    })
    .context("loading the programs")?;
    let datapath = Arc::new(datapath);
    registry.register(Box::new(KernelMetrics::new(Arc::clone(&datapath))?))?;
    reporter.has_datapath(Arc::clone(&datapath));
    let (own, told) = (Arc::clone(&datapath), Arc::clone(&reporter));
    let mut held = Held { wishes, datapath: own, reporter: told, plan: None, mtu: 0 };
    held.make(&first, source)?;
    let settings = Settings {
        folder: root.state.join("attachments"),
        boot_id: record::boot_id().context("reading the boot id")?,
        pod_ranges: first.pod_ranges.clone(),
        node_addresses: first.node_addresses.clone(),
        mtu: held.mtu,
        switches: held.wishes.switches.clone(),
    };
    let (attachments, restored) = Attachments::restore(
        settings,
        Arc::clone(&datapath) as Arc<dyn Datapath>,
        cni_metrics.clone(),
    )
    .context("taking up the pods of this node")?;
    tracing::info!(kept = restored.kept, removed = restored.removed, "took up what was there");
    datapath.remove_older().context("removing what agents before left")?;

    let attachments = Arc::new(attachments);
    reporter.has_attachments(Arc::clone(&attachments));
    let answering = server::serve(socket, Arc::clone(&attachments), cni_metrics);
    let mut answering = std::pin::pin!(answering);

    // Last: with this file the runtime begins to start pods.
    let written = conflist::write(&root.cni_configurations, &conflist::list(&root.socket));
    let written = written.context("writing the network configuration")?;
    tracing::info!(configuration = %written.display(), "pods can be added");
    readiness.set(true);
    if let Some(api) = api {
        tokio::spawn(take_taint_away(api, held.wishes.node_name.clone()));
    }
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            ended = &mut answering => return ended.context("answering the plugin"),
            () = changed.notified() => {
                if !held.follow(source, &attachments) {
                    let changed = Arc::clone(&changed);
                    tokio::spawn(async move {
                        tokio::time::sleep(AGAIN).await;
                        changed.notify_one();
                    });
                }
            }
            _ = sweep.tick() => {
                let datapath = Arc::clone(&datapath);
                // Tables are walked, which takes its time; a sweep that failed is tried again.
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = datapath.sweep() {
                        tracing::warn!(%error, "connections whose time is over stay for now");
                    }
                });
            }
        }
    }
}

/// Waits for what this node's network is made of.
async fn first_plan(
    source: &Source,
    wishes: &Wishes,
    changed: &Notify,
    reporter: &Reporter,
) -> NodePlan {
    let mut told: Option<Missing> = None;
    reporter.waits_for(Some("the cluster's Nodes".to_owned()));
    loop {
        match plan::plan(&source.reader.snapshot(), wishes) {
            Ok(plan) if source.reader.synced() => {
                reporter.waits_for(None);
                return plan;
            }
            Ok(_) => {}
            Err(missing) if source.reader.synced() && told.as_ref() != Some(&missing) => {
                tracing::warn!("waiting: {missing}");
                reporter.waits_for(Some(missing.to_string()));
                told = Some(missing);
            }
            Err(_) => {}
        }
        // The first list may come between the snapshot and the question whether it is complete.
        let _ = tokio::time::timeout(AGAIN, changed.notified()).await;
    }
}

/// The plan that holds, and what it is made to hold in.
struct Held {
    wishes: Wishes,
    datapath: Arc<Kernel>,
    reporter: Arc<Reporter>,
    plan: Option<(NodePlan, Vec<Node>)>,
    mtu: u32,
}

impl Held {
    /// Makes a plan hold in the kernel and in the programs' tables.
    fn make(&mut self, plan: &NodePlan, source: &Source) -> anyhow::Result<()> {
        let nodes = nodes(source);
        let applied = node::apply(plan).context("making links and routes")?;
        self.datapath.configure(&plan::settings(plan, &applied, &self.wishes, &nodes))?;
        self.datapath.set_peers(&applied.peers)?;
        self.tell(plan, &applied);
        self.reporter.made(plan, &applied);
        self.mtu = applied.pod_mtu;
        self.plan = Some((plan.clone(), nodes));
        Ok(())
    }

    fn tell(&self, plan: &NodePlan, applied: &Applied) {
        let before: BTreeSet<_> =
            self.plan.iter().flat_map(|(plan, _)| &plan.peers).map(|peer| &peer.name).collect();
        let new = plan.peers.iter().filter(|peer| !before.contains(&peer.name)).count();
        let uplink = &applied.uplink.name;
        tracing::info!(
            uplink,
            mtu = applied.pod_mtu,
            nodes = plan.peers.len(),
            new,
            "routes are made"
        );
        for (range, reason) in &applied.unreachable {
            tracing::warn!(%range, "pods of another node can't be reached: {reason}");
        }
        for foreign in foreign::programs(&self.datapath, &applied.uplink) {
            tracing::info!(foreign, "another program is on the uplink too; it is left alone");
        }
    }

    /// Makes what the cluster says now hold; what can't be keeps the last state. False if it is to be
    /// tried again: not the cluster has to change for it, but the node.
    fn follow(&mut self, source: &Source, attachments: &Attachments) -> bool {
        let plan = match plan::plan(&source.reader.snapshot(), &self.wishes) {
            Ok(plan) => plan,
            Err(missing) => {
                tracing::warn!("everything stays as it is: {missing}");
                self.reporter.failed(Some(missing.to_string()));
                return true;
            }
        };
        let held = self.plan.as_ref().map(|(plan, nodes)| (plan, nodes));
        if held == Some((&plan, &nodes(source))) {
            self.reporter.failed(None);
            return true;
        }
        if let Some((before, _)) = &self.plan
            && before.pod_ranges != plan.pod_ranges
        {
            let changed = "spec.podCIDRs of this node changed, which the API does not allow; drain \
                           the node and restart the agent to use the new ones";
            tracing::error!("{changed}");
            self.reporter.failed(Some(changed.to_owned()));
            return true;
        }
        let made = self.make(&plan, source);
        self.reporter.failed(made.as_ref().err().map(|error| format!("{error:#}")));
        match made {
            Ok(()) => attachments.set_mtu(self.mtu),
            Err(error) => {
                tracing::error!("not all of it holds, and is tried again: {error:#}");
                return false;
            }
        }
        true
    }
}

/// All nodes, by name.
fn nodes(source: &Source) -> Vec<Node> {
    let snapshot = source.reader.snapshot();
    let mut nodes: Vec<Node> = snapshot.nodes.values().map(|node| Node::clone(node)).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

/// Takes [`TAINT`] from the Node once the runtime has loaded the configuration; tries until it could.
async fn take_taint_away(api: ApiConfig, node: String) {
    tokio::time::sleep(RUNTIME_LOADS).await;
    let author = match Author::new(&api) {
        Ok(author) => author,
        Err(error) => return tracing::error!(%error, taint = TAINT, "the taint stays"),
    };
    loop {
        match author.remove_taint(&node, TAINT).await {
            Ok(true) => return tracing::info!(node, taint = TAINT, "took the taint away"),
            Ok(false) => return,
            Err(error) => tracing::warn!(%error, "the taint stays for now"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
