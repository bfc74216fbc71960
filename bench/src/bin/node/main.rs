//! `cargo xtask bench node`: the pod network beside what the reference CNI plugins and the kernel's own
//! means make.

mod cni;
mod cost;
mod limits;
mod load;
mod memory;
mod paths;
mod places;
mod reference;
mod runtime;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use daymark_bench::{
    report::{self, Bar, Bound, Report, Row},
    statistics::{Spread, ratios, spread},
};
use daymark_tests::{lab::Lab, namespace::Namespace, peers};

/// Compares pod networks.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds of each comparison; the judgement is the median of ratios by round.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Milliseconds of each load in a round.
    #[arg(long, default_value_t = 700)]
    milliseconds: u64,
    /// Pods added and deleted one by one in a round, of each side.
    #[arg(long, default_value_t = 24)]
    pods: usize,
    /// Parts to run, all without it: `cni`, `paths`, `limits`, `cost`, `memory`.
    #[arg(long = "part")]
    parts: Vec<String>,
    /// Of the paths, only those measurements whose name has this in it.
    #[arg(long, default_value = "")]
    only: String,
    /// TCP's congestion control in all pods. One that paces by a model of the path (`bbr`) varies more
    /// between rounds than paths differ.
    #[arg(long, default_value = "cubic")]
    congestion: String,
    /// Where the report goes.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(reason) = Lab::unavailable().or_else(Namespace::unavailable) {
        bail!("{reason}");
    }
    ensure!(arguments.rounds > 0 && arguments.pods > 0, "--rounds and --pods: at least 1");
    let unknown = |part: &&String| Run::PARTS.iter().all(|(name, _)| name != part);
    if let Some(part) = arguments.parts.iter().find(unknown) {
        bail!("--part: there is no `{part}`");
    }
    let mut facts = vec![("congestion control", arguments.congestion.clone())];
    facts.extend(reference::versions()?);
    let report = Report {
        title: "The pod network, side by side",
        verb: "node",
        facts: report::facts(&facts),
        ..Report::default()
    };
    let mut run = Run { report, arguments };
    let folder = peers::repository().join(&run.arguments.results);
    let mut raw = serde_json::Map::new();
    // Written after each part: a later one that fails takes nothing with it.
    for (name, part) in Run::PARTS {
        if !(run.arguments.parts.is_empty() || run.arguments.parts.iter().any(|p| p == name)) {
            continue;
        }
        let measured = part(&mut run).with_context(|| format!("part {name}"))?;
        raw.insert(name.to_owned(), measured);
        run.report.raw = raw.clone().into();
        report::write(&run.report, &folder, "node")?;
    }
    println!("{}", run.report.markdown());
    Ok(())
}

struct Run {
    arguments: Arguments,
    report: Report,
}

/// A part of the comparison; gives every single round.
type Part = fn(&mut Run) -> anyhow::Result<serde_json::Value>;

/// Figures by what was measured and by side, one for each round.
type Figures = BTreeMap<String, BTreeMap<&'static str, Vec<f64>>>;

/// What our side is called.
const OURS: &str = "Daymark";
/// What the other side is called.
const THEIRS: &str = "reference";

impl Run {
    const PARTS: [(&'static str, Part); 5] = [
        ("cni", Run::cni),
        ("paths", Run::paths),
        ("limits", Run::limits),
        ("cost", Run::cost),
        ("memory", Run::memory),
    ];

    /// Holds our figures of a measurement to the other side's.
    fn compare(&mut self, figures: &Figures, what: &str, bar: Bound) -> anyhow::Result<()> {
        let of = |side| figures.get(what).and_then(|sides| sides.get(side));
        let both = of(OURS).zip(of(THEIRS)).and_then(|(ours, theirs)| ratios(ours, theirs));
        self.push(what, both, bar, "×")
    }

    fn push(
        &mut self,
        what: &str,
        spread: Option<Spread>,
        bar: Bound,
        unit: &'static str,
    ) -> anyhow::Result<()> {
        let spread = spread.with_context(|| format!("nothing was measured for {what}"))?;
        self.report.bars.push(Bar { what: what.to_owned(), spread, bar, unit });
        Ok(())
    }

    fn table(&mut self, heading: &str, figures: &Figures) {
        // A row has all columns, also those that it has no figure for.
        let mut columns: Vec<&str> =
            figures.values().flat_map(|sides| sides.keys().copied()).collect();
        columns.sort_unstable();
        columns.dedup();
        let row = |(what, sides): (&String, &BTreeMap<&str, Vec<f64>>)| Row {
            what: what.clone(),
            figures: columns
                .iter()
                .map(|name| ((*name).to_owned(), sides.get(name).and_then(|all| spread(all))))
                .collect(),
        };
        self.report.tables.push((heading.to_owned(), figures.iter().map(row).collect()));
    }
}

/// Notes a figure of a round.
fn note(figures: &mut Figures, what: &str, side: &'static str, figure: f64) {
    figures.entry(what.to_owned()).or_default().entry(side).or_default().push(figure);
}
