//! The plain manifests: what Helm makes of the charts.

use std::{fs, process::Command};

use anyhow::{Context, ensure};

use crate::shell::{peers_folder, repository};

/// Templates of the DNS chart that plain manifests are made of, one file each.
const TEMPLATES: [&str; 7] = [
    "clusterrole",
    "clusterrolebinding",
    "configmap",
    "deployment",
    "poddisruptionbudget",
    "service",
    "serviceaccount",
];

/// Writes `deploy/manifests`, `deploy/node-local` and `deploy/agent` anew, and gives the DNS chart its
/// copy of the alerts: Helm reads nothing outside of a chart.
pub(crate) fn write() -> anyhow::Result<()> {
    let deploy = repository().join("deploy");
    fs::copy(deploy.join("prometheus/alerts.yaml"), deploy.join("chart/daymark-dns/alerts.yaml"))?;
    let template = |name: &str| format!("--show-only=templates/{name}.yaml");
    for name in TEMPLATES {
        written("daymark-dns", &[&template(name)], &format!("manifests/{name}.yaml"))?;
    }
    let node_local = ["--set=nodeLocal.enabled=true", &template("node-local")];
    written("daymark-dns", &node_local, "node-local/node-local.yaml")?;
    written("daymark", &[], "agent/agent.yaml")
}

fn written(chart: &str, words: &[&str], file: &str) -> anyhow::Result<()> {
    let output = Command::new(peers_folder().join("helm"))
        .args(["template", chart])
        .arg(repository().join("deploy/chart").join(chart))
        .arg("--namespace=kube-system")
        .args(words)
        .output()
        .context("running helm, which `cargo xtask peers` builds")?;
    ensure!(output.status.success(), "helm: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let documents = text.split("---\n").map(|document| {
        let lines = document.lines().filter(|line| !line.starts_with("# Source: "));
        lines.collect::<Vec<_>>().join("\n").trim().to_owned()
    });
    let documents: Vec<String> = documents.filter(|document| !document.is_empty()).collect();
    let path = repository().join("deploy").join(file);
    fs::create_dir_all(path.parent().context("a folder")?)?;
    fs::write(&path, documents.join("\n---\n") + "\n").with_context(|| path.display().to_string())
}
