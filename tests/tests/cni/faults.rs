//! Agents that are away, restarts, reboots, failures half-way, and plugins that are killed.

use std::{path::Path, process::Child, time::Duration};

use anyhow::{Context, ensure};
use daymark_cni::server::Socket;
use daymark_tests::process::{eventually, retried};
use serde_json::{Value, json};

use crate::node::{NETWORK, Node, Pod, addresses, text};

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:10:244:1::/64";

fn code(stdout: &[u8]) -> u64 {
    let error: Value = serde_json::from_slice(stdout).unwrap_or_default();
    error["code"].as_u64().unwrap_or_default()
}

/// ADD says try again, STATUS that there is none, DEL succeeds and is done by the next agent.
pub(crate) fn deletion_is_made_up_for(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let mut node = Node::new(folder, &[V4])?;
    let [one, other] = [Pod::new()?, Pod::new()?];
    let output = node.call("ADD", "one", Some(&one), json!({}))?;
    ensure!(output.status.success(), "{}", text(&output.stdout));
    node.stop();
    let output = node.call("ADD", "other", Some(&other), json!({}))?;
    ensure!(code(&output.stdout) == 11, "{}", text(&output.stdout));
    let output = node.call("STATUS", "", None, json!({}))?;
    ensure!(code(&output.stdout) == 50, "{}", text(&output.stdout));
    for _ in 0..2 {
        let output = node.call("DEL", "one", None, json!({}))?;
        ensure!(output.status.success() && output.stdout.is_empty(), "{}", text(&output.stdout));
    }
    let found = node.start()?;
    ensure!(found.kept == 1, "the pod is there until its deletion is read: {found:?}");
    // Any answer shows that deletions were made up for.
    node.call("STATUS", "", None, json!({}))?;
    ensure!(std::fs::read_dir(folder.join("cni.deletions"))?.count() == 0, "it was struck");
    node.holds_nothing()
}

/// The first one goes on answering.
pub(crate) fn second_agent(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _in_runtime = runtime.enter();
    let error = Socket::bind(&node.socket()).expect_err("the socket is taken");
    ensure!(error.to_string().contains("another agent"), "{error:#}");
    let output = node.call("STATUS", "", None, json!({}))?;
    ensure!(output.status.success(), "{}", text(&output.stdout));
    Ok(())
}

/// Repeated, never added, with no namespace, and after the namespace has gone.
pub(crate) fn deleted_twice(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    let pod = Pod::new()?;
    for more in [json!({}), json!({ "prevResult": null })] {
        let output = node.call("DEL", "never", Some(&pod), more)?;
        ensure!(output.status.success(), "{}", text(&output.stdout));
    }
    let output = node.call("ADD", "one", Some(&pod), json!({}))?;
    ensure!(output.status.success(), "{}", text(&output.stdout));
    let output = node.call("ADD", "one", Some(&pod), json!({}))?;
    ensure!(code(&output.stdout) == 100, "twice: {}", text(&output.stdout));
    ensure!(node.records() == 1, "the first one lives");
    drop(pod);
    for _ in 0..2 {
        let output = node.call("DEL", "one", None, json!({}))?;
        ensure!(output.status.success(), "{}", text(&output.stdout));
    }
    node.holds_nothing()
}

/// Addresses stay with living pods; those of pods that ended meanwhile are free.
pub(crate) fn restarted(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let mut node = Node::new(folder, &[V4, V6])?;
    let [one, other, third] = [Pod::new()?, Pod::new()?, Pod::new()?];
    let output = node.call("ADD", "one", Some(&one), json!({}))?;
    let mine = addresses(&serde_json::from_slice(&output.stdout)?)?;
    node.call("ADD", "other", Some(&other), json!({}))?;
    node.stop();
    drop(other);
    // A namespace goes a moment after its last process.
    eventually("one link is left", || {
        let links = node.namespace.run(&["ip", "-o", "link"]);
        links.is_ok_and(|links| links.matches("dmk").count() == 1)
    })?;
    let found = node.start()?;
    ensure!((found.kept, node.records()) == (1, 1), "{found:?}");
    let endpoints = node.memory.state().endpoints;
    ensure!(endpoints.len() == 1, "{endpoints:?}");
    let asked = json!({ "runtimeConfig": { "ips": [mine[0]] } });
    let output = node.call("ADD", "third", Some(&third), asked)?;
    ensure!(code(&output.stdout) == 102, "it is taken: {}", text(&output.stdout));
    for id in ["one", "other", "third"] {
        node.call("DEL", id, None, json!({}))?;
    }
    node.holds_nothing()
}

