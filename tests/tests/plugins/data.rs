//! The data: what a file of tests/dns/plugins says.

use std::{collections::BTreeMap, path::PathBuf};

use daymark_tests::{
    peers,
    rules::{self, Case},
};
use libtest_mimic::Failed;
use serde::Deserialize;

/// A Corefile and what is asked; tests/dns/plugins/README.md explains the fields.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) corefile: String,
    #[serde(default)]
    pub(super) files: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) needs: Option<String>,
    #[serde(default)]
    pub(super) queries: Vec<Asked>,
    #[serde(default)]
    pub(super) log: Vec<String>,
    #[serde(default)]
    pub(super) log_lacks: Vec<String>,
    #[serde(default)]
    pub(super) metrics: Vec<String>,
    #[serde(default)]
    pub(super) pages: Vec<Page>,
    #[serde(default)]
    pub(super) coredns: Option<Differs>,
}

/// A question of a Corefile.
#[derive(Clone, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) write: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) eventually: bool,
    #[serde(default)]
    pub(super) signal: Option<String>,
    #[serde(default)]
    pub(super) certificate: Option<String>,
    #[serde(flatten)]
    pub(super) case: Case,
}

/// A page over HTTP.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    pub(super) server: String,
    pub(super) path: String,
    pub(super) status: u16,
    #[serde(default)]
    pub(super) body: Option<String>,
}

/// Where CoreDNS differs as a whole.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Differs {
    #[serde(default)]
    pub(super) difference: Option<String>,
    #[serde(default)]
    pub(super) absent: bool,
    #[serde(default)]
    pub(super) skip: bool,
    #[serde(default)]
    pub(super) log: Option<Vec<String>>,
    #[serde(default)]
    pub(super) metrics: Option<Vec<String>>,
}

pub(super) fn folder() -> PathBuf {
    peers::repository().join("tests/dns/plugins")
}

/// Every file's plugin and contents.
pub(super) fn read() -> anyhow::Result<Vec<(String, Vec<Shown>)>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let named = |path: PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, rules::read_yaml(&path)?))
    };
    files.into_iter().map(named).collect()
}

/// What CoreDNS is to show of a file.
pub(super) fn theirs(all: &[Shown]) -> Vec<Shown> {
    let runs = |shown: &&Shown| !shown.coredns.as_ref().is_some_and(|it| it.skip || it.absent);
    let mut theirs: Vec<Shown> = all.iter().filter(runs).cloned().collect();
    for shown in &mut theirs {
        if let Some(differs) = shown.coredns.take() {
            shown.log = differs.log.unwrap_or_else(|| std::mem::take(&mut shown.log));
            shown.metrics = differs.metrics.unwrap_or_else(|| std::mem::take(&mut shown.metrics));
        }
        shown.queries.retain(|asked| !asked.case.coredns.as_ref().is_some_and(|it| it.skip));
        for asked in &mut shown.queries {
            if let Some(difference) = asked.case.coredns.take() {
                asked.case.expected = difference.expected;
            }
        }
    }
    theirs
}

/// Each difference that is named is a heading of DIFFERENCES.md.
pub(super) fn explained(all: &[Shown]) -> Result<(), Failed> {
    let page = std::fs::read_to_string(peers::repository().join("tests/dns/DIFFERENCES.md"))?;
    for shown in all {
        let of_cases = shown.queries.iter().filter_map(|asked| asked.case.coredns.as_ref());
        let mut named: Vec<&String> = of_cases.map(|it| &it.difference).collect();
        if let Some(differs) = shown.coredns.as_ref().filter(|it| !it.absent) {
            named.push(differs.difference.as_ref().ok_or("a difference has to be named")?);
        }
        for name in named {
            if !page.lines().any(|line| line.strip_prefix("## ") == Some(name.as_str())) {
                return Err(format!("{}: {name} is not explained", shown.name).into());
            }
        }
    }
    Ok(())
}
