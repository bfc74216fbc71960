//! Benchmarks: built optimised, run from the repository's root.

use clap::ValueEnum;

use crate::{
    packages, peers,
    shell::{cargo, execute},
};

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Cluster DNS: CoreDNS, NSD, Knot.
    Dns,
}

/// Builds what is compared, and compares.
pub(crate) fn run(what: What, flags: &[String]) -> anyhow::Result<()> {
    packages::for_benchmarks();
    peers::build()?;
    execute(cargo().args([
        "build",
        "--release",
        "--package",
        "daymark",
        "--package",
        "daymark-bench",
    ]))?;
    let program = match what {
        What::Dns => "dns",
    };
    execute(
        cargo()
            .args([
                "run",
                "--release",
                "--quiet",
                "--package",
                "daymark-bench",
                "--bin",
                program,
                "--",
            ])
            .args(flags),
    )
}
