//! The plugins of one server block: from their settings to what runs.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use hickory_proto::rr::Name;

use super::{Builder, Page, SetupError, zone_view};
use crate::{
    authority::held::Notify,
    corefile::{check::ServerConfig, domain::Domain},
    metrics::cluster::Watched,
    plugin::Plugin,
    plugins::{
        PluginConfig,
        acl::Acl,
        any::Any,
        auto::Auto,
        autopath::Autopath,
        cache::{self, Cache},
        cancel::Cancel,
        chaos::Chaos,
        dns64::Dns64,
        dnstap::Taps,
        errors::{ErrorLog, stack},
        extension::Extended,
        file::File,
        forward::{self, Forward},
        header::Header,
        hosts::Hosts,
        k8s_external::External,
        kubernetes::{self, Kubernetes, metadata::Known, programming::Programming},
        loadbalance::Loadbalance,
        local::{self, Local},
        log::QueryLog,
        r#loop::Loop,
        metadata::Provider,
        minimal::Minimal,
        nsid::Nsid,
        rewrite::{Rewrite, short::Renames},
        secondary::Secondary,
        template::{Template, short::Denials},
        tls::{self, identity::Identity},
        transfer::{Transfer, source::Source},
        view::View,
        whoami::Whoami,
    },
    server::{
        cluster_source::ClusterReady,
        endpoint::Endpoint,
        routes::own_addresses,
        short::{ClaimNames, ShortPlan},
    },
    zone::Table,
};

/// What the plugins of one server block came to.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) chain: Vec<Arc<dyn Plugin>>,
    pub(super) short: Option<ShortPlan>,
    pub(super) cache: Option<Cache>,
    /// A plugin that the short way can't stand in for.
    pub(super) only_long: bool,
    pub(super) errors: Option<Arc<ErrorLog>>,
    pub(super) log: Option<Arc<QueryLog>>,
    pub(super) taps: Taps,
    /// `shed` is there.
    pub(super) shed: bool,
    /// `bufsize`.
    pub(super) payload: Option<u16>,
    pub(super) prometheus: bool,
    /// First plugin behind `prometheus` that handles queries.
    pub(super) first_handler: &'static str,
    pub(super) sockets: Option<u16>,
    pub(super) looping: Option<Arc<Loop>>,
    pub(super) forwards: Vec<Arc<Forward>>,
    /// Zones of `metadata`.
    pub(super) metadata: Option<Vec<Domain>>,
    /// Plugins that know something about queries, for `metadata`.
    pub(super) providers: Vec<Arc<dyn Provider>>,
    pub(super) view: Option<Arc<View>>,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) autopath: Option<Arc<Autopath>>,
    pub(super) external: Option<Arc<External>>,
    pub(super) transfer: Option<Arc<Transfer>>,
    /// Plugins that have zones, for `transfer`.
    pub(super) sources: Vec<Arc<dyn Source>>,
}

impl Parts {
    /// What zones tell of their changes.
    fn notify(&self) -> Option<Notify> {
        let transfer = Arc::clone(self.transfer.as_ref()?);
        Some(Arc::new(move |zone| transfer.notify(zone)))
    }

    pub(super) fn short_plan(&mut self) -> &mut ShortPlan {
        self.short.get_or_insert_default()
    }
}

