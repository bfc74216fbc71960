//! Benchmarks: built optimised, run from the repository's root.

use std::process::Command;

use anyhow::Context;
use clap::ValueEnum;

use crate::{
    image, packages, peers,
    shell::{cargo, execute, repository},
};

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Cluster DNS: CoreDNS, NSD, Knot.
    Dns,
    /// The pod network: the reference CNI plugins, and the paths that they lay.
    Node,
}

/// What can be kept running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lasting {
    /// Cluster DNS.
    Dns,
}

/// Builds what is compared, and compares.
pub(crate) fn run(what: What, flags: &[String]) -> anyhow::Result<()> {
    match what {
        What::Dns => built("dns", flags),
        What::Node => built("node", flags),
    }
}

/// Builds what is to last, and lets it.
pub(crate) fn soak(what: Lasting, flags: &[String]) -> anyhow::Result<()> {
    match what {
        Lasting::Dns => built("soak", flags),
    }
}

fn built(program: &str, flags: &[String]) -> anyhow::Result<()> {
    packages::for_benchmarks();
    peers::build()?;
    // The programs as they are shipped, with no features but their own; the plugin beside `daymark`.
    let daymark = image::static_program("release")?;
    let plugin = daymark.with_file_name("daymark-cni");
    execute(cargo().args(["build", "--release", "--package", "daymark-bench"]))?;
    // Not by `cargo run`, which would build it once more with other features of its dependencies.
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("xtask lies in target/PROFILE")?;
    let benchmark = target.join("release").join(program);
    let mut benchmark = Command::new(benchmark);
    benchmark.current_dir(repository()).args(flags).env("DAYMARK_BIN", daymark);
    benchmark.env("DAYMARK_CNI_BIN", plugin);
    execute(&mut benchmark)
}
