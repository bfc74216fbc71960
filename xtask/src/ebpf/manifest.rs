//! What a committed object was made from.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::shell::repository;

/// Folders and files that the object is made from.
const SOURCES: [&str; 5] = [
    "datapath/abi/Cargo.toml",
    "datapath/abi/src",
    "datapath/programs/Cargo.lock",
    "datapath/programs/Cargo.toml",
    "datapath/programs/src",
];

/// See [the module](self).
#[derive(Clone, Default)]
pub(super) struct Manifest {
    /// Hash of the sources, those of the abi and the lock file among them.
    pub(super) sources: String,
    /// Hash of the object.
    pub(super) object: String,
    /// Versions of what built it, by program.
    pub(super) toolchain: BTreeMap<String, String>,
    /// Instructions that the verifier looked at, by program.
    pub(super) instructions: BTreeMap<String, u64>,
}

impl Manifest {
    /// Reads the one in a folder.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Manifest> {
        let file = folder.join("manifest.json");
        let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
        let value: Value = serde_json::from_slice(&text)?;
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let entries = |name: &str| value[name].as_object().into_iter().flatten();
        let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Manifest {
            sources: text("sources"),
            object: text("object"),
            toolchain: entries("toolchain").map(|(k, v)| (k.clone(), string(v))).collect(),
            instructions: entries("instructions")
                .map(|(k, v)| (k.clone(), v.as_u64().unwrap_or_default()))
                .collect(),
        })
    }

    /// Writes it into a folder.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let value = json!({
            "sources": self.sources,
            "object": self.object,
            "toolchain": self.toolchain,
            "instructions": self.instructions,
        });
        let text = serde_json::to_string_pretty(&value)? + "\n";
        Ok(std::fs::write(folder.join("manifest.json"), text)?)
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn hash(octets: &[u8]) -> String {
    Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Hash over the names and contents of all sources.
pub(super) fn sources_hash() -> anyhow::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&repository().join(source), &mut files)?;
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let name = file.strip_prefix(repository())?.to_string_lossy().into_owned();
        let contents = std::fs::read(&file)?;
        hasher.update(format!("{name}\n{}\n", contents.len()));
        hasher.update(contents);
    }
    Ok(hasher.finalize().iter().map(|octet| format!("{octet:02x}")).collect())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if path.is_file() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    if !path.is_dir() {
        bail!("{} is missing", path.display());
    }
    for entry in std::fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}
