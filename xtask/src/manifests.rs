//! The plain manifests: what Helm makes of the chart, one file for each template.

use std::{fs, process::Command};

use anyhow::{Context, ensure};

use crate::shell::{peers_folder, repository};

/// Templates of the chart that plain manifests are made of.
const TEMPLATES: [&str; 7] = [
    "clusterrole",
    "clusterrolebinding",
    "configmap",
    "deployment",
    "poddisruptionbudget",
    "service",
    "serviceaccount",
];

/// Writes `deploy/manifests` and `deploy/node-local` anew, and gives the chart its copy of the alerts:
/// Helm reads nothing outside of a chart.
pub(crate) fn write() -> anyhow::Result<()> {
    let deploy = repository().join("deploy");
    fs::copy(deploy.join("prometheus/alerts.yaml"), deploy.join("chart/daymark-dns/alerts.yaml"))?;
    for template in TEMPLATES {
        written(template, &[], &format!("manifests/{template}.yaml"))?;
    }
    written("node-local", &["--set=nodeLocal.enabled=true"], "node-local/node-local.yaml")
}

fn written(template: &str, values: &[&str], file: &str) -> anyhow::Result<()> {
    let output = Command::new(peers_folder().join("helm"))
        .args(["template", "daymark-dns"])
        .arg(repository().join("deploy/chart/daymark-dns"))
        .args(["--namespace=kube-system", &format!("--show-only=templates/{template}.yaml")])
        .args(values)
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
    fs::write(&path, documents.join("\n---\n") + "\n").with_context(|| path.display().to_string())
}
