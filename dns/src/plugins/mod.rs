//! The plugins: a folder each, with `config.rs` (what its directive may say), its code, its tests and its README.
//!
//! [`REGISTRY`] is the one list of them, in the order in which they see a query.

pub mod bind;
pub mod cache;
pub mod errors;
pub mod forward;
pub mod health;
pub mod hosts;
pub mod https;
pub mod https3;
pub mod kubernetes;
mod limits;
pub mod loadbalance;
pub mod log;
pub mod r#loop;
pub mod metadata;
pub mod multisocket;
pub mod prometheus;
pub mod quic;
pub mod ready;
pub mod reload;
pub mod timeouts;
pub mod tls;
pub mod whoami;

pub use limits::Limits;

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// A checked directive.
#[derive(Debug, Clone, PartialEq)]
pub enum PluginConfig {
    /// `metadata`.
    Metadata(metadata::config::Config),
    /// `quic`.
    Quic(Limits),
    /// `https`.
    Https(Limits),
    /// `https3`.
    Https3(Limits),
    /// `timeouts`.
    Timeouts(timeouts::config::Config),
    /// `multisocket`.
    Multisocket(multisocket::config::Config),
    /// `reload`.
    Reload(reload::config::Config),
    /// All `bind` lines of a block.
    Bind(bind::config::Config),
    /// `ready`.
    Ready(ready::config::Config),
    /// `health`.
    Health(health::config::Config),
    /// `prometheus`.
    Prometheus(prometheus::config::Config),
    /// `errors`.
    Errors(errors::config::Config),
    /// All `log` lines of a block.
    Log(log::config::Config),
    /// `loadbalance`.
    Loadbalance(loadbalance::config::Config),
    /// `cache`.
    Cache(Box<cache::config::Config>),
    /// `tls`.
    Tls(Box<tls::config::Config>),
    /// `hosts`.
    Hosts(Box<hosts::config::Config>),
    /// `kubernetes`.
    Kubernetes(Box<kubernetes::config::Config>),
    /// `loop`.
    Loop(r#loop::config::Config),
    /// One `forward`; a block may have several.
    Forward(Box<forward::config::Config>),
    /// `whoami`.
    Whoami(whoami::config::Config),
}

impl PluginConfig {
    /// The directive's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Metadata(_) => "metadata",
            Self::Quic(_) => "quic",
            Self::Https(_) => "https",
            Self::Https3(_) => "https3",
            Self::Timeouts(_) => "timeouts",
            Self::Multisocket(_) => "multisocket",
            Self::Reload(_) => "reload",
            Self::Bind(_) => "bind",
            Self::Ready(_) => "ready",
            Self::Health(_) => "health",
            Self::Prometheus(_) => "prometheus",
            Self::Errors(_) => "errors",
            Self::Log(_) => "log",
            Self::Loadbalance(_) => "loadbalance",
            Self::Cache(_) => "cache",
            Self::Tls(_) => "tls",
            Self::Hosts(_) => "hosts",
            Self::Kubernetes(_) => "kubernetes",
            Self::Loop(_) => "loop",
            Self::Forward(_) => "forward",
            Self::Whoami(_) => "whoami",
        }
    }

    /// Whether the plugin sees queries; the others only set something up.
    pub const fn handles_queries(&self) -> bool {
        !matches!(
            self,
            Self::Quic(_)
                | Self::Https(_)
                | Self::Https3(_)
                | Self::Timeouts(_)
                | Self::Tls(_)
                | Self::Multisocket(_)
                | Self::Reload(_)
                | Self::Bind(_)
                | Self::Ready(_)
                | Self::Health(_)
        )
    }

    /// Takes in a further directive of the same plugin, where several make one; gives back any other.
    pub(crate) fn absorb(&mut self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Bind(all), Self::Bind(more)) => all.groups.extend(more.groups),
            (Self::Log(all), Self::Log(more)) => all.rules.extend(more.rules),
            (_, other) => return Some(other),
        }
        None
    }
}

/// One plugin of CoreDNS's `plugin.cfg`.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The directive.
    pub name: &'static str,
    /// Whether we have it.
    pub support: Support,
}

