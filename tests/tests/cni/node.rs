//! A node: a network namespace, an agent whose threads are in it, and pods.

use std::{
    fs::File,
    io::Write,
    net::{IpAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use anyhow::{Context, ensure};
use daymark_cni::{
    attachments::{Attachments, Restored, Settings},
    metrics::Metrics,
    server::{self, Socket},
};
use daymark_loader::{Datapath, memory::Memory};
use daymark_tests::{
    namespace::Namespace,
    peers,
    process::{PATIENCE, Program, retried},
};
use prometheus::Registry;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// The network that trials are about.
pub(crate) const NETWORK: &str = "pods";
/// What pods get beyond their addresses.
pub(crate) const MTU: u32 = 1400;
/// What a boot is called.
const BOOT_ID: &str = "this-boot";
/// Variables that make this program an agent: its folder and its pod ranges.
const AGENT: &str = "DAYMARK_TEST_AGENT";
const RANGES: &str = "DAYMARK_TEST_RANGES";
/// Addresses of the node itself.
const ADDRESSES: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// See [the module](self).
pub(crate) struct Node {
    pub(crate) namespace: Namespace,
    pub(crate) memory: Arc<Memory>,
    pub(crate) boot_id: String,
    folder: PathBuf,
    ranges: Vec<String>,
    agent: Option<Agent>,
}

struct Agent {
    runtime: Runtime,
    attachments: Arc<Attachments>,
}

impl Node {
    /// A node with these pod ranges, whose agent answers.
    pub(crate) fn new(folder: &Path, ranges: &[&str]) -> anyhow::Result<Self> {
        let namespace = Namespace::new()?;
        // cnitool and host-local keep their notes there.
        namespace.run(&["mount", "-t", "tmpfs", "none", "/var/lib"])?;
        for address in ADDRESSES {
            namespace.address("lo", address)?;
        }
        for range in ranges {
            let first = if range.contains(':') { "::1" } else { ".1" };
            let gateway = range.split('/').next().unwrap_or_default();
            let gateway = match first {
                "::1" => format!("{}1", gateway),
                _ => format!("{}{first}", gateway.trim_end_matches(".0")),
            };
            namespace.address("lo", &gateway)?;
        }
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            namespace.run(&["sh", "-c", &format!("echo 1 > /proc/sys/net/{switch}")])?;
        }
        let mut node = Node {
            namespace,
            memory: Arc::new(Memory::default()),
            boot_id: BOOT_ID.to_owned(),
            folder: folder.to_owned(),
            ranges: ranges.iter().map(|&range| range.to_owned()).collect(),
            agent: None,
        };
        node.start()?;
        Ok(node)
    }

    /// Starts the agent; gives what it found.
    pub(crate) fn start(&mut self) -> anyhow::Result<Restored> {
        let network = File::open(self.namespace.network())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .on_thread_start(move || {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("the node's namespace can be entered");
            })
            .build()?;
        // A program that another trial is just starting holds all that this process has open, the
        // former agent's lock among it, until it becomes that program.
        let socket = retried(|| {
            let _in_runtime = runtime.enter();
            Ok(Socket::bind(&self.socket())?)
        })?;
        let (agent, restored) = Agent::run(runtime, socket, self.settings()?, self.memory.clone())?;
        self.agent = Some(agent);
        Ok(restored)
    }

    /// Starts an agent as a process of its own, in the node, which can be killed.
    pub(crate) fn start_process(&self) -> anyhow::Result<Program> {
        let (nsenter, mut words) = self.namespace.enter();
        words.push(std::env::current_exe()?.display().to_string());
        let variables = [
            (AGENT.to_owned(), self.folder.display().to_string()),
            (RANGES.to_owned(), self.ranges.join(",")),
        ];
        let log = self.folder.join("log");
        Program::start_in(Path::new("/"), &nsenter, words, &variables, &log)
    }

    /// What an agent is told about the node.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        settings(&self.folder, &self.boot_id, self.ranges.iter().map(String::as_str))
    }

    /// Ends the agent; what is at work is finished.
    pub(crate) fn stop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.runtime.shutdown_timeout(PATIENCE);
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("cni.sock")
    }

    pub(crate) fn records(&self) -> usize {
        self.agent.as_ref().map_or(0, |agent| agent.attachments.records().len())
    }

    /// A plugin's own configuration.
    pub(crate) fn plugin(&self, more: Value) -> Value {
        let mut plugin = json!({ "type": "daymark-cni", "socket": self.socket() });
        merge(&mut plugin, more);
        plugin
    }

    /// Writes the list that cnitool reads.
    pub(crate) fn configure(&self, version: &str, plugins: &[Value]) -> anyhow::Result<()> {
        let list = json!({ "cniVersion": version, "name": NETWORK, "plugins": plugins });
        std::fs::create_dir_all(self.folder.join("net.d"))?;
        Ok(std::fs::write(self.folder.join("net.d/10.conflist"), list.to_string())?)
    }

    /// Runs cnitool in the node.
    pub(crate) fn tool(
        &self,
        tool: &Path,
        verb: &str,
        pod: &Pod,
        variables: &[(&str, String)],
    ) -> anyhow::Result<Output> {
        let (nsenter, enter) = self.namespace.enter();
        let plugin = peers::plugin();
        let own = plugin.parent().context("a folder")?.display().to_string();
        let path = format!("{own}:{}", peers::folder().display());
        let mut command = Command::new(nsenter);
        command
            .args(enter)
            .arg(tool)
            .args([verb, NETWORK, &pod.netns()])
            .env("NETCONFPATH", self.folder.join("net.d"))
            .env("CNI_PATH", path);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Ok(command.stdin(Stdio::null()).output()?)
    }

    /// The same, which has to succeed; gives what it printed.
    pub(crate) fn done(
        &self,
        tool: &Path,
        verb: &str,
        pod: &Pod,
        variables: &[(&str, String)],
    ) -> anyhow::Result<Value> {
        let output = self.tool(tool, verb, pod, variables)?;
        let (said, complaint) = (text(&output.stdout), text(&output.stderr));
        ensure!(output.status.success(), "{verb}: {}\n{said}{complaint}", output.status);
        Ok(serde_json::from_str(&said).unwrap_or(Value::Null))
    }

    /// Starts the plugin itself, as a runtime would.
    pub(crate) fn start_plugin(
        &self,
        variables: &[(&str, &str)],
        stdin: &[u8],
    ) -> anyhow::Result<Child> {
        let (nsenter, enter) = self.namespace.enter();
        let mut command = Command::new(nsenter);
        command.args(enter).arg(peers::plugin()).env_clear().envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut pipe = child.stdin.take().context("a pipe")?;
        // It may refuse before it has read all.
        let _ = pipe.write_all(stdin);
        Ok(child)
    }

    /// Runs the plugin itself.
    pub(crate) fn call(
        &self,
        verb: &str,
        id: &str,
        pod: Option<&Pod>,
        more: Value,
    ) -> anyhow::Result<Output> {
        let netns = pod.map(Pod::netns).unwrap_or_default();
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", id),
            ("CNI_NETNS", &netns),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/nowhere"),
        ];
        let mut stdin = self.plugin(json!({ "cniVersion": "1.1.0", "name": NETWORK }));
        merge(&mut stdin, more);
        let child = self.start_plugin(&variables, stdin.to_string().as_bytes())?;
        Ok(child.wait_with_output()?)
    }

    /// Fails if anything of a pod is left.
    pub(crate) fn holds_nothing(&self) -> anyhow::Result<()> {
        ensure!(self.records() == 0, "{} records are left", self.records());
        let files = std::fs::read_dir(self.folder.join("attachments"))?.count();
        ensure!(files == 0, "{files} files are left");
        let links = self.namespace.run(&["ip", "-o", "link"])?;
        ensure!(!links.contains("dmk"), "links are left:\n{links}");
        for family in ["-4", "-6"] {
            let routes = self.namespace.run(&["ip", family, "route"])?;
            ensure!(!routes.contains("dmk"), "routes are left:\n{routes}");
        }
        let state = self.memory.state();
        ensure!(state.endpoints.is_empty(), "endpoints are left: {:?}", state.endpoints);
        ensure!(state.host_ports.is_empty(), "host ports are left: {:?}", state.host_ports);
        Ok(())
    }
}

