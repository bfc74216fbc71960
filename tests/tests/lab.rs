//! The lab as people use it, and what an agent's end and return mean to the pods of its node.

#[path = "lab/agent.rs"]
mod agent;
#[path = "lab/stream.rs"]
mod stream;

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context, ensure};
use daymark_tests::{
    control_plane::ControlPlane,
    lab::Lab,
    peers,
    process::{PATIENCE, retried},
    suite::Suite,
};
use http::Method;

/// Two pods on one node, one on another.
const DEFINITION: &str = "kind: Lab\nmetadata: {name: small}\nspec:\n  nodes:\n  - {name: n1, podCIDRs: \
                          [10.244.1.0/24, 'fd00:10:244:1::/64']}\n  - {name: n2, podCIDRs: [10.244.2.0/24, \
                          'fd00:10:244:2::/64']}\n---\nkind: Pod\nmetadata: {name: a}\nspec: {nodeName: n1}\n\
                          ---\nkind: Pod\nmetadata: {name: b}\nspec: {nodeName: n1, containers: [{ports: \
                          [{containerPort: 8080}, {containerPort: 5353, protocol: UDP}]}]}\n---\nkind: Pod\n\
                          metadata: {name: c}\nspec: {nodeName: n2, containers: [{ports: [{containerPort: \
                          8080}]}]}\n";

/// What a trial is and does.
type Trial = (&'static str, fn() -> anyhow::Result<()>);

const TRIALS: [Trial; 12] = [
    ("nothing is left after down", nothing_is_left),
    ("a lab whose process was killed can be taken down", killed_can_be_taken_down),
    ("a second lab of the same name is refused", second_is_refused),
    ("exec runs in a pod, and capture shows its packets", exec_and_capture),
    ("a second agent on the same root is refused", agent::second_is_refused),
    ("an agent that is killed and comes back loses no packet", agent::killed),
    ("an agent tells how its node is doing", agent::tells_its_status),
    ("cleanup leaves no trace of an agent", agent::cleaned_up),
    ("filters of others are left alone and told", agent::others_are_left_alone),
    ("who asks for an address of no pod is told", agent::unused_addresses),
    (
        "nodes and pods of a lab are those of an API server, and controllers follow them",
        on_an_api_server,
    ),
    ("a pod that sends from another's address is dropped and counted", spoofed),
];

fn main() -> ExitCode {
    Suite::run("labs can be made", |suite| {
        if let Some(reason) = Lab::unavailable() {
            suite.skipped("labs", &reason);
            return Ok(());
        }
        for (name, trial) in TRIALS {
            suite.trial(name.to_owned(), move || {
                trial().map_err(|error| format!("{error:#}").into())
            });
        }
        Ok(())
    })
}

/// What a lab could leave: mounts and processes that name its folder, and control groups.
fn traces(folder: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    found.extend(mounts.lines().filter(|line| line.contains(folder)).map(str::to_owned));
    for process in fs::read_dir("/proc")?.flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(folder) {
            found.insert(line);
        }
    }
    Ok(found)
}

fn nothing_is_left() -> anyhow::Result<()> {
    // A name that no other lab of these tests has: its control group would be made again at once.
    let lab = Lab::up(&DEFINITION.replace("name: small", "name: alone"))?;
    let root = lab.layout().root().to_owned();
    let folder = root.display().to_string();
    ensure!(!traces(&folder)?.is_empty(), "a lab that is up can be seen");
    let group = fs::read_to_string(lab.layout().control_group()).ok();
    drop(lab);
    let left = traces(&folder)?;
    ensure!(left.is_empty(), "left: {left:?}");
    ensure!(!root.exists(), "its folder is left");
    ensure!(group.is_none_or(|group| !Path::new(&group).exists()), "its control group is left");
    Ok(())
}

fn killed_can_be_taken_down() -> anyhow::Result<()> {
    let lab = Lab::up(DEFINITION)?;
    let processes = lab.layout().processes();
    let keeper = daymark_lab::processes::running(&processes, "lab").context("the lab's process")?;
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL)?;
    let folder = lab.layout().root().display().to_string();
    drop(lab);
    let left = traces(&folder)?;
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

fn second_is_refused() -> anyhow::Result<()> {
    let lab = Lab::up(DEFINITION)?;
    let file = lab.layout().root().join("definition.yaml");
    let labs = lab.layout().root().parent().context("a folder")?.to_owned();
    let output = Command::new(peers::daymark())
        .args(["lab", "up"])
        .arg(&file)
        .arg("--labs")
        .arg(&labs)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("the lab `small` is up"), "{said}");
    // The one that is there is as it was.
    lab.run("a", &["true"])?;
    ensure!(lab.layout().status().exists());
    Ok(())
}

