//! `cargo xtask bench dns`: Daymark beside CoreDNS, Knot and NSD, with the same names.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;
use daymark_bench::{
    cluster::{Cluster, MadeService},
    measure::{self, Latency, Round},
    queries,
    report::{self, Bar, Report, Row},
    servers::{self, Extra, Server},
    statistics::{ratios, spread},
    watch,
};
use daymark_tests::{control_plane::ControlPlane, peers};
use serde_json::json;

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
    /// Outages and relists.
    #[arg(long, default_value_t = 5)]
    outages: usize,
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
    let mut run = Run { report: Report { facts: report::facts(), ..Report::default() }, arguments };
    let small = Cluster { services: run.arguments.small };
    let large = Cluster { services: run.arguments.large };
    let folder = peers::repository().join(&run.arguments.results);
    let mut raw = serde_json::Map::new();
    // Written after each part: a later one that fails takes nothing with it.
    for (name, part) in Run::PARTS {
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
    const PARTS: [(&'static str, Part); 3] =
        [("small", Run::loads), ("forward", Run::cached_forward), ("large", Run::large)];

    /// The cluster mix at the smaller size, against everybody.
    fn loads(&mut self, cluster: Cluster) -> anyhow::Result<serde_json::Value> {
        println!("loading {} Services", cluster.services);
        let scratch = tempfile::tempdir()?;
        let plane = ControlPlane::start()?;
        cluster.load(&plane)?;
        let (zone, mix) = (scratch.path().join("cluster.zone"), scratch.path().join("queries"));
        std::fs::write(&zone, cluster.zone())?;
        std::fs::write(&mix, queries::cluster_mix(&cluster, 100_000))?;
        let extra = Extra { lines: "    cache 30\n".to_owned() };
        let kubeconfig = plane.kubeconfig();
        let mut all = [
            servers::daymark(scratch.path(), &kubeconfig, &extra)?,
            servers::coredns(scratch.path(), &kubeconfig, &extra)?,
            servers::knot(scratch.path(), &zone)?,
            servers::nsd(scratch.path(), &zone)?,
        ];
        let last = MadeService::number(cluster.services - 1).domain();
        all.iter_mut().try_for_each(|server| server.wait_for(&format!("{last}.")))?;
        let rounds = self.rounds(&all, &mix)?;
        let latencies = self.latencies(&all, &mix)?;
        let short = watch::metric(&all[0], "daymark_dns_queries_total", "short")?;
        let long = watch::metric(&all[0], "daymark_dns_queries_total", "long")?;
        let share = short / (short + long);
        ensure!(
            share >= 0.99,
            "only {:.1} % of the cluster mix went the short way: the run is invalid",
            share * 100.0
        );
        self.report
            .facts
            .push(("short way".to_owned(), format!("{:.2} % of the cluster mix", share * 100.0)));
        self.bar("CPU per query / CoreDNS", &rounds, "coredns", |r| r.cpu_us, 0.20);
        self.bar("CPU per query / Knot", &rounds, "knot", |r| r.cpu_us, 0.95);
        let services = cluster.services;
        self.bar(
            &format!("RSS at {services} Services / CoreDNS"),
            &rounds,
            "coredns",
            |r| r.rss_mib,
            0.25,
        );
        let heading = format!("Cluster mix, {services} Services, one core each");
        self.table(&heading, &rounds, Some(&latencies));
        Ok(json!({ "rounds": rounds, "latency": latencies }))
    }

    /// Names outside the cluster, answered from the cache.
    fn cached_forward(&mut self, cluster: Cluster) -> anyhow::Result<serde_json::Value> {
        const NAMES: usize = 1000;
        let scratch = tempfile::tempdir()?;
        let plane = ControlPlane::start()?;
        Cluster { services: cluster.services.min(100) }.load(&plane)?;
        let mix = scratch.path().join("queries");
        std::fs::write(&mix, queries::outside_mix(NAMES, 100_000))?;
        let mut upstream = servers::unbound(scratch.path(), &queries::outside_zone(NAMES))?;
        upstream.wait_for("host1.example.com.")?;
        let lines = format!("    forward . 127.0.0.1:{}\n    cache 3600\n", upstream.port);
        let extra = Extra { lines };
        let kubeconfig = plane.kubeconfig();
        let mut all = [
            servers::daymark(scratch.path(), &kubeconfig, &extra)?,
            servers::coredns(scratch.path(), &kubeconfig, &extra)?,
        ];
        all.iter_mut().try_for_each(|server| server.wait_for("host1.example.com."))?;
        // Fills both caches.
        all.iter().try_for_each(|s| measure::load(s.program.id(), s.port, &mix, 2).map(drop))?;
        let rounds = self.rounds(&all, &mix)?;
        self.bar("cached forward: CPU per query / CoreDNS", &rounds, "coredns", |r| r.cpu_us, 0.30);
        self.table("Cached forward", &rounds, None);
        Ok(json!({ "rounds": rounds }))
    }

    /// The larger cluster: memory, start, changes, outages, relists.
    fn large(&mut self, cluster: Cluster) -> anyhow::Result<serde_json::Value> {
        println!("loading {} Services", cluster.services);
        let scratch = tempfile::tempdir()?;
        let plane = ControlPlane::start()?;
        cluster.load(&plane)?;
        let (kubeconfig, extra) = (plane.kubeconfig(), Extra::default());
        let mut starts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for round in 0..self.arguments.outages {
            for ours in [round % 2 == 0, round % 2 != 0] {
                let started = Instant::now();
                let server = match ours {
                    true => servers::daymark(scratch.path(), &kubeconfig, &extra)?,
                    false => servers::coredns(scratch.path(), &kubeconfig, &extra)?,
                };
                starts.entry(server.name).or_default().push(watch::until_ready(&server, started)?);
            }
        }
        self.compare("start to ready / CoreDNS", &starts, 0.5);
        let daymark = servers::daymark(scratch.path(), &kubeconfig, &extra)?;
        let coredns = servers::coredns(scratch.path(), &kubeconfig, &extra)?;
        for server in [&daymark, &coredns] {
            watch::until_ready(server, Instant::now())?;
        }
        std::thread::sleep(Duration::from_secs(2));
        let memory = self.memory(&daymark, &coredns, cluster)?;
        let changes = self.changes(&plane, &daymark, &coredns)?;
        let recoveries = self.recoveries(&plane, &daymark, &coredns)?;
        let relists = self.relists(&plane, &daymark)?;
        Ok(json!({
            "start_seconds": starts, "rss_mib": memory, "change_ms": changes,
            "recovery_ms": recoveries, "relist_mib": relists,
        }))
    }

    fn memory(
        &mut self,
        daymark: &Server,
        coredns: &Server,
        cluster: Cluster,
    ) -> anyhow::Result<[f64; 2]> {
        let rss = |server: &Server| measure::rss_mib(server.program.id());
        let both = [rss(daymark)?, rss(coredns)?];
        let what = format!("RSS at {} Services / CoreDNS", cluster.services);
        self.push(what, ratios(&both[..1], &both[1..]), 0.20, "×")?;
        let figures = [("daymark", both[0]), ("coredns", both[1])];
        let figures = figures.map(|(name, mib)| (name.to_owned(), spread(&[mib])));
        let row = Row { what: "RSS, MiB".to_owned(), figures: figures.to_vec() };
        self.report.tables.push((format!("{} Services", cluster.services), vec![row]));
        Ok(both)
    }

    fn changes(
        &mut self,
        plane: &ControlPlane,
        daymark: &Server,
        coredns: &Server,
    ) -> anyhow::Result<Vec<Vec<f64>>> {
        let mut seen = vec![Vec::new(), Vec::new()];
        for turn in 1..=self.arguments.changes {
            // Headless Services, one after the other: every change is in an answer of its own.
            let service = MadeService::number(20 * (turn % 100));
            let took = watch::change(plane, &[daymark, coredns], service, 1 + turn % 3)?;
            seen.iter_mut().zip(took).for_each(|(all, ms)| all.push(ms));
        }
        let at = |which: usize, q| {
            daymark_bench::statistics::quantile(&seen[which], q).unwrap_or(f64::NAN)
        };
        let (p50, p99) = ([at(0, 0.5), at(1, 0.5)], [at(0, 0.99), at(1, 0.99)]);
        self.push(
            "change to answer, p50 / CoreDNS".to_owned(),
            spread(&[p50[0] / p50[1]]),
            1.0,
            "×",
        )?;
        let beyond = spread(&[p99[0] - p99[1]]);
        self.push("change to answer, p99 beyond CoreDNS".to_owned(), beyond, 5.0, "ms")?;
        let row = |what: &str, [ours, theirs]: [f64; 2]| Row {
            what: what.to_owned(),
            figures: vec![
                ("daymark".to_owned(), spread(&[ours])),
                ("coredns".to_owned(), spread(&[theirs])),
            ],
        };
        let rows = vec![row("p50, ms", p50), row("p99, ms", p99)];
        self.report
            .tables
            .push((format!("API change to changed answer, {} changes", seen[0].len()), rows));
        Ok(seen)
    }

    fn recoveries(
        &mut self,
        plane: &ControlPlane,
        daymark: &Server,
        coredns: &Server,
    ) -> anyhow::Result<BTreeMap<&'static str, Vec<f64>>> {
        let mut seen: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for round in 0..self.arguments.outages {
            let service = MadeService::number(20 * (200 + round));
            let outage = Duration::from_secs(4);
            let took = watch::recovery(plane, &[daymark, coredns], service, 1, outage)?;
            for (server, ms) in ["daymark", "coredns"].into_iter().zip(took) {
                seen.entry(server).or_default().push(ms);
            }
        }
        self.compare("recovery after a 4 s outage / CoreDNS", &seen, 0.3);
        Ok(seen)
    }

    fn relists(
        &mut self,
        plane: &ControlPlane,
        daymark: &Server,
    ) -> anyhow::Result<Vec<(f64, f64)>> {
        let mut seen = Vec::new();
        let lists = || watch::metric(daymark, "daymark_source_lists_total", "endpointslices");
        for round in 0..self.arguments.outages.min(3) {
            let before = lists()?;
            seen.push(watch::relist(plane, daymark, MadeService::number(20 * (300 + round)), 3)?);
            ensure!(lists()? > before, "no relist happened: the figure would be none");
        }
        let ratio: Vec<f64> = seen.iter().map(|(before, peak)| peak / before).collect();
        self.push("peak RSS during a relist / before".to_owned(), spread(&ratio), 1.3, "×")?;
        Ok(seen)
    }

    fn rounds(&self, all: &[Server], mix: &std::path::Path) -> anyhow::Result<Rounds> {
        let mut rounds = Rounds::new();
        for round in 0..self.arguments.rounds {
            // Alternated, and not always in the same order.
            let mut order: Vec<&Server> = all.iter().collect();
            order.rotate_left(round % all.len());
            for server in order {
                let got =
                    measure::load(server.program.id(), server.port, mix, self.arguments.seconds)?;
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
            self.report.bars.push(Bar { what: what.to_owned(), spread, bar, unit: "×" });
        }
    }

    fn compare(&mut self, what: &str, seen: &BTreeMap<&str, Vec<f64>>, bar: f64) {
        if let Some(spread) = ratios(&seen["daymark"], &seen["coredns"]) {
            self.report.bars.push(Bar { what: what.to_owned(), spread, bar, unit: "×" });
        }
        let figures = seen.iter().map(|(name, all)| ((*name).to_owned(), spread(all))).collect();
        let row = Row { what: what.to_owned(), figures };
        self.report.tables.push((what.replace(" / CoreDNS", ""), vec![row]));
    }

    fn push(
        &mut self,
        what: String,
        spread: Option<daymark_bench::statistics::Spread>,
        bar: f64,
        unit: &'static str,
    ) -> anyhow::Result<()> {
        let spread = spread.with_context(|| format!("nothing was measured for {what}"))?;
        self.report.bars.push(Bar { what, spread, bar, unit });
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
