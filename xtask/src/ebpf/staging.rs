//! Where the programs are compiled: a workspace of its own with copies of the sources.
//!
//! Names of symbols, and with them the order of functions, follow from a hash of each crate's place
//! within its workspace. In a workspace that holds all of the sources that is the same everywhere, so
//! the object is too.

use std::path::{Path, PathBuf};

use crate::shell::repository;

/// The workspace; nothing in it depends on Daymark's version.
const MANIFEST: &str = r#"[workspace]
resolver = "3"
members = ["abi", "programs"]

[workspace.package]
version = "0.0.0"
edition = "2024"
rust-version = "1.95"
license = "Apache-2.0"
publish = false

[workspace.lints]

[profile.release]
lto = true
opt-level = 3
debug = 2
codegen-units = 1
panic = "abort"
"#;

/// Fills the folder with the sources as they are now.
pub(super) fn fill(folder: &Path) -> anyhow::Result<PathBuf> {
    let sources = repository().join("datapath");
    for name in ["abi", "programs"] {
        let (from, to) = (sources.join(name), folder.join(name));
        if to.exists() {
            std::fs::remove_dir_all(to.join("src"))?;
        }
        copy(&from.join("src"), &to.join("src"))?;
        std::fs::copy(from.join("Cargo.toml"), to.join("Cargo.toml"))?;
    }
    std::fs::copy(sources.join("programs/Cargo.lock"), folder.join("Cargo.lock"))?;
    std::fs::write(folder.join("Cargo.toml"), MANIFEST)?;
    Ok(folder.to_path_buf())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
