//! Running other programs.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use anyhow::{Context, bail};

/// Root of the repository: that of the crate which cargo runs, not of the one that was compiled, for
/// clones that share a target folder share what was compiled too.
pub(crate) fn repository() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let own = std::env::var_os("CARGO_MANIFEST_DIR");
        let own = own.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        own.parent().expect("xtask/ lies in the repository").to_owned()
    });
    &ROOT
}

/// Where what is built once is kept, outside the clone.
pub(crate) fn cache_folder() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("daymark")
}

/// Where peers are kept.
pub(crate) fn peers_folder() -> PathBuf {
    cache_folder().join("peers/bin")
}

/// Whether a program is found in PATH.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// `cargo`, the one that runs this, without what it told xtask about xtask itself: build scripts
/// look at these variables, and would run again with every change between a shell's cargo and ours.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command with its output shown.
///
/// # Errors
/// If it can't be started or fails.
pub(crate) fn execute(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("starting {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}
