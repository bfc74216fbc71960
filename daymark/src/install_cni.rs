//! `daymark install-cni`: the plugin that lies beside this program, put where a runtime finds it.

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use daymark_cni::node::{conflist::PLUGIN, executable};

use crate::output::{complain, print};

/// Installs it and says where.
pub(crate) fn run(folder: &Path) -> ExitCode {
    match install(folder) {
        Ok(said) => {
            print(&said);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("{error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

fn install(folder: &Path) -> anyhow::Result<String> {
    let own = std::env::current_exe().context("finding this program")?;
    let plugin = own.with_file_name(PLUGIN);
    let installed = executable::install(&plugin, folder)
        .with_context(|| format!("copying {} into {}", plugin.display(), folder.display()))?;
    Ok(format!("installed {}\n", installed.display()))
}
