//! How near to a pod's limits (`kubernetes.io/ingress-bandwidth`, `egress-bandwidth`) its traffic gets. Without
//! the fq queueing discipline they are token buckets (tc-tbf(8)), which is what this machine may show.

use std::time::Duration;

use daymark_bench::{report::Bound, statistics::spread};
use daymark_tests::lab::Lab;

use crate::{
    Figures, OURS, Run,
    load::Load,
    note,
    places::{self, Path},
};

/// Bits per second of each limit, and how a manifest writes it.
const LIMITS: [(f64, &str); 2] = [(50e6, "50M"), (500e6, "500M")];

impl Run {
    pub(crate) fn limits(&mut self) -> anyhow::Result<serde_json::Value> {
        let mut figures = Figures::new();
        for (rate, text) in LIMITS {
            let lab = limited(text)?;
            let ways = [("into", "free", "limited"), ("out of", "limited", "free")].map(
                |(way, from, to)| {
                    (format!("{way} a pod with {text}: throughput / limit"), from, to)
                },
            );
            for _ in 0..self.arguments.rounds {
                for (what, from, to) in &ways {
                    let path: Path = places::path(&lab, from, to)?;
                    // A bucket is full at first; what counts is what comes after.
                    let duration = Duration::from_millis(4 * self.arguments.milliseconds);
                    note(&mut figures, what, OURS, Load::Throughput.run(&path, duration)? / rate);
                }
            }
            for (what, ..) in &ways {
                self.push(what, spread(&figures[what][OURS]), Bound::AtMost(1.1), "×")?;
                self.push(what, spread(&figures[what][OURS]), Bound::AtLeast(0.85), "×")?;
            }
        }
        self.table("Limits of a pod, as token buckets", &figures);
        Ok(serde_json::to_value(figures)?)
    }
}

/// A node with a pod that is limited both ways, and one that is not.
fn limited(rate: &str) -> anyhow::Result<Lab> {
    Lab::up(&format!(
        "apiVersion: lab.daymark.io/v1alpha1\nkind: Lab\nmetadata: {{name: limits}}\n\
         spec: {{nodes: [{{name: n1, podCIDRs: [10.244.1.0/24]}}]}}\n\
         ---\napiVersion: v1\nkind: Pod\nmetadata: {{name: free}}\n\
         spec: {{nodeName: n1, containers: []}}\n\
         ---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: limited\n  annotations:\n    \
         kubernetes.io/ingress-bandwidth: {rate}\n    kubernetes.io/egress-bandwidth: {rate}\n\
         spec: {{nodeName: n1, containers: []}}\n"
    ))
}
