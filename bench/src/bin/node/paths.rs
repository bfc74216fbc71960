//! From pod to pod, within a node and between nodes.

use std::time::Duration;

use anyhow::{Context, ensure};
use daymark_bench::report::Bound;

use crate::{
    Figures, OURS, Run, THEIRS,
    load::{self, Load},
    note,
    places::{self, Path},
    reference::{Between, Pair},
};

/// A way that packets take, on both sides.
struct Way {
    name: &'static str,
    ours: Path,
    theirs: Path,
}

impl Run {
    pub(crate) fn paths(&mut self) -> anyhow::Result<serde_json::Value> {
        let native = places::pair("native").context("a lab with routes")?;
        let tunnelled = places::pair("vxlan").context("a lab with tunnels")?;
        // Devices of both sides take the same.
        let routed = Pair::new(Between::Routes, places::mtu(&native, "one")?)?;
        let vxlan = Pair::new(Between::Vxlan, places::mtu(&tunnelled, "one")?)?;
        let (one, _) = routed.nodes[0].pod()?;
        let (near, near_address) = routed.nodes[0].pod()?;
        let (far, far_address) = routed.nodes[1].pod()?;
        let (below, _) = vxlan.nodes[0].pod()?;
        let (beyond, beyond_address) = vxlan.nodes[1].pod()?;
        let theirs =
            |from: &daymark_tests::namespace::Namespace,
             to: &daymark_tests::namespace::Namespace,
             address| { Path { from: from.network(), to: to.network(), address } };
        let ways = [
            Way {
                name: "within a node",
                ours: places::path(&native, "one", "near")?,
                theirs: theirs(&one, &near, near_address),
            },
            Way {
                name: "between nodes, native",
                ours: places::path(&native, "one", "far")?,
                theirs: theirs(&one, &far, far_address),
            },
            Way {
                name: "between nodes, VXLAN",
                ours: places::path(&tunnelled, "one", "far")?,
                theirs: theirs(&below, &beyond, beyond_address),
            },
        ];
        let mut all = ways.iter().flat_map(|way| Load::ALL.map(|(_, name)| (way, name)));
        ensure!(
            all.any(|(way, name)| self.is_wanted(way, name)),
            "--only: no measurement of the paths has `{}` in its name",
            self.arguments.only
        );
        for way in &ways {
            for pod in [&way.ours.from, &way.ours.to, &way.theirs.from, &way.theirs.to] {
                load::control_congestion(pod, &self.arguments.congestion)?;
            }
        }
        let figures = self.measured(&ways)?;
        for way in &ways {
            for (load, name) in Load::ALL {
                if !self.is_wanted(way, name) {
                    continue;
                }
                let is_near = way.name == ways[0].name;
                let least = if is_near && load == Load::RequestResponse { 1.10 } else { 0.98 };
                self.compare(&figures, &what(way, name), Bound::AtLeast(least))?;
            }
        }
        self.table("Pod to pod", &figures);
        Ok(serde_json::to_value(figures)?)
    }

    fn is_wanted(&self, way: &Way, load: &str) -> bool {
        what(way, load).contains(&self.arguments.only)
    }

    fn measured(&self, ways: &[Way]) -> anyhow::Result<Figures> {
        let duration = Duration::from_millis(self.arguments.milliseconds);
        let mut figures = Figures::new();
        for round in 0..self.arguments.rounds {
            for way in ways {
                for (load, name) in Load::ALL {
                    if !self.is_wanted(way, name) {
                        continue;
                    }
                    let mut sides = [(OURS, &way.ours), (THEIRS, &way.theirs)];
                    // Neither always goes first.
                    sides.rotate_left(round % 2);
                    for (side, path) in sides {
                        let what = what(way, name);
                        // The first packets find neighbours and warm caches.
                        load.run(path, duration / 20).with_context(|| format!("{what}: {side}"))?;
                        let figure = load.run(path, duration)?;
                        println!("round {round} {what}: {side} {figure:.0}");
                        note(&mut figures, &what, side, figure);
                    }
                }
            }
        }
        Ok(figures)
    }
}

fn what(way: &Way, load: &str) -> String {
    format!("{}: {load}", way.name)
}
