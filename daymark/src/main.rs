//! `daymark`: Kubernetes service networking in one binary. This file only finds the verb.
#![forbid(unsafe_code)]

mod agent;
mod api_metrics;
mod arguments;
mod check;
mod clusters;
mod default_corefile;
mod dns;
mod install_cni;
mod lab;
mod logging;
mod output;
mod status;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use self::arguments::{Arguments, CheckWhat, Verb};

/// Entries that live long lie beside others of their size, not among what a query needs for a moment.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse_from(arguments::normalized(std::env::args_os()));
    match arguments.verb {
        Verb::Dns(options) => dns::run(*options),
        Verb::Agent(options) => agent::run(&options),
        Verb::Status(options) => status::run(&options),
        Verb::InstallCni { to } => install_cni::run(&to),
        Verb::Lab(options) => lab::run(&options),
        Verb::Check { what: CheckWhat::Corefile(options) } => check::corefile(&options),
        Verb::Check { what: CheckWhat::Compare(options) } => check::compare(&options),
        Verb::Version => {
            output::print(&format!("{}\n", arguments::version()));
            ExitCode::SUCCESS
        }
        Verb::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "daymark",
                &mut std::io::stdout(),
            );
            ExitCode::SUCCESS
        }
    }
}
