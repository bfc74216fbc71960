//! The process that a lab lives in: it starts the agents, and does for pods what kubelet and container
//! runtime do on a real node.

use std::{
    fs::{self, File},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tokio::{signal::unix::SignalKind, task::JoinSet};

use crate::{
    api::{RENEWAL, Server, relay},
    definition::{Definition, Pod},
    layout::Layout,
    namespace, objects,
    objects::Running,
    plugin::{Attachment, Plugins},
    processes,
    server::Sockets,
    wire::Addresses,
};

/// How long agents have to become ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// MiB of memory by which a node's tables are sized.
const TABLE_MEMORY: &str = "256";
/// Pods of a node that are added at the same time.
const AT_ONCE: usize = 4;

/// What `lab status` shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The lab's name.
    pub name: String,
    /// Its nodes.
    pub nodes: Vec<NodeStatus>,
    /// Its pods.
    pub pods: Vec<PodStatus>,
}

/// A node of a lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its addresses on the wire.
    pub addresses: Vec<IpAddr>,
    /// Where its pods' addresses come from.
    #[serde(rename = "podCIDRs")]
    pub pod_ranges: Vec<String>,
}

/// A pod of a lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PodStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The node that it is on.
    pub node: String,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
}

/// Who tells agents of the cluster.
pub enum Cluster {
    /// The lab, by manifests.
    Manifests,
    /// An API server.
    Api(Server),
}

/// The program that runs as agent, and where plugins lie.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `daymark` itself.
    pub daymark: PathBuf,
    /// Folders of CNI plugins, joined by colons.
    pub plugins: String,
    /// The control group (cgroup2) below which nodes get theirs, if there is one.
    pub control_group: Option<PathBuf>,
}

/// Brings up agents and pods, tells `ready`, and stays until it is told to end.
///
/// # Errors
/// If an agent does not become ready, or a pod can't be added.
pub fn run(
    layout: &Layout,
    definition: &Definition,
    programs: &Programs,
    cluster: &Cluster,
    ready: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // Connections are led to the API server while this thread does other things.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match cluster {
        Cluster::Manifests => {
            objects::write(&layout.cluster(), "nodes.json", &objects::nodes(definition))?;
            objects::write(&layout.cluster(), "objects.json", &definition.others)?;
        }
        Cluster::Api(server) => {
            let _inside = runtime.enter();
            relay(layout, definition, server.address)?;
            server.register(definition)?;
            definition.pods.iter().try_for_each(|pod| server.create_pod(pod))?;
            keep_nodes_alive(server.clone(), definition);
        }
    }
    for node in &definition.nodes {
        start_agent(layout, definition, programs, cluster, &node.name)?;
    }
    let started = add_pods(layout, definition, programs)?;
    let running: Vec<Running> = started
        .iter()
        .map(|(pod, addresses, _)| Running { pod, addresses: addresses.clone() })
        .collect();
    match cluster {
        Cluster::Manifests => {
            let slices = objects::slices(definition, &running);
            objects::write(&layout.cluster(), "pods.json", &objects::pods(&running))?;
            objects::write(&layout.cluster(), "slices.json", &slices)?;
        }
        Cluster::Api(server) => {
            running.iter().try_for_each(|one| server.runs(one.pod, &one.addresses))?;
        }
    }
    write_status(layout, definition, &running)?;
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
        let mut servers: Vec<JoinSet<()>> = Vec::new();
        for (pod, _, sockets) in started {
            servers.push(sockets.serve(pod)?);
        }
        ready()?;
        terminate.recv().await;
        anyhow::Ok(())
    })?;
    if let Cluster::Api(server) = cluster {
        server.forget(definition);
    }
    Ok(())
}

/// Renews the nodes' Leases, on a thread that ends with the process.
fn keep_nodes_alive(server: Server, definition: &Definition) {
    let nodes: Vec<String> = definition.nodes.iter().map(|node| node.name.clone()).collect();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(RENEWAL);
            for node in &nodes {
                if let Err(error) = server.renew(node, false) {
                    eprintln!("{node}: {error:#}");
                }
            }
        }
    });
}

fn start_agent(
    layout: &Layout,
    definition: &Definition,
    programs: &Programs,
    cluster: &Cluster,
    node: &str,
) -> anyhow::Result<()> {
    let own = layout.node(node);
    let log = File::create(own.log()).with_context(|| format!("making {}", own.log().display()))?;
    let mut command = Command::new(&programs.daymark);
    command
        .arg("agent")
        .args(["--node-name", node, "--routing", definition.routing.name()])
        // The nodes share this machine's.
        .args(["--table-memory", TABLE_MEMORY])
        .arg("--state-dir")
        .arg(own.root().join("state"))
        .arg("--socket")
        .arg(own.root().join("agent.sock"))
        .arg("--bpffs")
        .arg(own.bpffs())
        .arg("--cni-conf-dir")
        .arg(own.network_configurations())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    match cluster {
        Cluster::Manifests => command.arg("--manifests").arg(layout.cluster()),
        Cluster::Api(server) => command.arg("--kubeconfig").arg(&server.kubeconfig),
    };
    if let Some(group) = &programs.control_group {
        command.arg("--cgroup").arg(group.join(node));
    }
    let child = namespace::inside(&layout.node_namespace(node), || {
        command.spawn().context("starting daymark agent")
    })?;
    processes::write_down(&layout.processes(), &format!("agent-{node}"), child.id())
}

