//! Looks whether the Corefile changed, and serves what it says now. See README.md.

pub mod config;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use rand::Rng;

use crate::server::{Server, StartError};

/// How often to look whether a new configuration turned `reload` on, while it is off.
const OFF: Duration = Duration::from_secs(30);

/// Starts looking, for as long as the server lives.
pub async fn start(server: &Arc<Server>) {
    if server.reload_settings().await.is_some() {
        tokio::spawn(follow(Arc::downgrade(server)));
    }
}

async fn follow(server: Weak<Server>) {
    loop {
        let Some(settings) = (match server.upgrade() {
            Some(server) => Some(server.reload_settings().await),
            None => None,
        }) else {
            return;
        };
        let pause = settings.as_ref().map_or(OFF, |settings| {
            // The jitter is drawn anew each time, so that replicas don't reload together.
            let jitter = settings.jitter.as_millis() as u64;
            settings.interval + Duration::from_millis(rand::rng().random_range(0..=jitter))
        });
        tokio::time::sleep(pause).await;
        let Some(server) = server.upgrade() else { return };
        if settings.is_some() {
            report(server.reload(false).await);
        }
    }
}

/// Logs what came of a reload.
pub fn report(outcome: Result<bool, StartError>) {
    match outcome {
        Ok(false) => {}
        Ok(true) => tracing::info!("Reloading complete"),
        Err(error) => {
            tracing::error!("reload failed, the last good configuration serves on: {error}");
        }
    }
}