fn settings<'a>(
    folder: &Path,
    boot_id: &str,
    ranges: impl Iterator<Item = &'a str>,
) -> anyhow::Result<Settings> {
    Ok(Settings {
        folder: folder.join("attachments"),
        boot_id: boot_id.to_owned(),
        pod_ranges: ranges.map(str::parse).collect::<Result<_, _>>()?,
        node_addresses: ADDRESSES.map(|a| a.parse().expect("an address")).to_vec(),
        mtu: MTU,
        switches: Default::default(),
    })
}

impl Agent {
    fn run(
        runtime: Runtime,
        socket: Socket,
        settings: Settings,
        datapath: Arc<dyn Datapath>,
    ) -> anyhow::Result<(Self, Restored)> {
        let metrics = Metrics::new(&Registry::new())?;
        let restoring = runtime.spawn_blocking({
            let metrics = metrics.clone();
            move || Attachments::restore(settings, datapath, metrics)
        });
        let (attachments, restored) = runtime.block_on(restoring).context("restoring")??;
        let attachments = Arc::new(attachments);
        runtime.spawn(server::serve(socket, attachments.clone(), metrics));
        Ok((Agent { runtime, attachments }, restored))
    }
}

/// What [`Node::start_process`] starts: an agent, until it is killed. `None` in any other process.
pub(crate) fn agent_process() -> Option<anyhow::Result<()>> {
    let folder = PathBuf::from(std::env::var_os(AGENT)?);
    let ranges = std::env::var(RANGES).unwrap_or_default();
    let run = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let socket = {
            let _in_runtime = runtime.enter();
            Socket::bind(&folder.join("cni.sock"))?
        };
        let settings = settings(&folder, BOOT_ID, ranges.split(','))?;
        let _agent = Agent::run(runtime, socket, settings, Arc::new(Memory::default()))?;
        loop {
            std::thread::park();
        }
    };
    Some(run())
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A pod: a network namespace with nothing in it.
pub(crate) struct Pod {
    pub(crate) namespace: Namespace,
}