type Started<'a> = (&'a Pod, Vec<IpAddr>, Sockets);

/// Adds all pods, the nodes side by side; each node once its agent is ready.
fn add_pods<'a>(
    layout: &Layout,
    definition: &'a Definition,
    programs: &Programs,
) -> anyhow::Result<Vec<Started<'a>>> {
    let mut started = std::thread::scope(|scope| {
        let nodes: Vec<_> = definition
            .nodes
            .iter()
            .map(|node| {
                scope.spawn(move || {
                    let plugins = Plugins::new(programs.plugins.clone(), &layout.node(&node.name));
                    wait_for_agent(layout, &plugins, &node.name)?;
                    let pods: Vec<&Pod> =
                        definition.pods.iter().filter(|pod| pod.node == node.name).collect();
                    add_pods_of_node(layout, &plugins, &pods)
                })
            })
            .collect();
        let mut started = Vec::new();
        for node in nodes {
            let added = node.join().map_err(|_| anyhow::anyhow!("a node's thread panicked"))?;
            started.extend(added?);
        }
        anyhow::Ok(started)
    })?;
    let place = |pod: &Pod| definition.pods.iter().position(|other| std::ptr::eq(pod, other));
    started.sort_by_key(|(pod, ..)| place(pod));
    Ok(started)
}

fn wait_for_agent(layout: &Layout, plugins: &Plugins, node: &str) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !plugins.configured() {
        let runs = processes::running(&layout.processes(), &format!("agent-{node}")).is_some();
        let log = layout.node(node).log();
        ensure!(
            runs && begin.elapsed() < PATIENCE,
            "the agent of {node} {}:\n{}",
            if runs { "is not ready after 30 s" } else { "ended" },
            last_lines(&log)
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn last_lines(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn add_pods_of_node<'a>(
    layout: &Layout,
    plugins: &Plugins,
    pods: &[&'a Pod],
) -> anyhow::Result<Vec<Started<'a>>> {
    let mut started = Vec::with_capacity(pods.len());
    for some in pods.chunks(AT_ONCE) {
        let added: Vec<anyhow::Result<Started>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                some.iter().map(|pod| scope.spawn(move || add_pod(layout, plugins, pod))).collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread.join().map_err(|_| anyhow::anyhow!("a pod's thread panicked"))?
                })
                .collect()
        });
        for pod in added {
            started.push(pod?);
        }
    }
    Ok(started)
}

fn add_pod<'a>(layout: &Layout, plugins: &Plugins, pod: &'a Pod) -> anyhow::Result<Started<'a>> {
    let file = layout.pod_namespace(&pod.namespace, &pod.name);
    namespace::make(&file)?;
    let container = container_id(pod);
    let attachment = Attachment { container: &container, namespace: &file, pod };
    let addresses =
        namespace::inside(&layout.node_namespace(&pod.node), || plugins.add(attachment))
            .with_context(|| format!("adding Pod {}/{}", pod.namespace, pod.name))?;
    Ok((pod, addresses, Sockets::open(&file, pod)?))
}

/// What a runtime would make up: here it can be told from the pod.
fn container_id(pod: &Pod) -> String {
    format!("lab-{}-{}", pod.namespace, pod.name)
}

fn write_status(
    layout: &Layout,
    definition: &Definition,
    running: &[Running],
) -> anyhow::Result<()> {
    let nodes = definition.nodes.iter().enumerate();
    let status = Status {
        name: definition.name.clone(),
        nodes: nodes
            .map(|(index, node)| {
                let own = Addresses::of_node(index);
                NodeStatus {
                    name: node.name.clone(),
                    addresses: vec![own.v4.into(), own.v6.into()],
                    pod_ranges: node.pod_ranges.iter().map(ToString::to_string).collect(),
                }
            })
            .collect(),
        pods: running
            .iter()
            .map(|running| PodStatus {
                namespace: running.pod.namespace.clone(),
                name: running.pod.name.clone(),
                node: running.pod.node.clone(),
                ips: running.addresses.clone(),
            })
            .collect(),
    };
    fs::write(layout.status(), serde_json::to_vec_pretty(&status)?)
        .with_context(|| format!("writing {}", layout.status().display()))
}
