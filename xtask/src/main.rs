//! Developer commands: `cargo xtask --help` lists them, one line each.
#![forbid(unsafe_code)]

mod bench;
mod ebpf;
mod image;
mod lint;
mod manifests;
mod nodes;
mod packages;
mod peers;
mod shell;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands for people who work on Daymark.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install what is missing, check the style, run every test; ends with `N passed, N failed`.
    Test,
    /// Check the style: rustfmt, clippy, cargo-deny (built once into the cache).
    Lint,
    /// Build the eBPF programs into datapath/loader/objects, or check what is committed there.
    Ebpf(ebpf::Options),
    /// Build the peers that tests and benchmarks run against, once, into a cache.
    Peers,
    /// Make the container image without Docker: a static release build and an OCI archive.
    Image(image::Options),
    /// Write the plain manifests of deploy/ anew, from the chart.
    Manifests,
    /// Run the image in Pods of two real nodes on this machine: smoke checks and rolling updates, or
    /// our pod network under Pods that come and go.
    Nodes(nodes::Options),
    /// Run a comparison with the peers and write its results to bench/results.
    Bench {
        /// Which: `dns`.
        what: bench::What,
        /// Further flags for the benchmark itself.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Ten minutes of changes, kills and failures, with every answer judged; not part of the tests.
    Soak {
        /// Which: `dns`.
        what: bench::Lasting,
        /// Further flags for the soak itself.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Test => test::run(),
        Verb::Lint => lint::run(),
        Verb::Ebpf(options) => ebpf::run(&options),
        Verb::Peers => peers::build(),
        Verb::Image(options) => image::build(&options).map(drop),
        Verb::Nodes(options) => nodes::run(&options),
        Verb::Manifests => manifests::write(),
        Verb::Bench { what, flags } => bench::run(what, &flags),
        Verb::Soak { what, flags } => bench::soak(what, &flags),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_of_the_verbs_do_not_collide() {
        Arguments::command().debug_assert();
    }
}
