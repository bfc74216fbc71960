//! Where and how a server listens: what the Corefile's `tls://`, `https://` and so on come to.

use std::{fmt, net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use crate::{
    corefile::{address::Scheme, check::ServerConfig},
    plugins::{PluginConfig, timeouts, tls::identity::Identity},
};

/// An address and what is spoken there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Endpoint {
    /// What is spoken.
    pub scheme: Scheme,
    /// The address.
    pub address: SocketAddr,
}

impl fmt::Display for Endpoint {
    /// CoreDNS's label of a server: `dns://:53` on all addresses, `tls://10.0.0.1:853` on one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.name();
        match self.address.ip().is_unspecified() {
            true => write!(f, "{scheme}://:{}", self.address.port()),
            false => write!(f, "{scheme}://{}", self.address),
        }
    }
}

/// How connections to an endpoint are served.
#[derive(Clone)]
pub struct Manners {
    /// Shown to clients of encrypted transports. Without it `tls://` and `https://` are plain.
    pub identity: Option<Arc<Identity>>,
    /// How long they may take and stay.
    pub timeouts: Timeouts,
    /// Connections at once, besides the bound on all.
    pub connections: Option<usize>,
    /// Queries at once on one connection.
    pub streams: u32,
    /// Queries at once on all connections (QUIC).
    pub workers: usize,
}

/// How long a connection may take and stay, and how much it may bring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// A query that has begun is there within this time.
    pub read: Duration,
    /// A reply is taken within this time.
    pub write: Duration,
    /// Without a query, a connection is closed after this time.
    pub idle: Duration,
    /// Queries after which it is closed; `None` is any number.
    pub queries: Option<NonZeroUsize>,
}

impl Default for Timeouts {
    /// CoreDNS's.
    fn default() -> Self {
        Timeouts {
            read: Duration::from_secs(3),
            write: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            queries: None,
        }
    }
}

/// Queries at once on one HTTP/2, HTTP/3 or QUIC connection (CoreDNS's default for most of them).
const STREAMS: u32 = 256;
/// Queries at once on all QUIC connections of a listener (CoreDNS's default).
const WORKERS: usize = 1024;

impl Default for Manners {
    fn default() -> Self {
        Manners {
            identity: None,
            timeouts: Timeouts::default(),
            connections: None,
            streams: STREAMS,
            workers: WORKERS,
        }
    }
}

impl Manners {
    /// Takes in what a server block says of its listeners for `scheme`. Of blocks that share one the
    /// last that says something wins, as in CoreDNS.
    pub(super) fn take(&mut self, server: &ServerConfig, scheme: Scheme) {
        for plugin in &server.plugins {
            match (plugin, scheme) {
                (PluginConfig::Timeouts(config), _) => self.timeouts.take(config),
                (PluginConfig::Https(limits), Scheme::Https)
                | (PluginConfig::Https3(limits), Scheme::Https3)
                | (PluginConfig::Quic(limits), Scheme::Quic) => {
                    if let Some(most) = limits.max_connections {
                        self.connections = Some(most as usize).filter(|most| *most > 0);
                    }
                    if let Some(most) = limits.max_streams {
                        self.streams = if most == 0 { u32::MAX } else { most };
                    }
                    if let Some(most) = limits.worker_pool_size {
                        self.workers = most as usize;
                    }
                }
                _ => {}
            }
        }
    }
}

impl Timeouts {
    fn take(&mut self, config: &timeouts::config::Config) {
        self.read = config.read.unwrap_or(self.read);
        self.write = config.write.unwrap_or(self.write);
        self.idle = config.idle.unwrap_or(self.idle);
        match config.queries {
            None => {}
            Some(timeouts::config::Queries::Unlimited) => self.queries = None,
            Some(timeouts::config::Queries::Most(most)) => self.queries = Some(most),
        }
    }
}