/// Whether we have a plugin.
#[derive(Debug, Clone, Copy)]
pub enum Support {
    /// We do.
    Ready {
        /// Reads a directive; `None` after a mistake was noted.
        parse: fn(&Line, &mut Checker<'_>) -> Option<PluginConfig>,
        /// Whether a server block may have several.
        repeats: bool,
    },
    /// CoreDNS has it.
    NotYet,
}

/// Every plugin of CoreDNS 1.15, in the order in which they see a query.
pub const REGISTRY: [Entry; 62] = [
    not_yet("root"),
    once("metadata", |line, cx| metadata::config::parse(line, cx).map(PluginConfig::Metadata)),
    not_yet("geoip"),
    not_yet("cancel"),
    not_yet("proxyproto"),
    once("quic", |line, cx| quic::config::parse(line, cx).map(PluginConfig::Quic)),
    not_yet("grpc_server"),
    once("https", |line, cx| https::config::parse(line, cx).map(PluginConfig::Https)),
    once("https3", |line, cx| https3::config::parse(line, cx).map(PluginConfig::Https3)),
    once("timeouts", |line, cx| timeouts::config::parse(line, cx).map(PluginConfig::Timeouts)),
    once("multisocket", |line, cx| {
        multisocket::config::parse(line, cx).map(PluginConfig::Multisocket)
    }),
    once("reload", |line, cx| reload::config::parse(line, cx).map(PluginConfig::Reload)),
    not_yet("nsid"),
    not_yet("bufsize"),
    repeats("bind", |line, cx| bind::config::parse(line, cx).map(PluginConfig::Bind)),
    not_yet("debug"),
    not_yet("trace"),
    once("ready", |line, cx| ready::config::parse(line, cx).map(PluginConfig::Ready)),
    once("health", |line, cx| health::config::parse(line, cx).map(PluginConfig::Health)),
    not_yet("pprof"),
    not_yet("shed"),
    once("prometheus", |line, cx| {
        prometheus::config::parse(line, cx).map(PluginConfig::Prometheus)
    }),
    once("errors", |line, cx| errors::config::parse(line, cx).map(PluginConfig::Errors)),
    repeats("log", |line, cx| log::config::parse(line, cx).map(PluginConfig::Log)),
    not_yet("dnstap"),
    not_yet("local"),
    not_yet("dns64"),
    not_yet("siit"),
    not_yet("any"),
    not_yet("chaos"),
    once("loadbalance", |line, cx| {
        loadbalance::config::parse(line, cx).map(PluginConfig::Loadbalance)
    }),
    not_yet("tsig"),
    not_yet("rewrite"),
    not_yet("autopath"),
    not_yet("acl"),
    once("cache", |line, cx| cache::config::parse(line, cx).map(Box::new).map(PluginConfig::Cache)),
    not_yet("header"),
    not_yet("dnssec"),
    once("tls", |line, cx| tls::config::parse(line, cx).map(Box::new).map(PluginConfig::Tls)),
    not_yet("minimal"),
    not_yet("template"),
    not_yet("transfer"),
    not_yet("dynupdate"),
    once("hosts", |line, cx| hosts::config::parse(line, cx).map(Box::new).map(PluginConfig::Hosts)),
    not_yet("route53"),
    not_yet("azure"),
    not_yet("clouddns"),
    not_yet("k8s_external"),
    once("kubernetes", |line, cx| {
        kubernetes::config::parse(line, cx).map(Box::new).map(PluginConfig::Kubernetes)
    }),
    not_yet("file"),
    not_yet("auto"),
    not_yet("secondary"),
    not_yet("etcd"),
    once("loop", |line, cx| r#loop::config::parse(line, cx).map(PluginConfig::Loop)),
    repeats("forward", |line, cx| {
        forward::config::parse(line, cx).map(Box::new).map(PluginConfig::Forward)
    }),
    not_yet("grpc"),
    not_yet("erratic"),
    once("whoami", |line, cx| whoami::config::parse(line, cx).map(PluginConfig::Whoami)),
    not_yet("on"),
    not_yet("sign"),
    not_yet("view"),
    not_yet("nomad"),
];

const fn once(
    name: &'static str,
    parse: fn(&Line, &mut Checker<'_>) -> Option<PluginConfig>,
) -> Entry {
    Entry { name, support: Support::Ready { parse, repeats: false } }
}

const fn repeats(
    name: &'static str,
    parse: fn(&Line, &mut Checker<'_>) -> Option<PluginConfig>,
) -> Entry {
    Entry { name, support: Support::Ready { parse, repeats: true } }
}

const fn not_yet(name: &'static str) -> Entry {
    Entry { name, support: Support::NotYet }
}
