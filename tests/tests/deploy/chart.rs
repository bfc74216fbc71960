//! The chart: what it makes is accepted by the API server (a dry run, unknown fields refused), wrong
//! values are refused by its schema, and the plain manifests are what it makes.

use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc};

use anyhow::{Context, Error, ensure};
use daymark_tests::{control_plane::ControlPlane, peers, process::retried};
use serde_json::Value;

use super::{
    Test,
    helm::{AGENT, DNS, documents, folder, helm, named, rendered},
    test,
};

/// Values that differ from the defaults, each a set of its own.
const VALUES: [(&str, &[&str]); 6] = [
    ("defaults", &[]),
    (
        "all that can be switched on",
        &[
            "--set=serviceMonitor.enabled=true,prometheusRule.enabled=true,nodeLocal.enabled=true",
            "--set=serviceMonitor.labels.release=prometheus,prometheusRule.labels.release=prometheus",
            "--set=imagePullSecrets[0].name=registry,logFormat=json,podLabels.team=dns",
            "--set-string=podAnnotations.note=1,serviceAccount.annotations.note=2",
        ],
    ),
    (
        "all that can be switched off",
        &[
            "--set=service.create=false,podDisruptionBudget.enabled=false,topologySpread=null",
            "--set=priorityClassName=,tolerations=null,replicas=1,minReadySeconds=0",
        ],
    ),
    (
        "two address families",
        &[
            "--set=service.clusterIPs={10.96.0.10,fd00:10:96::a}",
            "--set=service.ipFamilyPolicy=RequireDualStack",
        ],
    ),
    ("any address", &["--set=service.clusterIP=,service.name=dns"]),
    (
        "pods and other clusters' services",
        &["--set=corefile=.:53 { kubernetes cluster.local clusterset.local { \
           pods verified\nmulticluster clusterset.local } }"],
    ),
];

/// What the schema refuses.
const WRONG: [&str; 7] = [
    "replicas=two",
    "replica=2",
    "image.repository=",
    "service.ipFamilyPolicy=Both",
    "logFormat=xml",
    "nodeLocal.clusterIP=",
    "topologySpread=kubernetes.io/hostname",
];

/// The manifests' folders, and the chart and words that make Helm write the same.
const MANIFESTS: [(&str, &str, &[&str]); 3] = [
    ("deploy/manifests", DNS, &[]),
    ("deploy/agent", AGENT, &[]),
    (
        "deploy/node-local",
        DNS,
        &["--set=nodeLocal.enabled=true", "--show-only=templates/node-local.yaml"],
    ),
];

pub(crate) fn tests(plane: &Arc<ControlPlane>) -> anyhow::Result<Vec<Test>> {
    for file in DEFINITIONS {
        let definitions = std::fs::read_to_string(peers::program(file).map_err(Error::msg)?)?;
        for definition in documents(&definitions)? {
            plane.make(&definition)?;
        }
    }
    let mut tests = vec![test("helm finds nothing wrong", || {
        helm(&["lint", "--strict", &folder(DNS).display().to_string()]).map(drop)
    })];
    for (name, values) in VALUES {
        let plane = Arc::clone(plane);
        tests.push(test(&format!("the API server takes {name}"), move || {
            for object in rendered(DNS, values)? {
                let tried = || plane.dry_run(&object);
                // The kinds of the operator are there a moment after their definition.
                let outcome =
                    if object["apiVersion"] == OPERATOR { retried(tried) } else { tried() };
                outcome.with_context(|| format!("{object:#}"))?;
            }
            Ok(())
        }));
    }
    for wrong in WRONG {
        tests.push(test(&format!("{wrong} is refused"), move || {
            let outcome = rendered(DNS, &[&format!("--set={wrong}")]);
            let said = outcome.err().context("it was not refused")?.to_string();
            ensure!(said.contains("schema"), "{said}");
            Ok(())
        }));
    }
    for (folder, chart, words) in MANIFESTS {
        let same = move || same(folder, chart, words);
        tests.push(test(&format!("{folder} is what Helm writes"), same));
    }
    tests.push(test("its alerts are those of deploy/prometheus", || {
        let read = |path: &str| std::fs::read(peers::repository().join("deploy").join(path));
        let same = read("chart/daymark-dns/alerts.yaml")? == read("prometheus/alerts.yaml")?;
        ensure!(same, "they differ: `cargo xtask manifests` copies them");
        Ok(())
    }));
    tests.push(test("its Corefiles are right", corefiles));
    Ok(tests)
}

/// The group of the Prometheus operator's kinds, and their own definitions.
const OPERATOR: &str = "monitoring.coreos.com/v1";
pub(crate) const DEFINITIONS: [&str; 2] =
    ["monitoring.coreos.com_prometheusrules.yaml", "monitoring.coreos.com_servicemonitors.yaml"];

fn same(folder: &str, chart: &str, words: &[&str]) -> anyhow::Result<()> {
    let by_name = |objects: Vec<Value>| -> BTreeMap<String, Value> {
        objects.into_iter().map(|object| (named(&object), object)).collect()
    };
    let (ours, theirs) = (by_name(in_folder(folder)?), by_name(rendered(chart, words)?));
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    ensure!(names(&ours) == names(&theirs), "{:?}, not {:?}", names(&ours), names(&theirs));
    for (name, theirs) in theirs {
        ensure!(ours[&name] == theirs, "{name} differs: `cargo xtask manifests` writes it anew");
    }
    Ok(())
}

fn in_folder(folder: &str) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(peers::repository().join(folder))? {
        let path = entry?.path();
        if path.extension() == Some("yaml".as_ref()) {
            all.extend(documents(&std::fs::read_to_string(path)?)?);
        }
    }
    Ok(all)
}

fn corefiles() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("Corefile");
    let objects = rendered(DNS, &["--set=nodeLocal.enabled=true"])?;
    let corefiles = objects.iter().filter_map(|object| object["data"]["Corefile"].as_str());
    let mut checked = 0;
    for corefile in corefiles {
        std::fs::write(&file, corefile)?;
        check(&file)?;
        checked += 1;
    }
    ensure!(checked == 2, "{checked} Corefiles");
    Ok(())
}

fn check(file: &Path) -> anyhow::Result<()> {
    let output = Command::new(peers::daymark()).args(["check", "corefile"]).arg(file).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
