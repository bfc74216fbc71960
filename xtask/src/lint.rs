//! The style: rustfmt, clippy without warnings, eBPF objects that fit their sources, and cargo-deny,
//! which is installed once into the cache.

use std::{path::PathBuf, process::Command};

use crate::shell::{cache_folder, cargo, execute};

/// The version that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

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
    crate::ebpf::check()?;
    deny()
}

/// Licences, duplicates and sources always; advisories where their database can be had.
fn deny() -> anyhow::Result<()> {
    let program = cargo_deny()?;
    let deny = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(crate::shell::repository()).args(words);
        command
    };
    execute(&mut deny(&["check", "bans", "licenses", "sources"]))?;
    // The database is a repository of its own, which a closed network does not reach.
    let fetched = deny(&["fetch", "db"]).output().is_ok_and(|output| output.status.success());
    if fetched {
        return execute(&mut deny(&["check", "--disable-fetch", "advisories"]));
    }
    println!("xtask: the advisory database cannot be reached from here: advisories not checked");
    Ok(())
}

/// Where cargo-deny is, after building it if it is not there.
fn cargo_deny() -> anyhow::Result<PathBuf> {
    let root = cache_folder().join("tools").join(format!("cargo-deny-{CARGO_DENY}"));
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        println!("xtask: building cargo-deny {CARGO_DENY} (once; it goes to {})", root.display());
        let mut install = cargo();
        install.args(["install", "--quiet", "--locked", "--version", CARGO_DENY, "cargo-deny"]);
        execute(install.arg("--root").arg(&root))?;
    }
    Ok(program)
}
