//! Our side: labs, and who speaks to whom in them.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use anyhow::Context;
use daymark_lab::processes;
use daymark_tests::lab::Lab;

/// Two ends of a load.
pub(crate) struct Path {
    /// Network namespace of the client.
    pub(crate) from: PathBuf,
    /// Network namespace of the server.
    pub(crate) to: PathBuf,
    /// The server's address.
    pub(crate) address: IpAddr,
}

/// A lab of one node, without pods.
///
/// # Errors
/// If it does not come up.
pub(crate) fn bare() -> anyhow::Result<Lab> {
    Lab::up(
        "apiVersion: lab.daymark.io/v1alpha1\nkind: Lab\nmetadata: {name: bare}\n\
         spec: {nodes: [{name: n1, podCIDRs: [10.244.1.0/24]}]}\n",
    )
}

/// A lab of two nodes: `one` and `near` on the first, `far` on the second.
///
/// # Errors
/// If it does not come up.
pub(crate) fn pair(routing: &str) -> anyhow::Result<Lab> {
    let mut text = format!(
        "apiVersion: lab.daymark.io/v1alpha1\nkind: Lab\nmetadata: {{name: {routing}}}\nspec:\n  \
         routing: {routing}\n  nodes:\n  - {{name: n1, podCIDRs: [10.244.1.0/24]}}\n  \
         - {{name: n2, podCIDRs: [10.244.2.0/24]}}\n"
    );
    for (pod, node) in [("one", "n1"), ("near", "n1"), ("far", "n2")] {
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}}}\n\
             spec: {{nodeName: {node}, containers: []}}\n"
        ));
    }
    Lab::up(&text)
}

/// From one pod to another.
///
/// # Errors
/// If there is no such pod.
pub(crate) fn path(lab: &Lab, from: &str, to: &str) -> anyhow::Result<Path> {
    Ok(Path { from: lab.namespace(from)?, to: lab.namespace(to)?, address: lab.address(to, true)? })
}

/// What a pod's device takes, in octets.
///
/// # Errors
/// If it can't be told.
pub(crate) fn mtu(lab: &Lab, pod: &str) -> anyhow::Result<u32> {
    let text = lab.run(pod, &["ip", "-o", "link", "show", "eth0"])?;
    let mut words = text.split_whitespace().skip_while(|word| *word != "mtu");
    Ok(words.nth(1).context("a device has an MTU")?.parse()?)
}

/// The process of a node's agent.
///
/// # Errors
/// If it does not run.
pub(crate) fn agent(lab: &Lab, node: &str) -> anyhow::Result<u32> {
    let running = processes::running(&lab.layout().processes(), &format!("agent-{node}"));
    let id = running.with_context(|| format!("the agent of {node} runs"))?;
    Ok(id.as_raw_nonzero().get().try_into()?)
}

/// A figure that the kernel tells of each thing of a kind that a process has open
/// (`/proc/ID/fdinfo`): `id` is what the kind's ids are called there, such as `map_id`. Things in the
/// order of their ids, with their figures.
///
/// # Errors
/// If there is no such process.
pub(crate) fn held(process: u32, id: &str, figure: &str) -> anyhow::Result<BTreeMap<u32, u64>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        // A file may be closed between being listed and being read.
        let Ok(text) = std::fs::read_to_string(entry?.path()) else { continue };
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        if let (Some(id), Some(figure)) = (number(id), number(figure)) {
            found.insert(u32::try_from(id)?, figure);
        }
    }
    Ok(found)
}
