//! Tells when everything is ready to answer. See README.md.

pub mod config;

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use config::Monitor;
use parking_lot::Mutex;

/// Something that is not ready at once.
pub trait Ready: Send + Sync {
    /// The plugin's name in the Corefile.
    fn name(&self) -> &'static str;
    /// Whether it can answer now.
    fn ready(&self) -> bool;
    /// A remark for people, beside `OK`: what is known to be wrong although answers are given.
    fn remark(&self) -> Option<String> {
        None
    }
}

/// What `/ready` tells.
pub struct Readiness {
    monitor: Monitor,
    waiting: Vec<(Arc<dyn Ready>, AtomicBool)>,
    state: Arc<ServerState>,
}

/// What concerns the whole process, whatever its configuration.
#[derive(Default)]
pub struct ServerState {
    /// Set when shutting down.
    pub stopping: AtomicBool,
    /// Why the last reload failed, until one succeeds.
    pub reload_failure: Mutex<Option<String>>,
}

impl Readiness {
    /// Readiness of `plugins`.
    pub fn new(monitor: Monitor, plugins: Vec<Arc<dyn Ready>>, state: Arc<ServerState>) -> Self {
        let waiting = plugins.into_iter().map(|plugin| (plugin, AtomicBool::new(false))).collect();
        Readiness { monitor, waiting, state }
    }

    /// `Ok` with remarks to follow `OK`, or what to say with status 503.
    ///
    /// # Errors
    /// The names of the plugins that are not ready, as CoreDNS gives them, or that the server stops.
    pub fn check(&self) -> Result<String, String> {
        if self.state.stopping.load(Ordering::Relaxed) {
            return Err("Shutting down".to_owned());
        }
        let pending: Vec<&str> = self
            .waiting
            .iter()
            .filter(|(plugin, was_ready)| {
                let settled =
                    self.monitor == Monitor::UntilReady && was_ready.load(Ordering::Relaxed);
                let ready = settled || plugin.ready();
                was_ready.store(ready, Ordering::Relaxed);
                !ready
            })
            .map(|(plugin, _)| plugin.name())
            .collect();
        if !pending.is_empty() {
            return Err(pending.join(","));
        }
        let mut remarks = String::new();
        for (plugin, _) in &self.waiting {
            if let Some(remark) = plugin.remark() {
                // Writing to a String can't fail.
                let _ = write!(remarks, "\n{}: {remark}", plugin.name());
            }
        }
        if let Some(failure) = &*self.state.reload_failure.lock() {
            let _ =
                write!(remarks, "\nreload: failed, serving the last good configuration: {failure}");
        }
        Ok(remarks)
    }
}
