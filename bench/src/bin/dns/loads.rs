//! Queries as fast as they go: the cluster mix against everybody, and cached names from outside.

use std::{collections::BTreeMap, path::Path};

use anyhow::ensure;
use daymark_bench::{
    cluster::{Cluster, MadeService},
    measure, queries,
    servers::{self, Extra, Server},
    watch,
};
use daymark_tests::control_plane::ControlPlane;
use serde_json::json;

use super::Run;

impl Run {
    /// The cluster mix at the smaller size, against everybody.
    pub(super) fn loads(&mut self, cluster: Cluster) -> anyhow::Result<serde_json::Value> {
        println!("loading {} Services", cluster.services);
        let scratch = tempfile::tempdir()?;
        let plane = ControlPlane::start()?;
        cluster.load(&plane)?;
        let (zone, mix) = (scratch.path().join("cluster.zone"), scratch.path().join("queries"));
        std::fs::write(&zone, cluster.zone())?;
        std::fs::write(&mix, queries::cluster_mix(&cluster, 100_000))?;
        let extra = Extra { lines: "    cache 30\n".to_owned(), ..Extra::default() };
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
    pub(super) fn cached_forward(&mut self, cluster: Cluster) -> anyhow::Result<serde_json::Value> {
        const NAMES: usize = 1000;
        let scratch = tempfile::tempdir()?;
        let plane = ControlPlane::start()?;
        Cluster { services: cluster.services.min(100) }.load(&plane)?;
        let mix = scratch.path().join("queries");
        std::fs::write(&mix, queries::outside_mix(NAMES, 100_000))?;
        let mut upstream = servers::unbound(scratch.path(), &queries::outside_zone(NAMES))?;
        upstream.wait_for("host1.example.com.")?;
        let lines = format!("    forward . 127.0.0.1:{}\n    cache 3600\n", upstream.port);
        let all = both(scratch.path(), &plane, lines, "host1.example.com.")?;
        // Fills both caches.
        all.iter()
            .try_for_each(|s| measure::load(s.program.id(), ("udp", s.port), &mix, 2).map(drop))?;
        let rounds = self.rounds(&all, &mix)?;
        self.bar("cached forward: CPU per query / CoreDNS", &rounds, "coredns", |r| r.cpu_us, 0.25);
        self.table("Cached forward", &rounds, None);
        Ok(json!({ "rounds": rounds }))
    }

    /// Names outside the cluster, half of them under another suffix than upstream has, from the cache.
    pub(super) fn rewritten_forward(
        &mut self,
        _cluster: Cluster,
    ) -> anyhow::Result<serde_json::Value> {
        const NAMES: usize = 1000;
        let scratch = tempfile::tempdir()?;
        let plane = ControlPlane::start()?;
        let mix = scratch.path().join("queries");
        let text = queries::outside_mix(NAMES, 100_000);
        let renamed = |(number, line): (usize, &str)| match number % 2 {
            0 => format!("{line}\n"),
            _ => line.replace("example.com", "corp.test") + "\n",
        };
        std::fs::write(&mix, text.lines().enumerate().map(renamed).collect::<String>())?;
        let mut upstream = servers::unbound(scratch.path(), &queries::outside_zone(NAMES))?;
        upstream.wait_for("host1.example.com.")?;
        let lines = format!(
            "    rewrite name suffix .corp.test. .example.com. answer auto\n    \
             forward . 127.0.0.1:{}\n    cache 3600\n",
            upstream.port
        );
        let all = both(scratch.path(), &plane, lines, "host1.corp.test.")?;
        all.iter()
            .try_for_each(|s| measure::load(s.program.id(), ("udp", s.port), &mix, 2).map(drop))?;
        let rounds = self.rounds(&all, &mix)?;
        let what = "rewrite and forward: CPU per query / CoreDNS";
        self.bar(what, &rounds, "coredns", |r| r.cpu_us, 0.40);
        self.table("Rewritten and forwarded, cached", &rounds, None);
        Ok(json!({ "rounds": rounds }))
    }

    /// Names that a template denies and names of `hosts`, half and half.
    pub(super) fn denied_and_local(
        &mut self,
        _cluster: Cluster,
    ) -> anyhow::Result<serde_json::Value> {
        const NAMES: usize = 100;
        let scratch = tempfile::tempdir()?;
        let plane = ControlPlane::start()?;
        let (mix, file) = (scratch.path().join("queries"), scratch.path().join("hosts"));
        std::fs::write(&mix, queries::local_mix(NAMES, 100_000))?;
        // Its lines are in the Corefile.
        std::fs::write(&file, "")?;
        let entries: String = (0..NAMES)
            .map(|n| format!("        192.0.2.{} host{n}.corp.test\n", n % 250 + 1))
            .collect();
        let lines = format!(
            "    template ANY ANY blocked.test {{\n        rcode NXDOMAIN\n        \
             authority \"{{{{ .Zone }}}} 60 IN SOA ns.{{{{ .Zone }}}} hostmaster.{{{{ .Zone }}}} (1 60 60 60 60)\"\n    }}\n    \
             hosts {} {{\n{entries}        fallthrough\n    }}\n    cache 30\n",
            file.display()
        );
        let all = both(scratch.path(), &plane, lines, "host1.corp.test.")?;
        let rounds = self.rounds(&all, &mix)?;
        let what = "templates and hosts: CPU per query / CoreDNS";
        self.bar(what, &rounds, "coredns", |r| r.cpu_us, 0.40);
        self.table("Denied by a template, and in hosts", &rounds, None);
        Ok(json!({ "rounds": rounds }))
    }

    /// A cache full of names.
    pub(super) fn cache_memory(&mut self, _cluster: Cluster) -> anyhow::Result<serde_json::Value> {
        const NAMES: usize = 100_000;
        let scratch = tempfile::tempdir()?;
        let plane = ControlPlane::start()?;
        let each = scratch.path().join("queries");
        let lines = (0..NAMES).map(|number| format!("host{number}.example.com A\n"));
        std::fs::write(&each, lines.collect::<String>())?;
        let mut upstream = servers::unbound(scratch.path(), &queries::outside_zone(NAMES))?;
        upstream.wait_for("host1.example.com.")?;
        let lines = format!(
            "    forward . 127.0.0.1:{}\n    cache 3600 {{\n        success 131072\n    }}\n",
            upstream.port
        );
        let mut seen: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for _ in 0..3 {
            for server in &both(scratch.path(), &plane, lines.clone(), "host1.example.com.")? {
                measure::load_once(server.port, &each)?;
                let name = r#"coredns_cache_entries"#;
                let entries = watch::metric(server, name, "success")?;
                ensure!(entries >= 0.99 * NAMES as f64, "{}: only {entries}", server.name);
                seen.entry(server.name).or_default().push(measure::rss_mib(server.program.id())?);
            }
        }
        self.compare("RSS with 100,000 cached names / CoreDNS", &seen, 0.40);
        Ok(json!({ "rss_mib": seen }))
    }
}

/// Daymark and CoreDNS with these further lines in the Corefile, once they answer `name`.
fn both(
    folder: &Path,
    plane: &ControlPlane,
    lines: String,
    name: &str,
) -> anyhow::Result<[Server; 2]> {
    let extra = Extra { lines, ..Extra::default() };
    let kubeconfig = plane.kubeconfig();
    let mut both = [
        servers::daymark(folder, &kubeconfig, &extra)?,
        servers::coredns(folder, &kubeconfig, &extra)?,
    ];
    both.iter_mut().try_for_each(|server| server.wait_for(name))?;
    Ok(both)
}
