//! A server held to a fifth of a core, a flood from one address, and somebody else who asks a little.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use anyhow::Context;
use daymark_bench::{
    cluster::{Cluster, MadeService},
    flood::{self, Quiet},
    measure::{self, CLIENT_CORE, SERVER_CORE},
    queries,
    quota::Quota,
    report::{Bar, Bound, Row},
    servers::{self, Extra, Server},
    statistics::{ratios, spread},
};
use daymark_tests::control_plane::ControlPlane;
use serde_json::json;

use super::Run;

/// Hundredths of a core that a server may use.
const PERCENT: u32 = 20;
/// The flood is so many times what the server serves from that.
const TIMES: f64 = 3.0;
const FLOODING: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const QUIET: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
/// A flood is there for so long before anything is measured.
const BEFORE: Duration = Duration::from_secs(1);

impl Run {
    pub(super) fn fairness(&mut self, cluster: Cluster) -> anyhow::Result<serde_json::Value> {
        let scratch = tempfile::tempdir()?;
        let plane = ControlPlane::start()?;
        cluster.load(&plane)?;
        let mix = scratch.path().join("queries");
        std::fs::write(&mix, queries::cluster_mix(&cluster, 100_000))?;
        let name = format!("{}.", MadeService::number(cluster.services - 1).domain());
        let names: Vec<String> = (0..1000)
            .map(|n| format!("{}.", MadeService::number(n % cluster.services).domain()))
            .collect();
        let kubeconfig = plane.kubeconfig();
        let quotas = [Quota::new("daymark", PERCENT)?, Quota::new("coredns", PERCENT)?];
        let extra = |quota: &Quota| Extra {
            lines: "    cache 30\n".to_owned(),
            cgroup: Some(quota.folder().to_owned()),
            ..Extra::default()
        };
        let mut all = [
            servers::daymark(scratch.path(), &kubeconfig, &extra(&quotas[0]))?,
            servers::coredns(scratch.path(), &kubeconfig, &extra(&quotas[1]))?,
        ];
        all.iter_mut().try_for_each(|server| server.wait_for(&name))?;
        let mut seen: BTreeMap<&str, Vec<Seen>> = BTreeMap::new();
        let served = all
            .iter()
            .map(|server| self.served(server, &mix))
            .collect::<anyhow::Result<Vec<f64>>>()?;
        flood::stay_on(SERVER_CORE)?;
        for round in 0..self.arguments.rounds {
            for at in [round % 2, 1 - round % 2] {
                let (server, quota) = (&all[at], &quotas[at]);
                let alone = flood::quiet(QUIET, server.port, &name, self.arguments.seconds)?;
                let before = quota.throttled()?;
                let flooded = self.flooded(server, &name, &names, TIMES * served[at])?;
                let throttled = quota.throttled()? - before;
                println!(
                    "round {round} {}: flood {:.0} q/s; p99 {:.0} → {:.0} µs, {:.2} % answered, {throttled} times stopped",
                    server.name,
                    TIMES * served[at],
                    alone.p99_us,
                    flooded.p99_us,
                    flooded.answered * 100.0
                );
                seen.entry(server.name).or_default().push(Seen { alone, flooded, throttled });
            }
        }
        self.report_fairness(&seen);
        let served: BTreeMap<&str, f64> =
            all.iter().map(|server| server.name).zip(served).collect();
        Ok(json!({ "served": served, "seen": seen }))
    }

    /// Queries a second that it serves within its quota.
    fn served(&self, server: &Server, mix: &Path) -> anyhow::Result<f64> {
        let load = || {
            measure::load(server.program.id(), ("udp", server.port), mix, self.arguments.seconds)
        };
        // The first one may have used what was saved before it.
        load()?;
        Ok(load()?.qps)
    }

    /// What the quiet client sees beside a flood of `rate`.
    fn flooded(
        &self,
        server: &Server,
        name: &str,
        names: &[String],
        rate: f64,
    ) -> anyhow::Result<Quiet> {
        let stop = AtomicBool::new(false);
        let (port, seconds) = (server.port, self.arguments.seconds);
        std::thread::scope(|scope| {
            let flooding = scope.spawn(|| {
                flood::stay_on(CLIENT_CORE)?;
                flood::flood(FLOODING, port, names, rate, &stop)
            });
            std::thread::sleep(BEFORE);
            let quiet = flood::quiet(QUIET, port, name, seconds);
            stop.store(true, Relaxed);
            flooding.join().ok().context("the flood ended early")??;
            quiet
        })
    }

    fn report_fairness(&mut self, seen: &BTreeMap<&str, Vec<Seen>>) {
        let figures = |name: &str, of: fn(&Seen) -> f64| -> Vec<f64> {
            seen.get(name).into_iter().flatten().map(of).collect()
        };
        let alone = figures("daymark", |seen| seen.alone.p99_us);
        let flooded = figures("daymark", |seen| seen.flooded.p99_us);
        if let Some(spread) = ratios(&flooded, &alone) {
            let what = "quiet client beside a flood: p99 / without".to_owned();
            self.report.bars.push(Bar { what, spread, bar: Bound::AtMost(2.0), unit: "×" });
        }
        if let Some(spread) =
            spread(&figures("daymark", |seen| (1.0 - seen.flooded.answered) * 100.0))
        {
            let what = "quiet client beside a flood: unanswered".to_owned();
            self.report.bars.push(Bar { what, spread, bar: Bound::AtMost(1.0), unit: "%" });
        }
        let row = |what: &str, of: fn(&Seen) -> f64| Row {
            what: what.to_owned(),
            figures: seen
                .keys()
                .map(|name| ((*name).to_owned(), spread(&figures(name, of))))
                .collect(),
        };
        let rows = vec![
            row("p50 alone, µs", |seen| seen.alone.p50_us),
            row("p99 alone, µs", |seen| seen.alone.p99_us),
            row("p50 beside the flood, µs", |seen| seen.flooded.p50_us),
            row("p99 beside the flood, µs", |seen| seen.flooded.p99_us),
            row("answered beside the flood, %", |seen| seen.flooded.answered * 100.0),
            row("periods in which it was stopped", |seen| seen.throttled),
        ];
        let heading = format!(
            "500 queries/s beside a flood at {TIMES} × what is served, {PERCENT} % of a core each"
        );
        self.report.tables.push((heading, rows));
    }
}

/// What the quiet client saw in a round.
#[derive(Clone, Copy, serde::Serialize)]
struct Seen {
    alone: Quiet,
    flooded: Quiet,
    /// Periods in which the server was stopped while it was flooded.
    throttled: f64,
}
