//! What is told to others of a server block's queries: metrics, dnstap, traces.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Builder, Page, Secured, SetupError, block::Parts};
use crate::{
    corefile::check::ServerConfig,
    plugins::{
        PluginConfig,
        dnstap::{self, Taps},
        prometheus::web::Web,
        tls,
        trace::{self, Trace},
    },
    server::outbox::Outbox,
};

impl Builder<'_> {
    /// `dnstap`, which the server itself tells.
    pub(super) fn dnstap(
        &mut self,
        config: &dnstap::config::Config,
        parts: &mut Parts,
    ) -> Result<(), SetupError> {
        let taps = Taps::new(config, &self.workshop.metrics)
            .map_err(|what| SetupError::Plugin { plugin: "dnstap", what })?;
        self.plan.outboxes.extend(taps.all().map(|tap| Arc::clone(tap) as Arc<dyn Outbox>));
        parts.taps = taps.clone();
        self.plan.once_served.push(Box::new(move || taps.start()));
        // What is told takes more than the short way may.
        parts.only_long = true;
        Ok(())
    }

    /// The page of metrics as the file of `tls` has it.
    pub(super) fn metrics_page(&mut self, web: &Web) -> Result<Page, SetupError> {
        let failed = |what: String| SetupError::Plugin { plugin: "prometheus", what };
        let tls = match &web.certificate {
            None => None,
            Some(certificate) => {
                let identity = self.identity(&tls::config::Config::Files(certificate.clone()))?;
                let tls = identity.server_config_of(&web.versions.all(), &[b"http/1.1"]);
                let tls = tls.map_err(|error| failed(error.to_string()))?;
                // The certificate's files are looked at as long as somebody holds it.
                self.plan.keep.push(Box::new(identity));
                Some(Arc::new(tls).into())
            }
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &web.headers {
            let name = HeaderName::try_from(name).map_err(|error| failed(error.to_string()))?;
            let value = HeaderValue::try_from(value).map_err(|error| failed(error.to_string()))?;
            headers.insert(name, value);
        }
        Ok(Page::Metrics(Box::new(Secured { web: web.clone(), tls, headers })))
    }

    /// `trace`, which is part of the chain.
    pub(super) fn trace(
        &mut self,
        config: &trace::config::Config,
        server: &ServerConfig,
        hosts: &[IpAddr],
        parts: &mut Parts,
    ) -> Result<(), SetupError> {
        let mut beside = Vec::new();
        for plugin in &server.plugins {
            let times = match plugin {
                PluginConfig::Dnstap(config) => config.taps.len(),
                plugin if trace::BESIDE.contains(&plugin.name()) => 1,
                _ => 0,
            };
            beside.extend(std::iter::repeat_n(plugin.name(), times));
        }
        let port = server.served(self.workshop.default_port).next().map(|(_, _, port)| port);
        // As in CoreDNS, only what `bind` says.
        let host = server.bind().and(hosts.first());
        let at = host.zip(port).map(|(host, port)| SocketAddr::new(*host, port));
        let trace = Trace::new(config, at, beside, &self.workshop.metrics)
            .map_err(|what| SetupError::Plugin { plugin: "trace", what })?;
        let trace = Arc::new(trace);
        self.plan.outboxes.push(trace.outbox());
        let starting = Arc::clone(&trace);
        self.plan.once_served.push(Box::new(move || starting.start()));
        parts.chain.push(trace);
        parts.only_long = true;
        Ok(())
    }
}
