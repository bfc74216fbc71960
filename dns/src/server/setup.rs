//! From checked configuration to a server that could serve: chains, tables, routes, pages.
//!
//! Everything is built anew beside what serves; nothing here touches a socket that is in use.

mod block;
mod telling;

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use daymark_cluster::{Kind, Needs};
use http::HeaderMap;
use tokio::runtime::Handle;
use tokio_rustls::TlsAcceptor;

use self::block::Parts;
use super::{
    admission::Admission,
    cluster_source::{ClusterError, ClusterSource, OpenCluster},
    endpoint::{Endpoint, Manners},
    http::Pages,
    listening::Wanted,
    outbox::Outbox,
    places::{cores, listen_hosts, resolve},
    quic,
    routes::{Block, Routes},
    short::ShortPlan,
    tcp::Encrypted,
};
use crate::{
    corefile::{
        address::Scheme,
        check::{Checked, ServerConfig},
        domain::Domain,
        values::HostPort,
    },
    metrics::{Metrics, Series, cluster::Watched},
    plugin::{Chain, Labels},
    plugins::{
        PluginConfig,
        health::probe::Probe,
        kubernetes::{self, config::Api},
        r#loop::Fatal,
        metadata::Collector,
        on::config::Hook,
        prometheus::web::Web,
        ready::{Readiness, Ready, ServerState, config::Monitor},
        reload,
        shed::Shed,
        tls::{
            self,
            acme::challenges::{Challenger, Challenges},
            identity::Identity,
        },
    },
    zone::{View, view::ExternalNames},
};

/// Why a configuration can't be served.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No such cluster.
    #[error("plugin/kubernetes: {0}")]
    Cluster(ClusterError),
    /// `bind` names no interface.
    #[error("plugin/bind: there is no interface called `{0}`, or it has no address")]
    NoInterface(Arc<str>),
    /// A name that stands for no address.
    #[error("`{0}` stands for no address to listen on")]
    NoAddress(String),
    /// A plugin that could not start.
    #[error("plugin/{plugin}: {what}")]
    Plugin {
        /// Which.
        plugin: &'static str,
        /// What happened, and the remedy.
        what: String,
    },
}

// By hand: a source whose text stands in the message already would be printed twice.
impl From<ClusterError> for SetupError {
    fn from(error: ClusterError) -> Self {
        SetupError::Cluster(error)
    }
}

/// What a setup works with.
pub struct Workshop {
    /// Runs background work.
    pub runtime: Handle,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Opens clusters.
    pub source: Arc<dyn ClusterSource>,
    /// What `/ready` tells of the process.
    pub state: Arc<ServerState>,
    /// Port where the Corefile names none.
    pub default_port: u16,
    /// Where `loop` says that the process has to end; `None` cuts loops instead.
    pub loop_exit: Option<Fatal>,
}

/// A configuration ready to be served.
pub struct Plan {
    /// What to serve and where.
    pub wanted: HashMap<Endpoint, Wanted>,
    /// HTTP pages, by address.
    pub pages: HashMap<SocketAddr, Pages>,
    /// How long to go on answering once asked to stop.
    pub lameduck: Duration,
    /// The `reload` plugin.
    pub reload: Option<reload::config::Config>,
    /// Clusters to wait for before serving, and how long at most.
    pub wait_for: Vec<(Arc<dyn OpenCluster>, Duration)>,
    /// Cluster tables, for metrics.
    pub watched: Vec<Watched>,
    /// What must live as long as the plan is served: stores, subscriptions, background work.
    pub keep: Vec<Box<dyn Any + Send + Sync>>,
    /// Whether a block has `debug`, which is for all.
    pub debug: bool,
    /// Commands of `on`.
    pub hooks: Vec<Hook>,
    /// What is sent elsewhere.
    pub outboxes: Vec<Arc<dyn Outbox>>,
    /// What to do once it is served, on the server's runtime.
    pub once_served: Vec<Box<dyn FnOnce() + Send + Sync>>,
}

/// Builds what `checked` describes.
///
/// # Errors
/// The first thing that can't be had. Nothing is served then.
pub async fn build(checked: &Checked, workshop: &Workshop) -> Result<Plan, SetupError> {
    let mut builder = Builder::new(checked, workshop)?;
    for server in &checked.servers {
        builder.server(server).await?;
    }
    builder.finish().await
}

struct Builder<'a> {
    workshop: &'a Workshop,
    clusters: Vec<(Api, Arc<dyn OpenCluster>)>,
    blocks: HashMap<Endpoint, Vec<Block>>,
    sockets: HashMap<Endpoint, usize>,
    /// Where a block has `shed`.
    shed: HashSet<Endpoint>,
    manners: HashMap<Endpoint, Manners>,
    identities: Vec<(tls::config::Config, Arc<Identity>)>,
    /// What every block answers if one gets its certificates by ACME.
    challenges: Arc<Challenges>,
    has_acme: bool,
    pages: Vec<(HostPort, Page)>,
    ready: Vec<Arc<dyn Ready>>,
    monitor: Monitor,
    plan: Plan,
}