impl Builder<'_> {
    /// Turns one directive's settings into what runs for them.
    pub(super) async fn plugin(
        &mut self,
        plugin: &PluginConfig,
        server: &ServerConfig,
        hosts: &[IpAddr],
        parts: &mut Parts,
    ) -> Result<(), SetupError> {
        // What stands before `prometheus` in a chain is no handler behind it.
        if parts.prometheus && parts.first_handler.is_empty() && plugin.handles_queries() {
            parts.first_handler = plugin.name();
        }
        match plugin {
            PluginConfig::Bind(_) => {}
            PluginConfig::Metadata(config) => parts.metadata = Some(config.zones.clone()),
            // The endpoints take these in by themselves.
            PluginConfig::Timeouts(_)
            | PluginConfig::Https(_)
            | PluginConfig::Https3(_)
            | PluginConfig::Quic(_) => {}
            PluginConfig::Tls(config) => parts.identity = Some(self.identity(config)?),
            PluginConfig::Multisocket(config) => parts.sockets = config.sockets,
            PluginConfig::Reload(config) => self.plan.reload = Some(*config),
            PluginConfig::Ready(config) => {
                self.monitor = config.monitor;
                self.pages.push((config.address.clone(), Page::Ready));
            }
            PluginConfig::Health(config) => {
                self.plan.lameduck = self.plan.lameduck.max(config.lameduck);
                self.pages.push((config.address.clone(), Page::Health));
            }
            PluginConfig::Prometheus(config) => {
                parts.prometheus = true;
                let page = self.metrics_page(&config.web)?;
                self.pages.push((config.address.clone(), page));
            }
            PluginConfig::Errors(config) => parts.errors = Some(Arc::new(ErrorLog::new(config))),
            PluginConfig::Log(config) => {
                let lost = self.workshop.metrics.log_lost.with_label_values(&["queries"]);
                let log = QueryLog::new(config.clone(), lost);
                log.start_printing(std::io::stdout());
                // Labels are worked out where the query is an object.
                parts.only_long |= parts.metadata.is_some() && log.wants_labels();
                parts.log = Some(log);
            }
            PluginConfig::Trace(config) => self.trace(config, server, hosts, parts)?,
            PluginConfig::Dnstap(config) => self.dnstap(config, parts)?,
            PluginConfig::Loadbalance(config) => {
                parts.chain.push(Arc::new(Loadbalance::start(config)));
                parts.only_long |= !Loadbalance::is_plain(config);
                parts.short_plan().rotate = true;
            }
            PluginConfig::Template(config) => {
                let denials = Denials::new(config, &self.workshop.metrics);
                parts.short_plan().denials = Some(Arc::new(denials));
                parts.chain.push(Arc::new(Template::new(config, &self.workshop.metrics)));
            }
            PluginConfig::View(config) => {
                let view = View::new(config);
                parts.providers.push(Arc::clone(&view) as Arc<dyn Provider>);
                parts.view = Some(view);
                // Which block a query is for shows on the long way only.
                parts.only_long = true;
            }
            PluginConfig::Rewrite(config) => {
                parts.chain.push(Arc::new(Rewrite::new(config)));
                match Renames::of(config) {
                    Some(renames) => parts.short_plan().renames = Some(Arc::new(renames)),
                    None => parts.only_long = true,
                }
            }
            PluginConfig::K8sExternal(config) => {
                let external = External::new(config);
                parts.chain.push(Arc::clone(&external) as Arc<dyn Plugin>);
                parts.sources.push(Arc::clone(&external) as Arc<dyn Source>);
                parts.short_plan().external = Some(Arc::clone(&external) as Arc<dyn ClaimNames>);
                parts.external = Some(external);
            }
            PluginConfig::Kubernetes(config) => self.kubernetes(config, server, hosts, parts),
            PluginConfig::Hosts(config) => {
                let hosts = Hosts::start(config, &self.workshop.metrics);
                parts.short_plan().hosts = Some(Arc::clone(&hosts) as Arc<dyn ClaimNames>);
                parts.chain.push(hosts);
            }
            PluginConfig::Transfer(config) => {
                let transfer = Transfer::new(config);
                parts.chain.push(Arc::clone(&transfer) as Arc<dyn Plugin>);
                parts.transfer = Some(transfer);
            }
            PluginConfig::File(config) => {
                let file = File::start(config, parts.notify());
                let zones = file.zones().iter().map(|zone| zone.name.clone()).collect();
                self.tell_at_start(parts, zones);
                parts.chain.push(Arc::clone(&file) as Arc<dyn Plugin>);
                parts.sources.push(file);
            }
            PluginConfig::Auto(config) => {
                let auto = Auto::start(config, parts.notify());
                self.tell_at_start(parts, auto.names());
                parts.chain.push(Arc::clone(&auto) as Arc<dyn Plugin>);
                parts.sources.push(auto);
            }
            PluginConfig::Secondary(config) => {
                let secondary = Secondary::start(config, parts.notify().as_ref());
                parts.chain.push(Arc::clone(&secondary) as Arc<dyn Plugin>);
                parts.sources.push(secondary);
            }
            PluginConfig::Bufsize(config) => parts.payload = Some(config.size),
            PluginConfig::Nsid(config) => {
                parts.chain.push(Arc::new(Nsid::new(config)));
                parts.short_plan().nsid = true;
            }
            // Paths have it in front already.
            PluginConfig::Root(_) => {}
            PluginConfig::Debug(_) => {
                stack::keep();
                self.plan.debug = true;
            }
            PluginConfig::On(config) => self.plan.hooks.extend(config.hooks.iter().cloned()),
            PluginConfig::Shed(_) => parts.shed = true,
            PluginConfig::Cancel(config) => parts.chain.push(Arc::new(Cancel(*config))),
            PluginConfig::Local(config) => {
                parts.chain.push(Arc::new(Local::new(config, &self.workshop.metrics)));
                parts.short_plan().local = Some(local::Names { prefix: config.prefix });
            }
            PluginConfig::Dns64(config) => {
                parts.chain.push(Arc::new(Dns64::new(config, &self.workshop.metrics)));
                parts.short_plan().dns64 = true;
            }
            // Its questions are of class CH, which the short way does not take.
            PluginConfig::Chaos(config) => parts.chain.push(Arc::new(Chaos::new(config))),
            PluginConfig::Autopath(config) => {
                let autopath = Autopath::new(config, &self.workshop.metrics);
                parts.chain.push(Arc::clone(&autopath) as Arc<dyn Plugin>);
                parts.autopath = Some(autopath);
                parts.only_long = true;
            }
            PluginConfig::Acl(config) => {
                parts.chain.push(Arc::new(Acl::new(config, &self.workshop.metrics)));
                parts.only_long = true;
            }
            PluginConfig::Any(_) => {
                parts.chain.push(Arc::new(Any));
                parts.short_plan().any = true;
            }
            PluginConfig::Header(config) => {
                parts.chain.push(Arc::new(Header(*config)));
                parts.short_plan().header = config.response;
            }
            PluginConfig::Minimal(_) => {
                parts.chain.push(Arc::new(Minimal));
                parts.short_plan().minimal = true;
            }
            PluginConfig::Extension(Extended(plugin)) => {
                parts.only_long = true;
                parts.chain.push(Arc::clone(plugin));
            }
            PluginConfig::Whoami(_) => parts.chain.push(Arc::new(Whoami)),
            PluginConfig::Loop(config) => {
                let detected = self.workshop.metrics.loop_detected.clone();
                let looping = Loop::new(config, detected, self.workshop.loop_exit.clone());
                parts.looping = Some(Arc::clone(&looping));
                parts.chain.push(looping);
            }
            PluginConfig::Forward(config) => {
                let mut behind = server.plugins.iter().skip_while(|p| !std::ptr::eq(*p, plugin));
                let followed = matches!(behind.nth(1), Some(PluginConfig::Forward(_)));
                let forward = self.forward(config, followed, &parts.taps).await?;
                parts.forwards.push(Arc::clone(&forward));
                parts.chain.push(forward);
            }
            PluginConfig::Cache(config) => self.cache(config, server, hosts, parts),
        }
        Ok(())
    }

    /// Has `transfer` tell of these zones once they are served: they may have changed while nobody served them.
    fn tell_at_start(&mut self, parts: &Parts, zones: Vec<Name>) {
        if let Some(notify) = parts.notify() {
            let tell = move || zones.iter().for_each(|zone| notify(zone));
            self.plan.once_served.push(Box::new(tell));
        }
    }

    /// The certificate of these settings, one for all blocks that have them.
    pub(super) fn identity(
        &mut self,
        config: &tls::config::Config,
    ) -> Result<Arc<Identity>, SetupError> {
        if let Some((_, held)) = self.identities.iter().find(|(held, _)| held == config) {
            return Ok(Arc::clone(held));
        }
        let identity = Identity::start(config, &self.workshop.metrics, &self.challenges)
            .map_err(|what| SetupError::Plugin { plugin: "tls", what })?;
        if let Identity::Acme(managed) = &*identity {
            let served = managed.served();
            self.plan.once_served.push(Box::new(move || served.notify_one()));
        }
        self.identities.push((config.clone(), Arc::clone(&identity)));
        Ok(identity)
    }

    async fn forward(
        &self,
        config: &forward::config::Config,
        followed: bool,
        taps: &Taps,
    ) -> Result<Arc<Forward>, SetupError> {
        let metrics = &self.workshop.metrics.forward;
        let started = Forward::start(config, metrics, followed, taps.clone()).await;
        started.map_err(|error| SetupError::Plugin { plugin: "forward", what: error.to_string() })
    }

    fn cache(
        &self,
        config: &cache::config::Config,
        server: &ServerConfig,
        hosts: &[IpAddr],
        parts: &mut Parts,
    ) {
        let first = server.served(self.workshop.default_port).next().zip(hosts.first());
        let endpoint = first.map(|((scheme, _, port), host)| Endpoint {
            scheme,
            address: SocketAddr::new(*host, port),
        });
        let labels = cache::counts::Labels {
            // CoreDNS has the server of each query; the cache is one for all of the block's.
            server: endpoint.map_or_else(String::new, |endpoint| endpoint.to_string()),
            zones: config.zones.iter().map(Domain::as_str).collect::<Vec<_>>().join(","),
            view: server.view().unwrap_or_default().to_owned(),
        };
        let cache = Cache::new(config, &labels, &self.workshop.metrics);
        parts.short_plan().cache = Some(Arc::new(cache.clone()));
        parts.chain.push(Arc::new(cache.clone()));
        parts.cache = Some(cache);
    }

    fn kubernetes(
        &mut self,
        config: &kubernetes::config::Config,
        server: &ServerConfig,
        hosts: &[IpAddr],
        parts: &mut Parts,
    ) {
        let Some((_, cluster)) = self.clusters.iter().find(|(api, _)| *api == config.api) else {
            return;
        };
        let (table, follower) = Table::new(zone_view(config, server, own_addresses(hosts)));
        if let Some(external) = &parts.external {
            external.answer_from(&table);
        }
        if let Some(autopath) = &parts.autopath {
            autopath.look_into(&table);
        }
        let reader = cluster.reader();
        self.plan.keep.push(Box::new(reader.follow(follower)));
        // Behind the table: what is observed can be answered.
        let programming = Programming::new(&self.workshop.metrics);
        self.plan.keep.push(Box::new(reader.follow(programming)));
        self.plan.wait_for.push((Arc::clone(cluster), config.startup_timeout));
        if parts.metadata.is_some() {
            let (known, follower) = Known::new(&table.view);
            let following = follower.map(|follower| reader.follow(follower));
            self.plan.keep.extend(following.map(|kept| Box::new(kept) as _));
            parts.providers.push(known);
        }
        let zone = config.zones.first().map(Domain::to_string).unwrap_or_default();
        self.plan.watched.push(Watched { zone, reader, table: table.clone() });
        let fallthrough = kubernetes::fallthrough(config);
        self.ready.push(Arc::new(ClusterReady(Arc::clone(cluster))));
        let kubernetes = Arc::new(Kubernetes::new(table.clone(), fallthrough.clone()));
        parts.chain.push(Arc::clone(&kubernetes) as Arc<dyn Plugin>);
        parts.sources.push(kubernetes);
        let short = parts.short_plan();
        short.table = Some(table);
        short.fallthrough = fallthrough;
    }
}
