//! Where the programs under test are: our binary, and the peers that `cargo xtask peers` built.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// Root of the repository: that of the crate which cargo runs, not of the one that was compiled, for
/// clones that share a target folder share what was compiled too.
pub fn repository() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let own = std::env::var_os("CARGO_MANIFEST_DIR");
        let own = own.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        own.parent().expect("a crate lies in the repository").to_owned()
    });
    &ROOT
}

/// Folder of the built peers.
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("DAYMARK_PEERS") {
        return folder.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("daymark/peers/bin")
}

/// A peer's program.
///
/// # Errors
/// Why tests that need it can't run: it has not been built.
pub fn program(name: &str) -> Result<PathBuf, String> {
    let path = folder().join(name);
    match path.exists() {
        true => Ok(path),
        false => Err(format!("{name} has not been built: `cargo xtask peers` does it (needs Go)")),
    }
}

/// Our own binary, as the build that made the tests left it (or `DAYMARK_BIN`).
///
/// # Panics
/// If it is not there: the tests can say nothing then.
pub fn daymark() -> PathBuf {
    own("daymark", "DAYMARK_BIN", "daymark")
}

/// Our CNI plugin, likewise (or `DAYMARK_CNI_BIN`).
///
/// # Panics
/// If it is not there.
pub fn plugin() -> PathBuf {
    own("daymark-cni", "DAYMARK_CNI_BIN", "daymark-cni-plugin")
}

fn own(program: &str, variable: &str, package: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let own = std::env::current_exe().expect("a test knows its own path");
    // A test lies in target/PROFILE/deps, a benchmark in target/PROFILE.
    let candidates = own.ancestors().skip(1).take(2).map(|folder| folder.join(program));
    candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("no {program} beside {}: run `cargo build -p {package}` first", own.display())
    })
}