enum Page {
    Health,
    Ready,
    Metrics(Box<Secured>),
}

/// How metrics are served.
struct Secured {
    web: Web,
    tls: Option<TlsAcceptor>,
    headers: HeaderMap,
}

impl<'a> Builder<'a> {
    fn new(checked: &Checked, workshop: &'a Workshop) -> Result<Self, SetupError> {
        let mut needs: Vec<(Api, Needs)> = Vec::new();
        let with_server = |server| kubernetes_of(server).map(move |config| (server, config));
        for (server, config) in checked.servers.iter().flat_map(with_server) {
            let mut wanted = zone_view(config, server, Vec::new()).needs();
            let has_metadata =
                server.plugins.iter().any(|plugin| matches!(plugin, PluginConfig::Metadata(_)));
            if has_metadata && wanted.kinds.contains(Kind::Pod) {
                wanted.labels = wanted.labels.with(Kind::Pod);
            }
            match needs.iter_mut().find(|(api, _)| *api == config.api) {
                Some((_, all)) => *all = all.union(wanted),
                None => needs.push((config.api.clone(), wanted)),
            }
        }
        let open = |(api, needs): (Api, Needs)| {
            let cluster = workshop.source.open(&api, needs)?;
            Ok::<_, ClusterError>((api, cluster))
        };
        let clusters = needs.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        Ok(Builder {
            workshop,
            clusters,
            blocks: HashMap::new(),
            sockets: HashMap::new(),
            shed: HashSet::new(),
            manners: HashMap::new(),
            identities: Vec::new(),
            challenges: Arc::default(),
            has_acme: checked.servers.iter().any(|server| server.acme().is_some()),
            pages: Vec::new(),
            ready: Vec::new(),
            monitor: Monitor::UntilReady,
            plan: Plan {
                wanted: HashMap::new(),
                pages: HashMap::new(),
                lameduck: Duration::ZERO,
                reload: None,
                wait_for: Vec::new(),
                watched: Vec::new(),
                keep: Vec::new(),
                debug: false,
                hooks: Vec::new(),
                outboxes: Vec::new(),
                once_served: Vec::new(),
            },
        })
    }

    async fn server(&mut self, server: &ServerConfig) -> Result<(), SetupError> {
        let hosts = listen_hosts(server)?;
        let mut parts = Parts::default();
        if self.has_acme {
            parts.chain.push(Arc::new(Challenger(Arc::clone(&self.challenges))));
        }
        for plugin in &server.plugins {
            self.plugin(plugin, server, &hosts, &mut parts).await?;
        }
        if let (Some(cache), Some(short)) = (parts.cache.take(), &parts.short) {
            cache.leave_to(ShortPlan { cache: None, ..short.clone() });
        }
        if let Some(transfer) = &parts.transfer {
            transfer.give(std::mem::take(&mut parts.sources));
        }
        if parts.only_long {
            parts.short = None;
        }
        if let Some(short) = &mut parts.short {
            short.acme = self.has_acme;
        }
        if let Some(looping) = parts.looping {
            let forwards = parts.forwards;
            self.plan.once_served.push(Box::new(move || looping.watch(&forwards)));
        }
        let chain: Chain = parts.chain.into();
        let collector = parts.metadata.map(|zones| Collector::new(zones, parts.providers));
        let collector = collector.map(Arc::new);
        let view = parts.view.as_ref().map_or("", |view| view.name());
        let sockets = parts.sockets.map_or_else(cores, usize::from);
        let mut short = parts.short;
        let served: Vec<(Scheme, Domain, u16)> = server
            .served(self.workshop.default_port)
            .map(|(scheme, zone, port)| (scheme, zone.clone(), port))
            .collect();
        for (scheme, zone, port) in served {
            for host in &hosts {
                let endpoint = Endpoint { scheme, address: SocketAddr::new(*host, port) };
                let manners = self.manners.entry(endpoint).or_default();
                manners.take(server, scheme);
                manners.identity = manners.identity.take().or_else(|| parts.identity.clone());
                let labels = Arc::new(Labels {
                    server: endpoint.to_string(),
                    zone: zone.to_string(),
                    view: view.to_owned(),
                });
                let series = parts.prometheus.then(|| {
                    self.enabled(&labels, server);
                    let plugin = parts.first_handler.to_owned();
                    let Labels { server, zone, view } = Labels::clone(&labels);
                    self.workshop.metrics.queries().series(&Series { server, zone, view, plugin })
                });
                if parts.shed {
                    self.shed.insert(endpoint);
                }
                let most = self.sockets.entry(endpoint).or_insert(sockets);
                *most = sockets.max(*most);
                self.blocks.entry(endpoint).or_default().push(Block {
                    zone: zone.to_wire(),
                    chain: Arc::clone(&chain),
                    short: short.clone().map(|plan| plan.counting_as(&labels)),
                    series,
                    errors: parts.errors.clone(),
                    log: parts.log.clone(),
                    taps: parts.taps.clone(),
                    payload: parts.payload,
                    panics: Arc::clone(self.workshop.metrics.queries()),
                    labels,
                    metadata: collector.clone(),
                    view: parts.view.clone(),
                });
            }
        }
        short.take();
        Ok(())
    }

