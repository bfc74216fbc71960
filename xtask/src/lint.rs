//! The style: rustfmt, clippy without warnings, cargo-deny where it is installed.

use crate::shell::{cargo, is_installed, run};

/// Checks the style.
pub(crate) fn run_all() -> anyhow::Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    if is_installed("cargo-deny") {
        run(cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]))?;
    } else {
        println!("xtask: cargo-deny is not installed: licences and duplicates were not checked");
    }
    Ok(())
}

pub(crate) use run_all as run;