impl Pod {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Pod { namespace: Namespace::new()? })
    }

    /// What a runtime would call its namespace.
    pub(crate) fn netns(&self) -> String {
        self.namespace.network().display().to_string()
    }

    /// What `ip -j` prints there.
    pub(crate) fn ip(&self, words: &[&str]) -> anyhow::Result<Value> {
        let all: Vec<&str> = ["ip", "-j"].into_iter().chain(words.iter().copied()).collect();
        Ok(serde_json::from_str(&self.namespace.run(&all)?)?)
    }
}

/// Speaks TCP from one namespace to an address in another; gives the source that is seen there.
pub(crate) fn speak(from: &Namespace, to: &Namespace, address: IpAddr) -> anyhow::Result<IpAddr> {
    let listener = to.inside(|| Ok(TcpListener::bind((address, 0))?))?;
    let port = listener.local_addr()?.port();
    let _stream =
        from.inside(|| Ok(TcpStream::connect_timeout(&(address, port).into(), PATIENCE)?))?;
    Ok(listener.accept()?.1.ip())
}

/// The addresses of a result.
pub(crate) fn addresses(result: &Value) -> anyhow::Result<Vec<IpAddr>> {
    let ips = result["ips"].as_array().context("a result has ips")?;
    let address = |ip: &Value| {
        let text = ip["address"].as_str().context("an address")?;
        Ok(text.split('/').next().unwrap_or_default().parse()?)
    };
    ips.iter().map(address).collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Puts the keys of an object into another.
pub(crate) fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}
