//! Plugins of whoever embeds the server: known to the Corefile by a name of their own.

use std::{fmt, sync::Arc};

use crate::{
    corefile::{checker::Checker, tree::Line},
    plugin::Plugin,
};

/// Makes a plugin of its directive; `None` after a mistake was noted.
pub type Parse = dyn Fn(&Line, &mut Checker<'_>) -> Option<Arc<dyn Plugin>> + Send + Sync;

/// A directive that the Corefile may have beside those of this crate. Where one of these has the same
/// name, the extension takes its place.
///
/// Names of the cluster go the long way in a block that has one: only the plugin knows what it changes.
#[derive(Clone)]
pub struct Extension {
    /// The directive.
    pub name: &'static str,
    /// The plugin that it stands before, whatever the Corefile's order; behind all if there is none of
    /// this name.
    pub before: &'static str,
    /// Reads the directive, each time that a Corefile is read.
    pub parse: Arc<Parse>,
}

impl Extension {
    /// A directive `name` that stands before the plugin `before`.
    pub fn new(
        name: &'static str,
        before: &'static str,
        parse: impl Fn(&Line, &mut Checker<'_>) -> Option<Arc<dyn Plugin>> + Send + Sync + 'static,
    ) -> Self {
        Extension { name, before, parse: Arc::new(parse) }
    }
}

/// A plugin that was made of its directive.
#[derive(Clone)]
pub struct Extended(pub Arc<dyn Plugin>);

impl PartialEq for Extended {
    /// Nobody but the plugin knows its settings: it equals itself.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Extended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Extended").field(&self.0.name()).finish()
    }
}
