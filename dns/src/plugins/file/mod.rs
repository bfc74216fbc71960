//! Answers from master files. See README.md.

pub mod config;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::rr::{DNSClass, Name};
use parking_lot::Mutex;

use self::config::Config;
use crate::{
    authority::{
        ZoneData,
        held::{self, Held, Notify},
        master::{self, Loaded},
    },
    corefile::{
        domain::Domain,
        source::{Disk, Reader},
    },
    plugin::{Next, Outcome, Plugin, Query},
    plugins::transfer::source::{self, Outgoing},
};

/// The `file` plugin of one block.
pub struct File {
    zones: Vec<Arc<Held>>,
    fallthrough: Vec<Domain>,
    /// What is told of changes of zones.
    notify: Option<Notify>,
}

impl source::Source for File {
    fn zone(&self, name: &Name) -> Option<Option<Outgoing>> {
        source::held(&self.zones, name)
    }
}

/// A zone and the files that it comes from.
struct Source {
    path: PathBuf,
    zone: Arc<Held>,
    /// Files, and when each was changed; empty until they were read here.
    seen: Mutex<Vec<(PathBuf, Option<SystemTime>, u64)>>,
}

impl File {
    /// A plugin by its settings, which looks at its files as they say.
    pub fn start(config: &Config, notify: Option<Notify>) -> Arc<Self> {
        let mut zones: Vec<Arc<Held>> = Vec::new();
        let mut sources = Vec::new();
        for file in &config.files {
            for (domain, data) in &file.zones {
                let zone = Held::new(domain, data.clone());
                // As in CoreDNS the last directive for a zone has it.
                zones.retain(|held| held.name != zone.name);
                zones.push(Arc::clone(&zone));
                let source = Source { path: file.path.clone(), zone, seen: Mutex::default() };
                sources.push((Arc::new(source), file.reload));
            }
        }
        let plugin = Arc::new(File { zones, fallthrough: config.fallthrough.clone(), notify });
        for (source, period) in sources.into_iter().filter(|(_, period)| !period.is_zero()) {
            tokio::spawn(follow(Arc::downgrade(&plugin), source, period));
        }
        plugin
    }

    /// The zones.
    pub fn zones(&self) -> &[Arc<Held>] {
        &self.zones
    }
}

impl Plugin for File {
    fn name(&self) -> &'static str {
        "file"
    }

    fn knows(&self, class: DNSClass) -> bool {
        class == DNSClass::IN
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        held::serve("file", &self.zones, &self.fallthrough, query, next).boxed()
    }
}

async fn follow(plugin: Weak<File>, source: Arc<Source>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        if plugin.strong_count() == 0 {
            return;
        }
        let look = Arc::clone(&source);
        let changed = tokio::task::spawn_blocking(move || look.look()).await;
        let Some(plugin) = plugin.upgrade() else { return };
        if let (Ok(true), Some(notify)) = (changed, &plugin.notify) {
            notify(&source.zone.name);
        }
    }
}

impl Source {
    /// Reads the files if one has changed; tells whether the zone has. One that can't be read leaves the zone as
    /// it is.
    fn look(&self) -> bool {
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

fn load(zone: &Held, path: &Path) -> Result<Loaded, crate::authority::ZoneError> {
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
