//! `daymark check`.

use std::process::ExitCode;

use daymark_dns::corefile::{self, check::Environment, mistake::Report, source::Disk};

use crate::arguments::CorefileOptions;

/// Checks a Corefile and reports every mistake.
pub(crate) fn corefile(options: &CorefileOptions) -> ExitCode {
    let environment = Environment { reader: &Disk, default_port: options.port };
    match corefile::load(&options.file, &environment) {
        Ok(checked) => {
            for warning in checked.warnings {
                eprintln!("{:?}", miette::Report::new(warning));
            }
            println!(
                "{}: {} server blocks, no mistakes",
                options.file.display(),
                checked.servers.len()
            );
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            eprintln!("{:?}", miette::Report::new(Report::from(mistakes)));
            ExitCode::FAILURE
        }
    }
}
