//! The real Helm, on our charts.

use std::{path::PathBuf, process::Command};

use anyhow::ensure;
use daymark_tests::peers;
use serde_json::Value;

/// The chart of the cluster's DNS; its folder, and a release of it.
pub(crate) const DNS: &str = "daymark-dns";
/// The chart of the node agent.
pub(crate) const AGENT: &str = "daymark";

/// Where a chart is.
pub(crate) fn folder(chart: &str) -> PathBuf {
    peers::repository().join("deploy/chart").join(chart)
}

/// Runs Helm and gives what it printed.
///
/// # Errors
/// With what it said, if it fails.
pub(crate) fn helm(words: &[&str]) -> anyhow::Result<String> {
    let program = peers::program("helm").map_err(anyhow::Error::msg)?;
    let output = Command::new(program).args(words).output()?;
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "helm {}:\n{said}{complaint}", words.join(" "));
    Ok(said.into_owned())
}

/// The objects that a chart makes with these further words (`--set`, `--show-only`).
///
/// # Errors
/// As [`helm`].
pub(crate) fn rendered(chart: &str, words: &[&str]) -> anyhow::Result<Vec<Value>> {
    let folder = folder(chart).display().to_string();
    let mut all = vec!["template", chart, &folder, "--namespace", "kube-system"];
    all.extend(words);
    documents(&helm(&all)?)
}

/// The objects of a YAML text.
///
/// # Errors
/// If it is none.
pub(crate) fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// What tells an object from others, for people.
pub(crate) fn named(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}
