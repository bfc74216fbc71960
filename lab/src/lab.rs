//! A lab from outside: up, down, and what people do in between.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::{
    capture,
    definition::Definition,
    kubelet::{self, Cluster, Programs, Status},
    layout::Layout,
    namespace, processes, wire,
};

/// What the lab's process says when all is up.
const READY: &str = "ready";

/// Makes a lab and leaves it running: a process of its own keeps it ([`keep`]). Whatever fails, nothing
/// is left of it.
///
/// # Errors
/// If one of that name is up, or if something can't be made.
pub fn up(
    labs: &Path,
    definition: &Definition,
    file: &Path,
    kubeconfig: Option<&Path>,
) -> anyhow::Result<Status> {
    let layout = Layout::new(labs, &definition.name);
    let name = &definition.name;
    ensure!(!layout.root().exists(), "the lab `{name}` is up: `daymark lab down {name}` ends it");
    let made = make(&layout, definition, file).and_then(|()| start(labs, name, kubeconfig));
    if let Err(error) = made {
        // The first mistake is the one to tell.
        let _ = down(labs, name);
        return Err(error);
    }
    status(labs, name)
}

fn make(layout: &Layout, definition: &Definition, file: &Path) -> anyhow::Result<()> {
    for folder in [layout.namespaces(), layout.processes(), layout.cluster()] {
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fs::copy(file, layout.root().join("definition.yaml")).context("keeping the definition")?;
    let group = own_group().map(|own| new_group(&own, &definition.name)).transpose()?;
    if let Some(group) = &group {
        fs::write(layout.control_group(), group.as_os_str().as_encoded_bytes())?;
    }
    wire::lay(layout)?;
    for (index, node) in definition.nodes.iter().enumerate() {
        let own = layout.node(&node.name);
        for folder in [own.bpffs(), own.network_configurations()] {
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        }
        mount("bpf", own.bpffs(), "bpf", MountFlags::empty(), None).context("mounting a bpffs")?;
        if let Some(group) = &group {
            let own = group.join(&node.name);
            fs::create_dir_all(&own).with_context(|| format!("making {}", own.display()))?;
        }
        wire::plug_in(layout, &node.name, index)?;
    }
    Ok(())
}

/// Starts the process that keeps the lab, and waits until it says that all is up.
fn start(labs: &Path, name: &str, kubeconfig: Option<&Path>) -> anyhow::Result<()> {
    let mut keeper = Command::new(std::env::current_exe().context("finding this program")?);
    keeper.args(["lab", "keep", name]).arg("--labs").arg(labs);
    if let Some(kubeconfig) = kubeconfig {
        keeper.arg("--kubeconfig").arg(kubeconfig);
    }
    let log = fs::File::create(Layout::new(labs, name).root().join("lab.log"))?;
    // A group of its own: what the terminal sends to ours is not meant for it.
    let mut child = keeper
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("starting the lab's process")?;
    processes::write_down(&Layout::new(labs, name).processes(), "lab", child.id())?;
    let output = child.stdout.take().context("a piped output")?;
    let mut said = String::new();
    BufReader::new(output).read_line(&mut said)?;
    if said.trim() == READY {
        return Ok(());
    }
    child.wait()?;
    let log =
        fs::read_to_string(Layout::new(labs, name).root().join("lab.log")).unwrap_or_default();
    bail!("{}", log.trim())
}

/// What the lab's process does until it is told to end; `plugins` are the folders of CNI plugins.
///
/// # Errors
/// See [`kubelet::run`].
pub fn keep(labs: &Path, name: &str, plugins: &str, cluster: &Cluster) -> anyhow::Result<()> {
    let layout = Layout::new(labs, name);
    let definition = Definition::read(&layout.root().join("definition.yaml"))?;
    let programs = Programs {
        daymark: std::env::current_exe().context("finding this program")?,
        plugins: plugins.to_owned(),
        control_group: control_group(&layout),
    };
    kubelet::run(&layout, &definition, &programs, cluster, || {
        let mut output = std::io::stdout();
        // Whoever waited may be gone; the lab is up all the same.
        let _ = writeln!(output, "{READY}").and_then(|()| output.flush());
        Ok(())
    })
}

/// Ends a lab, also one that was left half made, and takes away all that it made. It is no error if
/// there is none.
///
/// # Errors
/// If something can't be taken away.
pub fn down(labs: &Path, name: &str) -> anyhow::Result<()> {
    let layout = Layout::new(labs, name);
    if !layout.root().exists() {
        return Ok(());
    }
    processes::end_all(&layout.processes())?;
    for file in entries(&layout.namespaces())? {
        namespace::remove(&file)?;
    }
    for node in entries(&layout.root().join("nodes"))? {
        let bpffs = node.join("bpf");
        match unmount(&bpffs, UnmountFlags::DETACH) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("unmounting {}", bpffs.display()));
            }
        }
    }
    if let Some(group) = control_group(&layout).filter(|group| group.exists()) {
        // Shells that `exec` started; those of another kernel than 5.14 and newer keep the folder.
        let _ = fs::write(group.join("cgroup.kill"), "1");
        for node in entries(&group)?.into_iter().filter(|entry| entry.is_dir()) {
            fs::remove_dir(&node).with_context(|| format!("removing {}", node.display()))?;
        }
        fs::remove_dir(&group).with_context(|| format!("removing {}", group.display()))?;
    }
    fs::remove_dir_all(layout.root())
        .with_context(|| format!("removing {}", layout.root().display()))
}