/// Another boot's records are about pods that are no more.
pub(crate) fn rebooted(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let mut node = Node::new(folder, &["10.244.1.0/30"])?;
    let pod = Pod::new()?;
    let output = node.call("ADD", "one", Some(&pod), json!({}))?;
    ensure!(output.status.success(), "{}", text(&output.stdout));
    node.stop();
    node.boot_id = "next-boot".to_owned();
    let found = node.start()?;
    ensure!(found.kept == 0 && found.removed > 0, "{found:?}");
    node.holds_nothing()?;
    let next = Pod::new()?;
    let output = node.call("ADD", "two", Some(&next), json!({}))?;
    ensure!(output.status.success(), "the only address is free: {}", text(&output.stdout));
    Ok(())
}

/// The link's name is taken in the pod, or the last step fails: all before it is undone.
pub(crate) fn failed_add(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    let [taken, one, other] = [Pod::new()?, Pod::new()?, Pod::new()?];
    taken.namespace.run(&["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x"])?;
    let output = node.call("ADD", "taken", Some(&taken), json!({}))?;
    ensure!(code(&output.stdout) == 104, "{}", text(&output.stdout));
    node.holds_nothing()?;
    let ports = json!({ "runtimeConfig": { "portMappings": [
        { "hostPort": 80, "containerPort": 80, "protocol": "tcp" },
    ] } });
    node.call("ADD", "one", Some(&one), ports.clone())?;
    let output = node.call("ADD", "other", Some(&other), ports)?;
    ensure!(code(&output.stdout) == 105, "{}", text(&output.stdout));
    ensure!(node.records() == 1 && node.memory.state().endpoints.len() == 1, "only the first");
    ensure!(other.ip(&["link"])?.as_array().is_some_and(|links| links.len() == 1), "lo alone");
    node.call("DEL", "one", None, json!({}))?;
    node.holds_nothing()
}

/// How many rounds of killing; a soak sets more.
fn rounds() -> u64 {
    std::env::var("DAYMARK_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(40)
}

/// Starts ADD and DEL for all pods at once.
fn start_all(node: &Node, pods: &[Pod]) -> anyhow::Result<Vec<Child>> {
    let stdin = node.plugin(json!({ "cniVersion": "1.1.0", "name": NETWORK })).to_string();
    let mut running = Vec::new();
    for (at, pod) in pods.iter().enumerate() {
        let (id, netns) = (format!("pod-{at}"), pod.netns());
        for verb in ["ADD", "DEL"] {
            let variables = [
                ("CNI_COMMAND", verb),
                ("CNI_CONTAINERID", id.as_str()),
                ("CNI_NETNS", netns.as_str()),
                ("CNI_IFNAME", "eth0"),
            ];
            running.push(node.start_plugin(&variables, stdin.as_bytes())?);
        }
    }
    Ok(running)
}

/// What a runtime does at last, and what it counts on: nothing is left. What the agent had been told to
/// do when its plugin died may take it a moment.
fn delete_all(node: &Node, pods: &[Pod]) -> anyhow::Result<()> {
    for at in 0..pods.len() {
        let output = node.call("DEL", &format!("pod-{at}"), None, json!({}))?;
        ensure!(output.status.success(), "{}", text(&output.stdout));
    }
    retried(|| node.holds_nothing())
}

/// ADD and DEL for the same pods at once, each killed at another moment, over restarts of the agent.
pub(crate) fn killed(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let mut node = Node::new(folder, &[V4])?;
    let pods: Vec<Pod> = (0..4).map(|_| Pod::new()).collect::<Result<_, _>>()?;
    for round in 0..rounds() {
        let mut running = start_all(&node, &pods)?;
        // Moments spread over what a call takes.
        std::thread::sleep(Duration::from_micros(round % 20 * 700));
        if round % 10 == 9 {
            node.stop();
            node.start()?;
        }
        // Two of three, others in each round.
        for (at, child) in (round..).zip(&mut running) {
            if at % 3 != 0 {
                child.kill()?;
            }
        }
        for child in running {
            child.wait_with_output()?;
        }
        delete_all(&node, &pods).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

/// The agent itself is killed while it works; the next one finds what it left.
pub(crate) fn agents_killed(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let mut node = Node::new(folder, &[V4])?;
    node.stop();
    let pods: Vec<Pod> = (0..4).map(|_| Pod::new()).collect::<Result<_, _>>()?;
    let mut agent = node.start_process()?;
    answers(&node)?;
    for round in 0..rounds() {
        let running = start_all(&node, &pods)?;
        std::thread::sleep(Duration::from_micros(round % 20 * 700));
        // Dropped, it is killed.
        drop(agent);
        agent = node.start_process()?;
        for child in running {
            child.wait_with_output()?;
        }
        answers(&node)?;
        delete_all(&node, &pods).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

/// Waits until an agent answers.
fn answers(node: &Node) -> anyhow::Result<()> {
    retried(|| {
        let output = node.call("STATUS", "", None, json!({}))?;
        ensure!(output.status.success(), "no agent: {}", text(&output.stdout));
        Ok(())
    })
}
