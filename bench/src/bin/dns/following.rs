//! Following the API server at the larger size: memory, start, changes, outages, relists.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::ensure;
use daymark_bench::{
    cluster::{Cluster, MadeService},
    measure,
    report::Row,
    servers::{self, Extra, Server},
    statistics::{quantile, ratios, spread},
    watch,
};
use daymark_tests::control_plane::ControlPlane;
use serde_json::json;

use super::Run;

/// Changes whose median counts as one figure.
const CHANGES_IN_A_RUN: usize = 100;

impl Run {
    /// The larger cluster: memory, start, changes, outages, relists.
    pub(super) fn large(&mut self, cluster: Cluster) -> anyhow::Result<serde_json::Value> {
        println!("loading {} Services", cluster.services);
        let scratch = tempfile::tempdir()?;
        let plane = ControlPlane::start()?;
        cluster.load(&plane)?;
        let (kubeconfig, extra) = (plane.kubeconfig(), Extra::default());
        let mut starts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut memory: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for round in 0..self.arguments.outages {
            for ours in [round % 2 == 0, round % 2 != 0] {
                // The API server lets the one before go, and collects its garbage.
                std::thread::sleep(Duration::from_secs(2));
                let started = Instant::now();
                let server = match ours {
                    true => servers::daymark(scratch.path(), &kubeconfig, &extra)?,
                    false => servers::coredns(scratch.path(), &kubeconfig, &extra)?,
                };
                starts.entry(server.name).or_default().push(watch::until_ready(&server, started)?);
                // What reading the first lists left behind has gone, as far as it goes.
                std::thread::sleep(Duration::from_secs(2));
                let rss = measure::rss_mib(server.program.id())?;
                memory.entry(server.name).or_default().push(rss);
            }
        }
        self.compare("start to ready / CoreDNS", &starts, 0.5);
        let what = format!("RSS, MiB, at {} Services / CoreDNS", cluster.services);
        self.compare(&what, &memory, 0.2);
        let daymark = servers::daymark(scratch.path(), &kubeconfig, &extra)?;
        let coredns = servers::coredns(scratch.path(), &kubeconfig, &extra)?;
        for server in [&daymark, &coredns] {
            watch::until_ready(server, Instant::now())?;
        }
        let changes = self.changes(&plane, &daymark, &coredns)?;
        let recoveries = self.recoveries(&plane, &daymark, &coredns)?;
        let relists = self.relists(&plane, &daymark)?;
        Ok(json!({
            "start_seconds": starts, "rss_mib": memory, "change_ms": changes,
            "recovery_ms": recoveries, "relist_mib": relists,
        }))
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
        // Quantiles of each run of changes, so that their ratios have a spread.
        let runs = |which: usize, q| -> Vec<f64> {
            seen[which].chunks(CHANGES_IN_A_RUN).filter_map(|run| quantile(run, q)).collect()
        };
        let of_runs = ratios(&runs(0, 0.5), &runs(1, 0.5));
        self.push("change to answer, p50 / CoreDNS".to_owned(), of_runs, 1.0, "×")?;
        let at = |which: usize, q| quantile(&seen[which], q).unwrap_or(f64::NAN);
        let (p50, p99) = ([at(0, 0.5), at(1, 0.5)], [at(0, 0.99), at(1, 0.99)]);
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
}
