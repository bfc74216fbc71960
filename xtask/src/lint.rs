//! The style: rustfmt, clippy without warnings, cargo-deny where it is installed.

use crate::shell::{cargo, execute, is_installed};

/// Checks the style.
pub(crate) fn run() -> anyhow::Result<()> {
    execute(cargo().args(["fmt", "--all", "--check"]))?;
    execute(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    if is_installed("cargo-deny") {
        execute(cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]))?;
    } else {
        println!("xtask: cargo-deny is not installed: licences and duplicates were not checked");
    }
    Ok(())
}
