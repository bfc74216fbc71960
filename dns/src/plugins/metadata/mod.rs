//! Labels of a query for other plugins. See README.md for what its directive may say.
//!
//! A block's [`Collector`] makes the [`Metadata`] of each query that comes to it. Nothing is worked out before
//! somebody asks for a label: then the plugins of the block are asked for it, one after the other.

pub mod config;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{corefile::domain::Domain, plugin::Query, wire::text};

/// Most labels that plugins may set on one query; further ones are left out.
const MAX_SET: usize = 32;

/// A plugin that knows something about queries.
pub trait Provider: Send + Sync {
    /// The value of `label` (`plugin/name`) for `query`, which is as the client sent it; `None` if the plugin
    /// has no such label.
    fn value(&self, query: &Query, label: &str) -> Option<String>;
}

/// The `metadata` plugin of one block.
pub struct Collector {
    zones: Vec<Domain>,
    providers: Arc<[Arc<dyn Provider>]>,
}

impl Collector {
    /// Labels from `providers`, for names in `zones`.
    pub fn new(zones: Vec<Domain>, providers: Vec<Arc<dyn Provider>>) -> Self {
        Collector { zones, providers: providers.into() }
    }

    /// What is known about `query`. Outside the zones no plugin is asked; what plugins set on the way is kept
    /// all the same, as in CoreDNS.
    pub fn collect(&self, query: &Query) -> Metadata {
        let name = Domain::parse(&text::of(query.name()));
        let inside = name.is_ok_and(|name| self.zones.iter().any(|zone| zone.contains(&name)));
        let providers = if inside { Arc::clone(&self.providers) } else { Arc::default() };
        let query = Query { metadata: Metadata::default(), ..query.clone() };
        Metadata(Some(Arc::new(Collected { providers, query, set: Mutex::default() })))
    }
}

/// What the plugins of a block know about one query; nothing in a block without `metadata`.
#[derive(Clone, Default)]
pub struct Metadata(Option<Arc<Collected>>);

struct Collected {
    providers: Arc<[Arc<dyn Provider>]>,
    /// The query as it came in, before any plugin changed it.
    query: Query,
    set: Mutex<Vec<(&'static str, String)>>,
}

impl Metadata {
    /// The value of `label` (`plugin/name`): what was set on the way, else what a plugin says.
    pub fn value(&self, label: &str) -> Option<String> {
        let collected = self.0.as_ref()?;
        let set = collected.set.lock().iter().find(|(known, _)| *known == label).cloned();
        set.map(|(_, value)| value).or_else(|| {
            let mut asked = collected.providers.iter();
            asked.find_map(|provider| provider.value(&collected.query, label))
        })
    }

    /// Sets `label`, in place of what was set before.
    pub fn set(&self, label: &'static str, value: impl FnOnce() -> String) {
        let Some(collected) = &self.0 else { return };
        let mut set = collected.set.lock();
        if let Some((_, held)) = set.iter_mut().find(|(known, _)| *known == label) {
            *held = value();
        } else if set.len() < MAX_SET {
            set.push((label, value()));
        }
    }
}

/// Whether `text` has the form of a label: something on both sides of a slash.
pub fn is_label(text: &str) -> bool {
    text.split_once('/').is_some_and(|(plugin, name)| !plugin.is_empty() && !name.is_empty())
}