    fn enabled(&self, labels: &Labels, server: &ServerConfig) {
        for plugin in server.plugins.iter().filter(|plugin| plugin.handles_queries()) {
            let labels = [&*labels.server, &labels.zone, &labels.view, plugin.name()];
            self.workshop.metrics.plugin_enabled.with_label_values(&labels).set(1);
        }
    }

    async fn finish(mut self) -> Result<Plan, SetupError> {
        for (endpoint, blocks) in self.blocks {
            let label = endpoint.to_string();
            let dropped = self.workshop.metrics.queries().series(&Series {
                server: label.clone(),
                zone: "dropped".to_owned(),
                view: String::new(),
                plugin: String::new(),
            });
            let sockets = self.sockets.get(&endpoint).copied().unwrap_or(1);
            let shed = self.shed.contains(&endpoint);
            let shed = shed.then(|| Shed::new(&label, &self.workshop.metrics));
            let routes = Arc::new(Routes::new(blocks, dropped).shedding(shed));
            let manners = self.manners.remove(&endpoint).unwrap_or_default();
            let (encrypted, quic) = encrypted(endpoint.scheme, manners)?;
            let wanted = Wanted { routes, sockets, encrypted: Arc::new(encrypted), quic };
            self.plan.wanted.insert(endpoint, wanted);
        }
        let state = Arc::clone(&self.workshop.state);
        let readiness = Arc::new(Readiness::new(self.monitor, self.ready, state));
        let mut webs: HashMap<SocketAddr, Web> = HashMap::new();
        for (place, page) in self.pages {
            for address in resolve(&place).await? {
                let web = match &page {
                    Page::Metrics(secured) => secured.web.clone(),
                    Page::Health | Page::Ready => Web::default(),
                };
                let before = webs.entry(address).or_insert_with(|| web.clone());
                if *before != web {
                    let what = format!("pages at {address} need the same `tls`, or none");
                    return Err(SetupError::Plugin { plugin: "prometheus", what });
                }
                let pages = self.plan.pages.entry(address).or_default();
                match &page {
                    Page::Health => {
                        pages.health = true;
                        let probe = Probe::start(address, &self.workshop.metrics);
                        self.plan.keep.push(Box::new(probe));
                    }
                    Page::Ready => pages.ready = Some(Arc::clone(&readiness)),
                    Page::Metrics(secured) => {
                        pages.metrics = Some(Arc::clone(&self.workshop.metrics));
                        let Secured { tls, headers, .. } = &**secured;
                        (pages.tls, pages.headers) = (tls.clone(), headers.clone());
                    }
                }
            }
        }
        for (_, cluster) in self.clusters {
            self.plan.keep.push(Box::new(cluster));
        }
        Ok(self.plan)
    }
}

/// What handshakes at an endpoint need.
fn encrypted(
    scheme: Scheme,
    manners: Manners,
) -> Result<(Encrypted, Option<quinn::ServerConfig>), SetupError> {
    let failed = |what: String| SetupError::Plugin { plugin: "tls", what };
    let quic = match scheme {
        Scheme::Quic => Some(quic::server_config(&manners, b"doq").map_err(failed)?),
        Scheme::Https3 => Some(quic::server_config(&manners, b"h3").map_err(failed)?),
        _ => None,
    };
    let protocols: &[&[u8]] = if scheme == Scheme::Https { &[b"h2", b"http/1.1"] } else { &[] };
    let acceptor = match (&manners.identity, scheme) {
        (Some(identity), Scheme::Tls | Scheme::Https) => {
            let config = identity.server_config(protocols);
            Some(Arc::new(config.map_err(|error| failed(error.to_string()))?).into())
        }
        _ => None,
    };
    let connections = manners.connections.map(Admission::open);
    Ok((Encrypted { manners, acceptor, connections }, quic))
}

/// How the block looks at the cluster.
fn zone_view(
    config: &kubernetes::config::Config,
    server: &ServerConfig,
    own_addresses: Vec<IpAddr>,
) -> View {
    let mut view = kubernetes::view(config, own_addresses);
    view.external = server.plugins.iter().find_map(|plugin| match plugin {
        PluginConfig::K8sExternal(config) => Some(ExternalNames { headless: config.headless }),
        _ => None,
    });
    view
}

fn kubernetes_of(server: &ServerConfig) -> impl Iterator<Item = &kubernetes::config::Config> {
    server.plugins.iter().filter_map(|plugin| match plugin {
        PluginConfig::Kubernetes(config) => Some(&**config),
        _ => None,
    })
}
