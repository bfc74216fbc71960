//! Changes in a folder of manifests.

use std::{
    collections::BTreeSet,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::ensure;
use daymark_tests::asking::{Asker, answer, wait_for};
use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    live::Live,
    objects::{namespace, service},
    trial,
};

/// The trials.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("folder: a file that is edited, added and deleted is followed", edited),
        trial("folder: the last good state of a broken file stays, and the log says where", broken),
        trial("folder: a ConfigMap's swapped link is followed in one step", swapped),
    ]
}

const WEB: &str = "web.shop.svc.cluster.local.";
const API: &str = "api.shop.svc.cluster.local.";

fn manifests() -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("daymark-manifests-").tempdir()?)
}

/// Replaces a file as editors do: a new one is moved over it.
fn save(path: &Path, objects: &[Value]) -> anyhow::Result<()> {
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    let new = path.with_extension("new");
    std::fs::write(&new, documents.join("\n---\n"))?;
    Ok(std::fs::rename(new, path)?)
}

fn followed(folder: &Path) -> anyhow::Result<Live> {
    let mut live = Live::start("", Some(folder))?;
    live.wait_until_ready()?;
    Ok(live)
}

fn edited() -> anyhow::Result<()> {
    let folder = manifests()?;
    let shop = folder.path().join("shop.yaml");
    save(&shop, &[namespace("shop"), service("shop", "web", "10.96.0.1")])?;
    let live = followed(folder.path())?;
    ensure!(answer(live.dns, WEB, "A")? == "10.96.0.1", "not there at first");
    save(&shop, &[namespace("shop"), service("shop", "web", "10.96.0.2")])?;
    wait_for(live.dns, WEB, "A", "10.96.0.2")?;
    // In place as well, as a shell's redirection writes.
    let text = std::fs::read_to_string(&shop)?;
    std::fs::write(&shop, text.replace("10.96.0.2", "10.96.0.3"))?;
    wait_for(live.dns, WEB, "A", "10.96.0.3")?;
    let more = folder.path().join("more.yaml");
    save(&more, &[service("shop", "api", "10.96.0.4")])?;
    wait_for(live.dns, API, "A", "10.96.0.4")?;
    std::fs::remove_file(&more)?;
    wait_for(live.dns, API, "A", "NXDOMAIN")?;
    wait_for(live.dns, WEB, "A", "10.96.0.3")
}

fn broken() -> anyhow::Result<()> {
    let folder = manifests()?;
    let (shop, more) = (folder.path().join("shop.yaml"), folder.path().join("more.yaml"));
    save(&shop, &[namespace("shop"), service("shop", "web", "10.96.0.1")])?;
    save(&more, &[service("shop", "api", "10.96.0.2")])?;
    let mut live = followed(folder.path())?;
    let asker = Asker::start(live.dns, WEB, "A");
    asker.wait_for_more(5)?;
    let good = std::fs::read_to_string(&shop)?;
    // The mistake is in the fifth line: the documents are one line each.
    std::fs::write(&shop, format!("{good}\n---\nkind: [Service\n"))?;
    let log = live.program.output();
    ensure!(!log.contains("shop.yaml"), "the log names the file before it is broken:\n{log}");
    let path = live.program.output_path().to_owned();
    let logged = || std::fs::read_to_string(&path).unwrap_or_default();
    live.program.wait_until("telling of the broken file", || logged().contains("shop.yaml"))?;
    // Another file's change shows that the broken one was looked at and passed over.
    save(&more, &[service("shop", "api", "10.96.0.3")])?;
    wait_for(live.dns, API, "A", "10.96.0.3")?;
    asker.wait_for_more(20)?;
    let seen = asker.stop();
    ensure!(seen == BTreeSet::from(["10.96.0.1".to_owned()]), "the broken file's were {seen:?}");
    ensure!(live.readiness()? == 200, "not ready for a broken file");
    let log = logged();
    ensure!(log.contains("shop.yaml:5:"), "the line is not named:\n{log}");
    std::fs::write(&shop, good.replace("10.96.0.1", "10.96.0.9"))?;
    wait_for(live.dns, WEB, "A", "10.96.0.9")
}

/// The kubelet shows a ConfigMap as links to files in `..data`, itself a link to a folder that a
/// change replaces.
fn swapped() -> anyhow::Result<()> {
    let folder = manifests()?;
    let root = folder.path();
    let version = |n: usize| -> anyhow::Result<PathBuf> {
        let version = PathBuf::from(format!("..2026_{n}"));
        std::fs::create_dir(root.join(&version))?;
        let web = service("shop", "web", &format!("10.96.1.{n}"));
        save(&root.join(&version).join("web.yaml"), &[namespace("shop"), web])?;
        save(
            &root.join(&version).join("api.yaml"),
            &[service("shop", "api", &format!("10.96.2.{n}"))],
        )?;
        Ok(version)
    };
    symlink(version(1)?, root.join("..data"))?;
    for file in ["web.yaml", "api.yaml"] {
        symlink(Path::new("..data").join(file), root.join(file))?;
    }
    let live = followed(root)?;
    wait_for(live.dns, API, "A", "10.96.2.1")?;
    let asker = Asker::start(live.dns, WEB, "A");
    for n in 2..=5 {
        symlink(version(n)?, root.join("..data_tmp"))?;
        std::fs::rename(root.join("..data_tmp"), root.join("..data"))?;
        std::fs::remove_dir_all(root.join(format!("..2026_{}", n - 1)))?;
        wait_for(live.dns, API, "A", &format!("10.96.2.{n}"))?;
        wait_for(live.dns, WEB, "A", &format!("10.96.1.{n}"))?;
    }
    asker.wait_for_more(5)?;
    let allowed: BTreeSet<String> = (1..=5).map(|n| format!("10.96.1.{n}")).collect();
    let seen = asker.stop();
    ensure!(seen.is_subset(&allowed), "answers while links were swapped: {seen:?}");
    Ok(())
}
