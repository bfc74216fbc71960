//! What an agent with many pods holds.

use std::{thread::sleep, time::Duration};

use daymark_bench::{measure::rss_mib, report::Bound, statistics::spread};
use daymark_tests::lab::Lab;

use crate::{Figures, OURS, Run, note, places};

/// Pods of the node.
const PODS: usize = 100;
/// How long the agent is left alone before the bar is held to it: what it needs to add pods is not what
/// it needs to have them.
const REST: Duration = Duration::from_secs(5);
/// The most that the agent's process may hold, in MiB.
const BAR: f64 = 40.0;

impl Run {
    pub(crate) fn memory(&mut self) -> anyhow::Result<serde_json::Value> {
        let lab = Lab::up(&format!(
            "apiVersion: lab.daymark.io/v1alpha1\nkind: Lab\nmetadata: {{name: crowd}}\n\
             spec: {{nodes: [{{name: n1, podCIDRs: [10.244.1.0/24, \"fd00:10:244:1::/64\"]}}]}}\n\
             ---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: crowd}}\n\
             spec: {{replicas: {PODS}, template: {{spec: {{containers: []}}}}}}\n"
        ))?;
        let agent = places::agent(&lab, "n1")?;
        let maps: u64 = places::held(agent, "map_id", "memlock")?.values().sum();
        let mut figures = Figures::new();
        let rss = format!("RSS of the agent with {PODS} pods, MiB");
        let adding = format!("RSS of the agent as the last of {PODS} pods is added, MiB");
        note(&mut figures, &adding, OURS, rss_mib(agent)?);
        sleep(REST);
        note(&mut figures, &rss, OURS, rss_mib(agent)?);
        note(&mut figures, "maps (of a lab's size), MiB", OURS, maps as f64 / f64::from(1 << 20));
        self.push(&rss, spread(&figures[&rss][OURS]), Bound::AtMost(BAR), "MiB")?;
        self.table("Memory", &figures);
        Ok(serde_json::to_value(figures)?)
    }
}
