//! Logs what fails while answering, or counts it where that is too much. See README.md.

pub mod config;
pub mod stack;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use config::{Config, Consolidate, Level};

use crate::plugin::{Failure, FailureReason, Query};

/// The `errors` plugin of one server block.
pub struct ErrorLog {
    consolidated: Vec<Arc<Counted>>,
    /// Whether a panic is logged with its stack.
    stacktrace: bool,
}

struct Counted {
    rule: Consolidate,
    seen: AtomicU64,
}

impl ErrorLog {
    /// An error log by its settings.
    pub fn new(config: &Config) -> Self {
        if config.stacktrace {
            stack::keep();
        }
        let counted =
            |rule: &Consolidate| Arc::new(Counted { rule: rule.clone(), seen: AtomicU64::new(0) });
        ErrorLog {
            consolidated: config.consolidate.iter().map(counted).collect(),
            stacktrace: config.stacktrace,
        }
    }

    /// Logs a failure, or counts it. Must run on the server's runtime. A refusal by policy is no
    /// error.
    pub fn log(&self, query: &Query, failure: &Failure) {
        if failure.reason == FailureReason::Refused {
            return;
        }
        let text = failure.reason.to_string();
        let matching =
            self.consolidated.iter().find(|counted| counted.rule.pattern.0.is_match(&text));
        let level = match matching {
            Some(counted) if !counted.rule.period.is_zero() => {
                let first = counted.count();
                if !(first && counted.rule.show_first) {
                    return;
                }
                counted.rule.level
            }
            Some(counted) => counted.rule.level,
            None => Level::Error,
        };
        let (code, name, rtype) =
            (u16::from(failure.code), query.name().to_lowercase(), query.rtype());
        emit(level, &format!("{code} {name} {rtype}: plugin/{}: {text}", failure.plugin));
    }
}

impl Counted {
    /// Counts one; the first of a period starts the clock that ends it. Tells whether it was first.
    fn count(self: &Arc<Self>) -> bool {
        let first = self.seen.fetch_add(1, Ordering::Relaxed) == 0;
        if first {
            let counted = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(counted.rule.period).await;
                counted.report();
            });
        }
        first
    }

    fn report(&self) {
        let count = self.seen.swap(0, Ordering::Relaxed);
        if count > 1 || (count == 1 && !self.rule.show_first) {
            let (pattern, period) = (self.rule.pattern.0.as_str(), self.rule.period);
            let text = format!("{count} errors like '{pattern}' occurred in last {period:?}");
            emit(self.rule.level, &text);
        }
    }
}

fn emit(level: Level, text: &str) {
    match level {
        Level::Debug => tracing::debug!(target: "plugin/errors", "{text}"),
        Level::Info => tracing::info!(target: "plugin/errors", "{text}"),
        Level::Warning => tracing::warn!(target: "plugin/errors", "{text}"),
        Level::Error => tracing::error!(target: "plugin/errors", "{text}"),
    }
}
