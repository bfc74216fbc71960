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
}

/// Builds what is compared, and compares.
pub(crate) fn run(what: What, flags: &[String]) -> anyhow::Result<()> {
    match what {
        What::Dns => built("dns", flags),
    }
}

/// Builds what is to last, and lets it.
pub(crate) fn soak(what: What, flags: &[String]) -> anyhow::Result<()> {
    match what {
        What::Dns => built("soak", flags),
    }
}

fn built(program: &str, flags: &[String]) -> anyhow::Result<()> {
    packages::for_benchmarks();
    peers::build()?;
    // The program as it is shipped, with no features but its own.
    let daymark = image::static_program("release")?;
    execute(cargo().args(["build", "--release", "--package", "daymark-bench"]))?;
    // Not by `cargo run`, which would build it once more with other features of its dependencies.
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("xtask lies in target/PROFILE")?;
    let benchmark = target.join("release").join(program);
    let mut benchmark = Command::new(benchmark);
    benchmark.current_dir(repository()).args(flags).env("DAYMARK_BIN", daymark);
    execute(&mut benchmark)
}
