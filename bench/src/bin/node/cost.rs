//! What each program costs a packet.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use daymark_lab::wire::OUTSIDE;
use daymark_loader::kernel::{Cost, costs, measure_runs};
use daymark_tests::lab::Lab;

use crate::{
    Figures, Run,
    load::Load,
    note,
    places::{self, Path},
};

/// Columns of the table.
const PER_PACKET: &str = "ns per packet";
const RUNS: &str = "packets of a round";
const INSTRUCTIONS: &str = "instructions verified";

impl Run {
    pub(crate) fn cost(&mut self) -> anyhow::Result<serde_json::Value> {
        let native = places::pair("native").context("a lab with routes")?;
        let tunnelled = places::pair("vxlan").context("a lab with tunnels")?;
        let outside = Path {
            from: native.namespace("one")?,
            to: native.namespace("outside")?,
            address: OUTSIDE.v4.into(),
        };
        let paths = [
            places::path(&native, "one", "near")?,
            places::path(&native, "one", "far")?,
            places::path(&tunnelled, "one", "far")?,
            // Masqueraded.
            outside,
            // A node's own connection, which its pods answer through the stack.
            Path { from: native.namespace("node/n1")?, ..places::path(&native, "one", "near")? },
        ];
        let programs = programs(&[&native, &tunnelled])?;
        let duration = Duration::from_millis(self.arguments.milliseconds) / 4;
        let mut figures = Figures::new();
        for round in 0..self.arguments.rounds {
            let measuring = measure_runs().context("measuring runs of programs")?;
            let before = of(&programs);
            for path in &paths {
                for load in [Load::RequestResponse, Load::ConnectRequestResponse, Load::Datagrams] {
                    load.run(path, duration)?;
                }
            }
            let after = of(&programs);
            drop(measuring);
            for (name, after) in &after {
                let before = before.get(name).copied().unwrap_or_default();
                let runs = (after.runs - before.runs) as f64;
                if runs == 0.0 {
                    // Programs of sockets see no packets.
                    continue;
                }
                let time = (after.time - before.time).as_nanos() as f64;
                println!("round {round} {name}: {:.0} ns, {runs} packets", time / runs);
                note(&mut figures, name, PER_PACKET, time / runs);
                note(&mut figures, name, RUNS, runs);
                note(&mut figures, name, INSTRUCTIONS, after.instructions.into());
            }
        }
        self.table(
            "Cost of each program, by the kernel's run statistics (part of the time is theirs)",
            &figures,
        );
        Ok(serde_json::to_value(figures)?)
    }
}

/// Ids of the programs of these labs.
fn programs(labs: &[&Lab]) -> anyhow::Result<Vec<u32>> {
    let mut ids = Vec::new();
    for lab in labs {
        for node in &lab.status().nodes {
            let held = places::held(places::agent(lab, &node.name)?, "prog_id", "verified_insns")?;
            ids.extend(held.into_keys());
        }
    }
    ensure!(!ids.is_empty(), "the agents hold programs");
    Ok(ids)
}

/// What the programs of one name have cost together.
#[derive(Clone, Copy, Default)]
struct Sum {
    runs: u64,
    time: Duration,
    instructions: u32,
}

fn of(ids: &[u32]) -> BTreeMap<String, Sum> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    let ours = |cost: &Cost| ids.contains(&cost.id);
    for cost in costs().into_iter().filter(ours) {
        let sum = sums.entry(cost.name).or_default();
        sum.runs += cost.runs;
        sum.time += cost.time;
        sum.instructions = sum.instructions.max(cost.instructions);
    }
    sums
}
