//! The dashboard and the alerts: each metric that they name is exported by a running daymark, as a
//! real Prometheus that scrapes it sees, and each of their expressions is one that it evaluates.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    sync::Arc,
};

use anyhow::{Context, ensure};
use daymark_tests::{
    control_plane::ControlPlane,
    dns::{self, Transport},
    pages, peers, ports,
    process::{Program, retried},
};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Test, helm::documents, test};

/// What the names of our metrics begin with.
const OURS: [&str; 3] = ["coredns_", "daymark_", "process_"];

pub(crate) fn tests(plane: &Arc<ControlPlane>) -> Vec<Test> {
    let plane = Arc::clone(plane);
    vec![test("each metric of it and of the alerts is exported", move || exported(&plane))]
}

fn exported(plane: &ControlPlane) -> anyhow::Result<()> {
    let expressions = expressions()?;
    let names: BTreeSet<String> = expressions.iter().flat_map(|text| names(text)).collect();
    ensure!(names.len() > 20, "only {names:?} are named");
    let scratch = tempfile::tempdir()?;
    let served = Served::start(plane, &scratch)?;
    let prometheus = Prometheus::start(served.metrics, &scratch)?;
    served.bring_about_what_is_rare(plane)?;
    let mut missing = names;
    retried(|| {
        let seen = prometheus.names()?;
        missing.retain(|name| !seen.contains(name));
        ensure!(missing.is_empty(), "not exported: {missing:?}");
        Ok(())
    })
    .with_context(|| served.daymark.output())?;
    for expression in &expressions {
        let concrete = expression.replace("$__rate_interval", "1m").replace("$instance", ".*");
        prometheus.evaluate(&concrete).with_context(|| expression.clone())?;
    }
    Ok(())
}

/// Every expression of the dashboard and of the alerts.
fn expressions() -> anyhow::Result<Vec<String>> {
    let read = |path: &str| std::fs::read_to_string(peers::repository().join(path));
    let mut all = Vec::new();
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/daymark-dns.json")?)?;
    collect(&dashboard, &mut all);
    for alerts in documents(&read("deploy/prometheus/alerts.yaml")?)? {
        collect(&alerts, &mut all);
    }
    Ok(all)
}

/// The texts of all fields called `expr`, however deep.
fn collect(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            all.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, all));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, all)),
        _ => {}
    }
}

/// The metrics that an expression names.
fn names(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| OURS.iter().any(|prefix| word.starts_with(prefix)));
    ours.map(str::to_owned).collect()
}

/// Daymark with all that it can count.
struct Served {
    daymark: Program,
    dns: SocketAddr,
    metrics: SocketAddr,
    _upstream: Program,
}

impl Served {
    fn start(plane: &ControlPlane, scratch: &TempDir) -> anyhow::Result<Self> {
        let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
        let (dns, metrics, upstream, health) = (address(), address(), address(), address());
        let corefile = format!(
            ".:{port} {{
                bind 127.0.0.1
                metadata
                errors
                log
                health {health}
                prometheus {metrics}
                kubernetes cluster.local {{
                    kubeconfig {kubeconfig}
                }}
                hosts {{
                    192.0.2.81 own.example.com
                    fallthrough
                }}
                cache
                forward . {upstream}
                loop
                reload
                loadbalance
            }}
            loop.test:{port} {{
                bind 127.0.0.1
                prometheus {metrics}
                forward . {dns}
                loop
            }}
            dead.test:{port} {{
                bind 127.0.0.1
                prometheus {metrics}
                forward . 127.0.0.1:{dead}
            }}\n",
            port = dns.port(),
            kubeconfig = plane.kubeconfig().display(),
            dead = ports::free(),
        );
        let upstreams = format!(
            ".:{} {{\n    bind 127.0.0.1\n    hosts {{\n        192.0.2.80 www.example.com\n    }}\n}}\n",
            upstream.port()
        );
        let upstream = start("upstream", &upstreams, upstream, scratch.path())?;
        let daymark = start("daymark", &corefile, dns, scratch.path())?;
        Ok(Served { daymark, dns, metrics, _upstream: upstream })
    }

    /// Some of the counters begin with what they count.
    fn bring_about_what_is_rare(&self, plane: &ControlPlane) -> anyhow::Result<()> {
        for name in [
            "web.shop.svc.cluster.local.",
            "no-such.shop.svc.cluster.local.",
            "www.example.com.",
            "www.example.com.",
            "own.example.com.",
            "a.dead.test.",
        ] {
            dns::ask(self.dns, &dns::query(name, "A", None)?, Transport::Udp)?;
        }
        // An endpoint that says when it came: it is counted how long it took.
        let path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/db-1";
        let now = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output()?;
        let now = String::from_utf8_lossy(&now.stdout).trim().to_owned();
        let note = json!({ "endpoints.kubernetes.io/last-change-trigger-time": now });
        let endpoints = json!([{ "addresses": ["10.0.2.78"], "conditions": { "ready": true } }]);
        let patch = json!({ "metadata": { "annotations": note }, "endpoints": endpoints });
        plane.call(Method::PATCH, path, Some(&patch))?;
        // A watch that has to be begun anew.
        plane.kill_api_server()?;
        plane.start_again()
    }
}

fn start(name: &str, corefile: &str, dns: SocketAddr, folder: &Path) -> anyhow::Result<Program> {
    let path = folder.join(format!("{name}.corefile"));
    std::fs::write(&path, corefile)?;
    let words = ["dns".to_owned(), "--conf".to_owned(), path.display().to_string()];
    let log = folder.join(format!("{name}.log"));
    let mut program = Program::start(&peers::daymark(), words, &log)?;
    program.wait_until_listening(dns)?;
    Ok(program)
}

/// A real Prometheus.
struct Prometheus {
    address: SocketAddr,
    _program: Program,
}

impl Prometheus {
    fn start(target: SocketAddr, scratch: &TempDir) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
        let config = scratch.path().join("prometheus.yaml");
        std::fs::write(
            &config,
            format!(
                "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: dns\n  \
                 static_configs: [{{targets: ['{target}']}}]\n"
            ),
        )?;
        let words = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", scratch.path().join("tsdb").display()),
            format!("--web.listen-address={address}"),
        ];
        let program = daymark_tests::namespace::tool_path("prometheus").context("prometheus")?;
        let mut program = Program::start(&program, words, &scratch.path().join("prometheus.log"))?;
        program.wait_until_listening(address)?;
        Ok(Prometheus { address, _program: program })
    }

    /// Names of all metrics that it has from its target.
    fn names(&self) -> anyhow::Result<BTreeSet<String>> {
        let names = self.get("/api/v1/label/__name__/values")?;
        let names = names.as_array().context("a list of names")?;
        Ok(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    fn evaluate(&self, expression: &str) -> anyhow::Result<Value> {
        let encoded: String = expression.bytes().map(|octet| format!("%{octet:02X}")).collect();
        self.get(&format!("/api/v1/query?query={encoded}"))
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = pages::page(self.address, path)?;
        ensure!(status == 200, "{status}: {body}");
        let reply: Value = serde_json::from_str(&body)?;
        ensure!(reply["status"] == "success", "{body}");
        Ok(reply["data"].clone())
    }
}