fn exec_and_capture() -> anyhow::Result<()> {
    let lab = Lab::up(DEFINITION)?;
    let labs = lab.layout().root().parent().context("a folder")?.to_owned();
    let daymark = |words: &[&str]| {
        let mut command = Command::new(peers::daymark());
        command.arg("lab").args(&words[..1]).arg("--labs").arg(&labs).args(&words[1..]);
        command
    };
    let file = lab.layout().root().join("b.pcap");
    let mut capture = daymark(&["capture", "default/b", "--count", "4", "--write"])
        .arg(&file)
        .stdout(Stdio::null())
        .spawn()?;
    let to = lab.address("b", true)?;
    let own = lab.address("a", true)?;
    let url = format!("http://{to}:8080/");
    let begin = Instant::now();
    // The capture begins when it begins.
    let said = loop {
        let output =
            daymark(&["exec", "default/a", "--", "curl", "-s", "-m", "5", &url]).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if capture.try_wait()?.is_some() {
            break said;
        }
        ensure!(begin.elapsed() < PATIENCE, "four packets were seen: {said}");
    };
    ensure!(said.starts_with(&format!("default/b from {own}:")), "{said}");
    let mut captured = Vec::new();
    fs::File::open(&file)?.read_to_end(&mut captured)?;
    ensure!(captured.len() > 24 + 4 * 16, "{} octets", captured.len());
    let refused = daymark(&["exec", "default/z", "--", "true"]).output()?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(said.contains("no Pod `default/z`") && said.contains("default/a"), "{said}");
    Ok(())
}

fn on_an_api_server() -> anyhow::Result<()> {
    if let Err(reason) = peers::program("kube-controller-manager") {
        println!("not tried: {reason}");
        return Ok(());
    }
    let plane = ControlPlane::start_with_controllers()?;
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, \
                   ports: [{port: 80, targetPort: 8080}]}\n---\nkind: Pod\nmetadata: {name: d, labels: {app: \
                   web}}\nspec: {nodeName: n2, containers: [{ports: [{containerPort: 8080}]}]}\n";
    let lab = Lab::up_on(&format!("{DEFINITION}{service}"), &plane.kubeconfig())?;
    let get = |path: &str| plane.call(Method::GET, path, None);
    let address = lab.address("d", true)?;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=\
                  kubernetes.io%2Fservice-name%3Dweb";
    // The controllers see the pod ready at its address.
    retried(|| {
        let found = get(slices)?;
        let endpoint = &found["items"][0]["endpoints"][0];
        ensure!(endpoint["addresses"][0] == address.to_string(), "{found}");
        ensure!(endpoint["conditions"]["ready"] == true && endpoint["nodeName"] == "n2", "{found}");
        Ok(())
    })?;
    // Agents take their taint away once they are ready.
    retried(|| {
        let node = get("/api/v1/nodes/n1")?;
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        ensure!(taints.iter().all(|taint| taint["key"] != "daymark.io/agent-not-ready"), "{node}");
        Ok(())
    })?;
    let said = lab.run("a", &["curl", "-s", "-m", "5", &format!("http://{address}:8080/")])?;
    ensure!(said.starts_with(&format!("default/d from {}:", lab.address("a", true)?)), "{said}");
    // The API server goes, and all goes on: what is there, and what comes back.
    plane.stop()?;
    let said = lab.run("a", &["curl", "-s", "-m", "5", &format!("http://{address}:8080/")])?;
    ensure!(said.starts_with("default/d from"), "{said}");
    plane.start_again()?;
    drop(lab);
    let nodes = plane.call(Method::GET, "/api/v1/nodes", None)?;
    ensure!(nodes["items"].as_array().is_some_and(Vec::is_empty), "{nodes}");
    Ok(())
}

fn spoofed() -> anyhow::Result<()> {
    let lab = Lab::up(DEFINITION)?;
    let target = lab.address("b", true)?;
    // Another address of the node's range, which is not this pod's.
    lab.run("a", &["ip", "address", "add", "10.244.1.200/32", "dev", "eth0"])?;
    lab.inside("a", || {
        let socket = std::net::UdpSocket::bind("10.244.1.200:0")?;
        socket.send_to(b"x", (target, 5353))?;
        Ok(())
    })?;
    let page = lab.run("node/n1", &["curl", "-s", "http://127.0.0.1:9964/metrics"])?;
    let wanted = "daymark_drop_count_total{direction=\"EGRESS\",reason=\"INVALID_SOURCE_IP\"} 1";
    ensure!(page.contains(wanted), "{page}");
    Ok(())
}
