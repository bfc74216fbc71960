//! Real nodes: two of them, with kubelet, containerd and runc, whose Pods have their network from the
//! chart's DaemonSet. The scripts of `tests/node` make and judge them; `cargo xtask nodes` has longer runs of
//! the same.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::ensure;
use daymark_tests::{peers, suite::Suite};

/// What the nodes need of what `cargo xtask test` builds.
const PROGRAMS: [&str; 4] = ["kubelet", "containerd", "kube-proxy", "kubectl"];

/// Lines of the scripts' output that a failure shows.
const SHOWN: usize = 60;

fn main() -> ExitCode {
    Suite::run("real nodes can be made", |suite| {
        match archive() {
            Ok(archive) => {
                let log = suite.scratch().join("log");
                suite.trial(
                    "pods come and go on real nodes, through a killed agent and a reboot"
                        .to_owned(),
                    move || run(&archive, &log).map_err(|error| format!("{error:#}").into()),
                );
            }
            Err(reason) => suite.skipped("real nodes", &reason),
        }
        Ok(())
    })
}

/// The image to run, or why there can be no nodes.
fn archive() -> Result<PathBuf, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it takes root".to_owned());
    }
    for program in PROGRAMS {
        peers::program(program)?;
    }
    let archive = std::env::var_os("DAYMARK_IMAGE").map(PathBuf::from);
    archive.ok_or_else(|| "there is no image: `cargo xtask test` makes one".to_owned())
}

/// Tunnels and both families: the longer way of each.
fn run(archive: &Path, log: &Path) -> anyhow::Result<()> {
    let output = File::create(log)?;
    let ended = Command::new(peers::repository().join("tests/node/run.sh"))
        .arg(archive)
        .args(["daymark.local/daymark", env!("CARGO_PKG_VERSION")])
        .env("PEERS_BIN", peers::folder())
        .envs([("NETWORK", "daymark"), ("ROUTING", "vxlan"), ("DUAL_STACK", "1")])
        .env("CHURN_SECONDS", "20")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()?;
    let text = std::fs::read_to_string(log)?;
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
    ensure!(ended.success() && text.contains("churn: nothing lost"), "{ended}\n{end}");
    Ok(())
}
