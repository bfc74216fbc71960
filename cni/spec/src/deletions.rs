//! DELs that the plugin could not hand to the agent, written down for it: without this, a runtime
//! tries again and again while the agent is away, and no pod ends.
//!
//! One small file for each, beside the agent's socket, which lies in memory: a reboot ends what they
//! are about too.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::AttachmentId;

/// Most deletions that are kept; a node has 110 pods as a rule.
pub const MAX_DELETIONS: usize = 16_384;
/// Longest file that is read.
const MAX_FILE: u64 = 4096;

/// How old a half-written file is that nobody will finish: plugins live for seconds.
const ABANDONED: Duration = Duration::from_secs(600);

/// A DEL to be made up for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Deletion {
    /// Which attachment.
    pub attachment: AttachmentId,
    /// The network's name.
    pub network: String,
}

/// The folder.
#[derive(Clone, Debug)]
pub struct Deletions {
    folder: PathBuf,
}

impl Deletions {
    /// The folder that belongs to an agent's socket. It is made when it is needed.
    pub fn beside(socket: &Path) -> Self {
        Deletions { folder: socket.with_extension("deletions") }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a deletion down; one that is there already is no error.
    ///
    /// # Errors
    /// Those of the file system, and `StorageFull` if there are too many.
    pub fn note(&self, deletion: &Deletion) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        if fs::read_dir(&self.folder)?.take(MAX_DELETIONS).count() == MAX_DELETIONS {
            let what = format!("{MAX_DELETIONS} deletions wait in {}", self.folder.display());
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        let path = self.path(deletion);
        // No reader takes a file whose name has no `@` in it for a deletion.
        let partial = self.folder.join(format!("{}.partial", std::process::id()));
        fs::write(&partial, serde_json::to_vec(deletion)?)?;
        fs::rename(partial, path)
    }

    /// All that wait, sorted. Files that are none of ours are passed over; what a plugin that was killed
    /// left half-written is removed once no plugin can be at it any more.
    ///
    /// # Errors
    /// Those of the file system; a folder that is not there holds none.
    pub fn waiting(&self) -> io::Result<Vec<Deletion>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries.take(MAX_DELETIONS) {
            let entry = entry?;
            let id = entry.file_name().to_str().and_then(AttachmentId::parse);
            if id.is_none() && is_old(&entry) {
                // Somebody else may have removed it.
                let _ = fs::remove_file(entry.path());
            }
            let short = entry.metadata().is_ok_and(|file| file.is_file() && file.len() <= MAX_FILE);
            if let Some(id) = id.filter(|_| short)
                && let Ok(bytes) = fs::read(entry.path())
                && let Some(deletion) = parse(&bytes).filter(|d| d.attachment == id)
            {
                found.push(deletion);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Strikes a deletion that was made up for.
    ///
    /// # Errors
    /// Those of the file system; one that is not there is no error.
    pub fn strike(&self, deletion: &Deletion) -> io::Result<()> {
        match fs::remove_file(self.path(deletion)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, deletion: &Deletion) -> PathBuf {
        self.folder.join(deletion.attachment.to_string())
    }
}

fn is_old(entry: &fs::DirEntry) -> bool {
    let modified = entry.metadata().and_then(|file| file.modified()).ok();
    modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > ABANDONED)
}

/// Reads a deletion's file.
pub fn parse(bytes: &[u8]) -> Option<Deletion> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_waits_until_it_is_struck() {
        let folder = tempfile::tempdir().expect("a folder");
        let deletions = Deletions::beside(&folder.path().join("cni.sock"));
        assert_eq!(deletions.waiting().expect("none"), []);
        let [one, two] = ["a", "b"].map(|id| Deletion {
            attachment: AttachmentId::new(id, "eth0").expect("an id"),
            network: "pods".to_owned(),
        });
        for deletion in [&two, &one, &two] {
            deletions.note(deletion).expect("a file");
        }
        fs::write(folder.path().join("cni.deletions/x@eth0"), "{").expect("a file");
        for (name, age) in [("7.partial", ABANDONED * 2), ("8.partial", Duration::ZERO)] {
            let file = fs::File::create(folder.path().join("cni.deletions").join(name));
            let then = std::time::SystemTime::now() - age;
            file.and_then(|file| file.set_modified(then)).expect("a file");
        }
        assert_eq!(deletions.waiting().expect("two"), [one.clone(), two.clone()]);
        deletions.strike(&one).expect("gone");
        deletions.strike(&one).expect("gone before");
        assert_eq!(deletions.waiting().expect("one"), [two]);
        let there = |name: &str| folder.path().join("cni.deletions").join(name).exists();
        assert!(!there("7.partial") && there("8.partial"));
    }
}
