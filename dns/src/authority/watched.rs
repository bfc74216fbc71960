//! A zone's files on disk, read again when one of them changes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use hickory_proto::rr::Name;
use parking_lot::Mutex;

use super::{
    ZoneData, ZoneError,
    held::Held,
    master::{self, Loaded},
};
use crate::corefile::source::{Disk, Reader};

/// A zone and the files that it comes from.
pub struct Watched {
    path: PathBuf,
    zone: Arc<Held>,
    /// Files, and when each was changed; empty until they were read here.
    seen: Mutex<Vec<(PathBuf, Option<SystemTime>, u64)>>,
}

impl Watched {
    /// The zone in the file at `path`, which is not read yet.
    pub fn new(path: PathBuf, zone: Arc<Held>) -> Arc<Self> {
        Arc::new(Watched { path, zone, seen: Mutex::default() })
    }

    /// The zone's name.
    pub fn name(&self) -> &Name {
        &self.zone.name
    }

    /// The zone.
    pub fn zone(&self) -> &Arc<Held> {
        &self.zone
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the files if one has changed; tells whether the zone has. One that can't be read leaves the zone as
    /// it is.
    pub fn look(&self) -> bool {
        let mut seen = self.seen.lock();
        if !seen.is_empty() && seen.iter().all(|held| *held == stamp(&held.0)) {
            return false;
        }
        // Taken before the files are read: what changes meanwhile is seen the next time.
        let before: Vec<_> = seen.iter().map(|held| stamp(&held.0)).collect();
        match load(&self.zone, &self.path) {
            Ok(Loaded { zone, files, outside }) => {
                let stamps = files.iter().map(|path| {
                    let known = before.iter().find(|(held, ..)| held == path);
                    known.cloned().unwrap_or_else(|| (path.clone(), None, 0))
                });
                *seen = stamps.collect();
                self.take(zone, outside)
            }
            Err(error) => {
                *seen = before;
                tracing::error!(target: "plugin/file", "the zone {} stays as it is: {error}", self.zone.name);
                false
            }
        }
    }

    fn take(&self, zone: ZoneData, outside: usize) -> bool {
        let last = self.zone.last();
        if last.as_deref() == Some(&zone) {
            return false;
        }
        if outside > 0 {
            tracing::warn!(target: "plugin/file", "{outside} records outside the zone {} are left out", self.zone.name);
        }
        let serial = zone.soa().serial;
        if last.is_some_and(|last| last.soa().serial == serial) {
            tracing::warn!(
                target: "plugin/file",
                "the zone {} changed without a new serial ({serial}): secondaries will not notice",
                self.zone.name
            );
        }
        tracing::info!(
            target: "plugin/file",
            "read the zone {} with {} records and the serial {serial}", self.zone.name, zone.len()
        );
        self.zone.replace(Arc::new(zone));
        true
    }
}

fn load(zone: &Held, path: &Path) -> Result<Loaded, ZoneError> {
    let read = |path: &Path| -> io::Result<Vec<u8>> { Disk.read(path) };
    master::load(zone.name.clone(), path, &read)
}

fn stamp(path: &Path) -> (PathBuf, Option<SystemTime>, u64) {
    let metadata = std::fs::metadata(path).ok();
    let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
    (path.to_owned(), modified, metadata.map_or(0, |metadata| metadata.len()))
}

#[cfg(test)]
mod tests;
