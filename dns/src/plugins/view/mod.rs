//! Server blocks for some queries of a zone. See README.md for what its directive may say.
//!
//! It is no part of the chain: [`crate::server::routes::Routes::route`] asks it whether a query is for its block.

pub mod config;

use std::sync::Arc;

use self::config::Config;
use crate::{
    expression::{Surroundings, Value},
    plugin::Query,
    plugins::metadata::Provider,
};

/// The `view` plugin of one block.
pub struct View {
    config: Config,
}

impl View {
    /// A view by its settings.
    pub fn new(config: &Config) -> Arc<Self> {
        Arc::new(View { config: config.clone() })
    }

    /// The view's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Whether every expression is true for `query`. One that fails, or is no truth value, is not.
    pub fn takes(&self, query: &Query) -> bool {
        let groups = |_: &str| String::new();
        let surroundings = Surroundings { query, variables: &[], groups: &groups };
        self.config
            .expressions
            .iter()
            .all(|expression| matches!(expression.evaluate(&surroundings), Ok(Value::Bool(true))))
    }
}

impl Provider for View {
    fn value(&self, _query: &Query, label: &str) -> Option<String> {
        (label == "view/name").then(|| self.config.name.to_string())
    }
}

#[cfg(test)]
mod tests;
