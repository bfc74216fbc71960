//! Answers from master files. See README.md.

pub mod config;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::rr::{DNSClass, Name};

use self::config::Config;
use crate::{
    authority::{
        held::{self, Held, Notify},
        watched::Watched,
    },
    corefile::domain::Domain,
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

impl File {
    /// A plugin by its settings, which looks at its files as they say.
    pub fn start(config: &Config, notify: Option<Notify>) -> Arc<Self> {
        let mut zones: Vec<Arc<Held>> = Vec::new();
        let mut sources: Vec<(Arc<Watched>, Duration)> = Vec::new();
        for file in &config.files {
            for (domain, data) in &file.zones {
                let zone = Held::new(domain, data.clone());
                // As in CoreDNS the last directive for a zone has it.
                zones.retain(|held| held.name != zone.name);
                zones.push(Arc::clone(&zone));
                sources.push((Watched::new(file.path.clone(), zone), file.reload));
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

async fn follow(plugin: Weak<File>, source: Arc<Watched>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        if plugin.strong_count() == 0 {
            return;
        }
        let look = Arc::clone(&source);
        let changed = tokio::task::spawn_blocking(move || look.look()).await;
        let Some(plugin) = plugin.upgrade() else { return };
        if let (Ok(true), Some(notify)) = (changed, &plugin.notify) {
            notify(source.name());
        }
    }
}

#[cfg(test)]
mod tests;
