//! `daymark check corefile`.

use std::process::ExitCode;

use daymark_dns::corefile::{self, check::Environment, mistake::Report, source::Disk};

use super::explain::explained;
use crate::{
    arguments::CorefileOptions,
    output::{complain, print},
};

/// Checks a Corefile and reports every mistake.
pub(crate) fn corefile(options: &CorefileOptions) -> ExitCode {
    let environment = Environment { reader: &Disk, default_port: options.port, extensions: &[] };
    match corefile::load(&options.file, &environment) {
        Ok(checked) => {
            if options.explain {
                print(&explained(&checked, options.port));
            }
            for warning in checked.warnings {
                complain(&format!("{:?}\n", miette::Report::new(warning)));
            }
            let (file, blocks) = (options.file.display(), checked.servers.len());
            print(&format!("{file}: {blocks} server blocks, no mistakes\n"));
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            complain(&format!("{:?}\n", miette::Report::new(Report::from(mistakes))));
            ExitCode::FAILURE
        }
    }
}
