//! Answers from all the master files of a folder. See README.md.

pub mod config;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use arc_swap::ArcSwap;
use futures::{FutureExt, future::BoxFuture};
use hickory_proto::rr::{DNSClass, Name};
use parking_lot::Mutex;

use self::config::Config;
use crate::{
    authority::{
        held::{self, Held, Notify},
        watched::Watched,
    },
    corefile::domain::Domain,
    plugin::{Next, Outcome, Plugin, Query},
    plugins::transfer::source::{self, Outgoing},
    wire::text,
};

/// Most folders within each other that are looked into.
const MAX_DEPTH: usize = 16;
/// Most zones of a folder; further files are left out.
const MAX_ZONES: usize = 100_000;

/// The `auto` plugin of one block.
pub struct Auto {
    config: Config,
    zones: ArcSwap<Vec<Arc<Held>>>,
    /// The same zones with their files, for whoever looks at the folder.
    files: Mutex<Vec<Arc<Watched>>>,
    /// What is told of changes of zones.
    notify: Option<Notify>,
}

impl Auto {
    /// A plugin by its settings; the folder is looked at now, and again as they say.
    pub fn start(config: &Config, notify: Option<Notify>) -> Arc<Self> {
        let (zones, files) = (ArcSwap::default(), Mutex::default());
        let auto = Arc::new(Auto { config: config.clone(), zones, files, notify });
        auto.look();
        if !config.reload.is_zero() {
            tokio::spawn(follow(Arc::downgrade(&auto)));
        }
        auto
    }

    /// The names of the zones that are there now.
    pub fn names(&self) -> Vec<Name> {
        self.zones.load().iter().map(|zone| zone.name.clone()).collect()
    }

    /// Looks at the folder and its files; the zones that came or changed come back.
    fn look(&self) -> Vec<Name> {
        let mut paths = Vec::new();
        // A folder that is a link itself is looked into, those in it are not.
        let folder = fs::canonicalize(&self.config.directory);
        walk(&folder.unwrap_or_else(|_| self.config.directory.clone()), MAX_DEPTH, &mut paths);
        let mut files = self.files.lock();
        let mut next: Vec<Arc<Watched>> = Vec::new();
        let mut known = hashbrown::HashSet::new();
        let mut changed = Vec::new();
        for path in paths {
            let Some(domain) = self.zone_of(&path) else { continue };
            if !known.insert(domain.clone()) || next.len() >= MAX_ZONES {
                tracing::warn!(target: "plugin/auto", "{} is left out: there is a file for {domain} already, or too many", path.display());
                continue;
            }
            let held = files.iter().find(|file| text::folded(file.name()) == domain.as_str());
            let file = match held {
                Some(file) if file.path() == path => Arc::clone(file),
                Some(file) => Watched::new(path, Arc::clone(file.zone())),
                None => Watched::new(path, Held::new(&domain, None)),
            };
            if file.look() {
                changed.push(file.name().clone());
            }
            // A file with a mistake makes no zone, but leaves one as it was.
            if file.zone().last().is_some() {
                next.push(file);
            }
        }
        for gone in files.iter().filter(|file| !next.iter().any(|kept| kept.name() == file.name()))
        {
            tracing::info!(target: "plugin/auto", "the zone {} is gone", gone.name());
        }
        self.zones.store(Arc::new(next.iter().map(|file| Arc::clone(file.zone())).collect()));
        *files = next;
        changed
    }

    /// The zone that a file of this name is for.
    fn zone_of(&self, path: &Path) -> Option<Domain> {
        let name = path.file_name()?.to_str()?;
        let found = self.config.pattern.0.captures(name)?;
        let mut zone = String::new();
        found.expand(&self.config.template, &mut zone);
        Domain::parse(&zone).ok()
    }
}

impl Plugin for Auto {
    fn name(&self) -> &'static str {
        "auto"
    }

    fn knows(&self, class: DNSClass) -> bool {
        class == DNSClass::IN
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        let name = Domain::parse(&text::of(query.name()));
        let inside =
            name.is_ok_and(|name| self.config.zones.iter().any(|zone| zone.contains(&name)));
        if !inside {
            return next.serve(query).boxed();
        }
        let zones = self.zones.load_full();
        async move { held::serve("auto", &zones, &[], query, next).await }.boxed()
    }
}

impl source::Source for Auto {
    fn zone(&self, name: &Name) -> Option<Option<Outgoing>> {
        source::held(&self.zones.load(), name)
    }
}

/// The files below a folder, in the order of their names.
fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            return tracing::warn!(target: "plugin/auto", "{}: {error}", folder.display());
        }
    };
    let mut entries: Vec<fs::DirEntry> = entries.filter_map(Result::ok).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match (is_folder, depth.checked_sub(1)) {
            (true, Some(depth)) => walk(&entry.path(), depth, files),
            (true, None) => {}
            (false, _) if files.len() < 2 * MAX_ZONES => files.push(entry.path()),
            (false, _) => return,
        }
    }
}

async fn follow(auto: Weak<Auto>) {
    loop {
        let Some(period) = auto.upgrade().map(|auto| auto.config.reload) else { return };
        tokio::time::sleep(period).await;
        let Some(looking) = auto.upgrade() else { return };
        let changed = tokio::task::spawn_blocking(move || looking.look()).await.unwrap_or_default();
        let Some(auto) = auto.upgrade() else { return };
        if let Some(notify) = &auto.notify {
            changed.iter().for_each(|zone| notify(zone));
        }
    }
}

#[cfg(test)]
mod tests;