/// What runs in a lab.
///
/// # Errors
/// If there is none of that name.
pub fn status(labs: &Path, name: &str) -> anyhow::Result<Status> {
    let file = Layout::new(labs, name).status();
    let text = fs::read(&file).with_context(|| {
        format!("no lab `{name}` is up: `daymark lab up FILE` makes one ({})", file.display())
    })?;
    Ok(serde_json::from_slice(&text)?)
}

/// The labs that are there, by name.
///
/// # Errors
/// If the folder can't be read.
pub fn names(labs: &Path) -> anyhow::Result<Vec<String>> {
    let entries = entries(labs)?;
    let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    Ok(entries.into_iter().filter(|path| path.is_dir()).filter_map(name).collect())
}

/// Becomes a command in a pod's network, and in its node's control group. Returns only if that fails.
///
/// # Errors
/// If there is no such pod, or the command can't be started.
pub fn exec(
    labs: &Path,
    name: &str,
    pod: &str,
    words: &[std::ffi::OsString],
) -> anyhow::Result<()> {
    let file = enter(labs, name, pod)?;
    namespace::enter(&file)?;
    let (program, arguments) = words.split_first().context("no command")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
}

/// Writes the packets of a place as a pcap file, see [`capture::packets`].
///
/// # Errors
/// If there is no such place, or the file can't be written.
pub fn capture(
    labs: &Path,
    name: &str,
    place: &str,
    count: Option<u64>,
    file: Option<&Path>,
) -> anyhow::Result<()> {
    let namespace = find(labs, name, place)?.1;
    match file {
        Some(path) => {
            let file =
                fs::File::create(path).with_context(|| format!("making {}", path.display()))?;
            capture::packets(&namespace, count, std::io::BufWriter::new(file))
        }
        None => capture::packets(&namespace, count, std::io::stdout().lock()),
    }
}

/// Finds the namespace of `NAMESPACE/POD` (or `node/NODE`, or `outside`) and joins the node's control
/// group.
fn enter(labs: &Path, name: &str, what: &str) -> anyhow::Result<PathBuf> {
    let (node, file) = find(labs, name, what)?;
    let group = control_group(&Layout::new(labs, name)).zip(node);
    let group = group.map(|(group, node)| group.join(node));
    if let Some(group) = group.filter(|group| group.exists()) {
        fs::write(group.join("cgroup.procs"), "0").context("joining the node's control group")?;
    }
    Ok(file)
}

/// The node of a place, if it has one, and its namespace.
fn find(labs: &Path, name: &str, what: &str) -> anyhow::Result<(Option<String>, PathBuf)> {
    let layout = Layout::new(labs, name);
    let status = status(labs, name)?;
    Ok(match what.split_once('/') {
        Some(("node", node)) if status.nodes.iter().any(|known| known.name == node) => {
            (Some(node.to_owned()), layout.node_namespace(node))
        }
        Some((namespace, pod)) => {
            let found = status.pods.iter().find(|p| p.namespace == namespace && p.name == pod);
            let found = found.with_context(|| {
                let all: Vec<String> =
                    status.pods.iter().map(|p| format!("{}/{}", p.namespace, p.name)).collect();
                format!("no Pod `{what}` in the lab `{name}`, which has {}", all.join(", "))
            })?;
            (Some(found.node.clone()), layout.pod_namespace(namespace, pod))
        }
        None if what == "outside" => (None, layout.wire()),
        None => bail!("`{what}` is no NAMESPACE/POD, no node/NODE and not `outside`"),
    })
}

/// The group of cgroup2 below which the lab's nodes have theirs; `None` without cgroup2.
fn control_group(layout: &Layout) -> Option<PathBuf> {
    fs::read_to_string(layout.control_group()).ok().map(PathBuf::from)
}

/// Makes a group for a lab; labs of other folders may have the same name.
fn new_group(own: &Path, name: &str) -> anyhow::Result<PathBuf> {
    for number in 0.. {
        let group = own.join(format!("daymark-lab-{name}-{number}"));
        match fs::create_dir(&group) {
            Ok(()) => return Ok(group),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| format!("making {}", group.display()));
            }
        }
    }
    bail!("no number is left for a control group")
}

/// The group of cgroup2 that this process is in, as a folder.
fn own_group() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(mount.split(' ').nth(1)?).join(own))
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", folder.display())),
    }
}
