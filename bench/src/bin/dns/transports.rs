//! The cluster mix over connections that stay: TCP, TLS and HTTPS.

use daymark_bench::{
    cluster::{Cluster, MadeService},
    queries,
    servers::{self, Extra},
};
use daymark_tests::{
    certificates::{Authority, Validity},
    control_plane::ControlPlane,
};

use super::Run;

/// A transport of dnsperf, where its port is found, and the bar.
const TRANSPORTS: [(&str, &str, f64); 3] =
    [("TCP", "tcp", 0.30), ("DNS over TLS", "dot", 0.35), ("DNS over HTTPS", "doh", 0.35)];

impl Run {
    /// The cluster mix over each transport, against CoreDNS.
    pub(super) fn transports(&mut self, cluster: Cluster) -> anyhow::Result<serde_json::Value> {
        let cluster = Cluster { services: cluster.services.min(500) };
        println!("loading {} Services", cluster.services);
        let scratch = tempfile::tempdir()?;
        let plane = ControlPlane::start()?;
        cluster.load(&plane)?;
        let mix = scratch.path().join("queries");
        std::fs::write(&mix, queries::cluster_mix(&cluster, 100_000))?;
        let authority = Authority::new(scratch.path(), "authority")?;
        let identity = authority.issue("localhost", Validity::Good)?;
        let lines = format!(
            "    tls {} {}\n    cache 30\n",
            identity.certificate.display(),
            identity.key.display()
        );
        let extra = Extra { lines, transports: &["tls", "https"], ..Extra::default() };
        let kubeconfig = plane.kubeconfig();
        let mut all = [
            servers::daymark(scratch.path(), &kubeconfig, &extra)?,
            servers::coredns(scratch.path(), &kubeconfig, &extra)?,
        ];
        let last = MadeService::number(cluster.services - 1).domain();
        all.iter_mut().try_for_each(|server| server.wait_for(&format!("{last}.")))?;
        let mut raw = serde_json::Map::new();
        for (index, (name, mode, bar)) in TRANSPORTS.into_iter().enumerate() {
            let rounds = self.rounds_over(&all, &mix, |server| {
                let ports = [&[server.port], &server.transports[..]].concat();
                (mode, ports[index])
            })?;
            let what = format!("{name}: CPU per query / CoreDNS");
            self.bar(&what, &rounds, "coredns", |r| r.cpu_us, bar);
            self.table(&format!("Cluster mix over {name}"), &rounds, None);
            raw.insert(mode.to_owned(), serde_json::to_value(rounds)?);
        }
        Ok(raw.into())
    }
}
