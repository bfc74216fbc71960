//! `cargo xtask bench dns`: Daymark beside CoreDNS, Knot and NSD, with the same names.

mod fairness;
mod following;
mod loads;
mod transports;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use daymark_bench::{
    cluster::Cluster,
    measure::{self, Latency, Round},
    report::{self, Bar, Bound, Report, Row, first_line},
    servers::Server,
    statistics::{Spread, ratios, spread},
};
use daymark_tests::peers;

/// Compares cluster DNS servers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds of each load; the judgement is the median of ratios by round.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of each round.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Changes followed.
    #[arg(long, default_value_t = 1000)]
    changes: usize,
    /// Starts and outages.
    #[arg(long, default_value_t = 7)]
    outages: usize,
    /// Parts to run, all without it: `small`, `transports`, `forward`, `rewrite`, `local`, `memory`,
    /// `fairness`, `large`.
    #[arg(long = "part")]
    parts: Vec<String>,
    /// Services of the smaller cluster.
    #[arg(long, default_value_t = 2000)]
    small: usize,
    /// Services of the larger cluster.
    #[arg(long, default_value_t = 10_000)]
    large: usize,
    /// Where the report goes.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let coredns = peers::folder().join("coredns").display().to_string();
    let facts = report::facts(&[
        ("CoreDNS", first_line(&coredns, &["-version"])),
        ("Knot", first_line("knotd", &["--version"])),
        ("NSD", first_line("nsd", &["-v"])),
        ("kube-apiserver", "v1.37.2".to_owned()),
    ]);
    let title = "Cluster DNS, side by side";
    let mut run =
        Run { report: Report { title, verb: "dns", facts, ..Report::default() }, arguments };
    let small = Cluster { services: run.arguments.small };
    let large = Cluster { services: run.arguments.large };
    let folder = peers::repository().join(&run.arguments.results);
    let mut raw = serde_json::Map::new();
    // Written after each part: a later one that fails takes nothing with it.
    for (name, part) in Run::PARTS {
        if !(run.arguments.parts.is_empty() || run.arguments.parts.iter().any(|p| p == name)) {
            continue;
        }
        let cluster = if name == "large" { large } else { small };
        raw.insert(name.to_owned(), part(&mut run, cluster)?);
        run.report.raw = raw.clone().into();
        report::write(&run.report, &folder, "dns")?;
    }
    println!("{}", run.report.markdown());
    Ok(())
}

struct Run {
    arguments: Arguments,
    report: Report,
}

/// Rounds and latencies by server.
type Rounds = BTreeMap<&'static str, Vec<Round>>;

/// A part of the comparison.
type Part = fn(&mut Run, Cluster) -> anyhow::Result<serde_json::Value>;

impl Run {
    const PARTS: [(&'static str, Part); 8] = [
        ("small", Run::loads),
        ("transports", Run::transports),
        ("forward", Run::cached_forward),
        ("rewrite", Run::rewritten_forward),
        ("local", Run::denied_and_local),
        ("memory", Run::cache_memory),
        ("fairness", Run::fairness),
        ("large", Run::large),
    ];

    fn rounds(&self, all: &[Server], mix: &std::path::Path) -> anyhow::Result<Rounds> {
        self.rounds_over(all, mix, |server| ("udp", server.port))
    }

    /// The same over a transport of the servers.
    fn rounds_over(
        &self,
        all: &[Server],
        mix: &std::path::Path,
        over: impl Fn(&Server) -> (&'static str, u16),
    ) -> anyhow::Result<Rounds> {
        let mut rounds = Rounds::new();
        for round in 0..self.arguments.rounds {
            // Alternated, and not always in the same order.
            let mut order: Vec<&Server> = all.iter().collect();
            order.rotate_left(round % all.len());
            for server in order {
                let got =
                    measure::load(server.program.id(), over(server), mix, self.arguments.seconds)?;
                println!("round {round} {}: {:.0} q/s, {:.2} µs", server.name, got.qps, got.cpu_us);
                rounds.entry(server.name).or_default().push(got);
            }
        }
        Ok(rounds)
    }

    fn latencies(
        &self,
        all: &[Server],
        mix: &std::path::Path,
    ) -> anyhow::Result<BTreeMap<&'static str, Vec<Latency>>> {
        let mut latencies: BTreeMap<&str, Vec<Latency>> = BTreeMap::new();
        for _ in 0..3 {
            for server in all {
                latencies.entry(server.name).or_default().push(measure::latency(server.port, mix)?);
            }
        }
        Ok(latencies)
    }

    fn bar(&mut self, what: &str, rounds: &Rounds, peer: &str, of: fn(&Round) -> f64, bar: f64) {
        let figures =
            |name: &str| rounds.get(name).into_iter().flatten().map(of).collect::<Vec<_>>();
        if let Some(spread) = ratios(&figures("daymark"), &figures(peer)) {
            self.report.bars.push(Bar {
                what: what.to_owned(),
                spread,
                bar: Bound::AtMost(bar),
                unit: "×",
            });
        }
    }

    fn compare(&mut self, what: &str, seen: &BTreeMap<&str, Vec<f64>>, bar: f64) {
        if let Some(spread) = ratios(&seen["daymark"], &seen["coredns"]) {
            self.report.bars.push(Bar {
                what: what.to_owned(),
                spread,
                bar: Bound::AtMost(bar),
                unit: "×",
            });
        }
        let figures = seen.iter().map(|(name, all)| ((*name).to_owned(), spread(all))).collect();
        let row = Row { what: what.to_owned(), figures };
        self.report.tables.push((what.replace(" / CoreDNS", ""), vec![row]));
    }

    fn push(
        &mut self,
        what: String,
        spread: Option<Spread>,
        bar: f64,
        unit: &'static str,
    ) -> anyhow::Result<()> {
        let spread = spread.with_context(|| format!("nothing was measured for {what}"))?;
        self.report.bars.push(Bar { what, spread, bar: Bound::AtMost(bar), unit });
        Ok(())
    }

    fn table(
        &mut self,
        heading: &str,
        rounds: &Rounds,
        latencies: Option<&BTreeMap<&'static str, Vec<Latency>>>,
    ) {
        let row = |what: &str, of: fn(&Round) -> f64| Row {
            what: what.to_owned(),
            figures: rounds
                .iter()
                .map(|(name, all)| {
                    ((*name).to_owned(), spread(&all.iter().map(of).collect::<Vec<_>>()))
                })
                .collect(),
        };
        let mut rows = vec![
            row("queries/s", |r| r.qps),
            row("CPU per query, µs", |r| r.cpu_us),
            row("RSS, MiB", |r| r.rss_mib),
            row("lost", |r| r.lost),
        ];
        let latency = |what: &str, of: fn(&Latency) -> f64| Row {
            what: what.to_owned(),
            figures: latencies
                .into_iter()
                .flatten()
                .map(|(name, all)| {
                    ((*name).to_owned(), spread(&all.iter().map(of).collect::<Vec<_>>()))
                })
                .collect(),
        };
        if latencies.is_some() {
            rows.push(latency("latency p50 at 2,000 queries/s, µs", |l| l.p50_us));
            rows.push(latency("latency p99 at 2,000 queries/s, µs", |l| l.p99_us));
        }
        self.report.tables.push((heading.to_owned(), rows));
    }
}
