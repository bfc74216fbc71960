//! The plugins: a folder each, with `config.rs` (what its directive may say), its code, its tests and its README.
//!
//! [`REGISTRY`] is the one list of them, in the order in which they see a query.

pub mod about;
pub mod acl;
pub mod any;
pub mod auto;
pub mod autopath;
pub mod bind;
pub mod bufsize;
pub mod cache;
pub mod cancel;
pub mod chaos;
pub mod debug;
pub mod dns64;
pub mod dnstap;
pub mod errors;
pub mod extension;
pub mod file;
pub mod forward;
pub mod header;
pub mod health;
pub mod hosts;
pub mod https;
pub mod https3;
pub mod k8s_external;
pub mod kubernetes;
mod limits;
pub mod loadbalance;
pub mod local;
pub mod log;
pub mod r#loop;
pub mod metadata;
pub mod minimal;
pub mod multisocket;
pub mod nsid;
pub mod on;
pub mod prometheus;
pub mod quic;
pub mod ready;
pub mod reload;
pub mod rewrite;
pub mod root;
pub mod secondary;
pub mod shed;
#[cfg(test)]
pub(crate) mod stand_in;
pub mod template;
pub mod timeouts;
pub mod tls;
pub mod trace;
pub mod transfer;
pub mod view;
pub mod whoami;

pub use limits::Limits;

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// A checked directive.
#[derive(Debug, Clone, PartialEq)]
pub enum PluginConfig {
    /// `root`.
    Root(root::config::Config),
    /// `debug`.
    Debug(debug::config::Config),
    /// `shed`.
    Shed(shed::config::Config),
    /// All `on` lines of a block.
    On(on::config::Config),
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
    /// `trace`.
    Trace(Box<trace::config::Config>),
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
    /// `cancel`.
    Cancel(cancel::config::Config),
    /// `nsid`.
    Nsid(nsid::config::Config),
    /// `bufsize`.
    Bufsize(bufsize::config::Config),
    /// All `dnstap` directives of a block.
    Dnstap(dnstap::config::Config),
    /// `local`.
    Local(local::config::Config),
    /// `dns64`.
    Dns64(dns64::config::Config),
    /// `any`.
    Any(any::config::Config),
    /// `chaos`.
    Chaos(chaos::config::Config),
    /// `autopath`.
    Autopath(autopath::config::Config),
    /// All `acl` lines of a block.
    Acl(acl::config::Config),
    /// `header`.
    Header(header::config::Config),
    /// `minimal`.
    Minimal(minimal::config::Config),
    /// `loadbalance`.
    Loadbalance(loadbalance::config::Config),
    /// All `rewrite` lines of a block.
    Rewrite(rewrite::config::Config),
    /// `cache`.
    Cache(Box<cache::config::Config>),
    /// All `template` directives of a block.
    Template(Box<template::config::Config>),
    /// All `transfer` directives of a block.
    Transfer(transfer::config::Config),
    /// `tls`.
    Tls(Box<tls::config::Config>),
    /// `hosts`.
    Hosts(Box<hosts::config::Config>),
    /// `k8s_external`.
    K8sExternal(k8s_external::config::Config),
    /// `kubernetes`.
    Kubernetes(Box<kubernetes::config::Config>),
    /// All `file` directives of a block.
    File(file::config::Config),
    /// `auto`.
    Auto(Box<auto::config::Config>),
    /// All `secondary` directives of a block.
    Secondary(secondary::config::Config),
    /// `loop`.
    Loop(r#loop::config::Config),
    /// One `forward`; a block may have several.
    Forward(Box<forward::config::Config>),
    /// `whoami`.
    Whoami(whoami::config::Config),
    /// `view`.
    View(view::config::Config),
    /// A plugin of whoever embeds the server.
    Extension(extension::Extended),
}

impl PluginConfig {
    /// The directive's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Metadata(_) => "metadata",
            Self::Quic(_) => "quic",
            Self::Https(_) => "https",
            Self::Https3(_) => "https3",
            Self::Timeouts(_) => "timeouts",
            Self::Multisocket(_) => "multisocket",
            Self::Reload(_) => "reload",
            Self::Bind(_) => "bind",
            Self::Trace(_) => "trace",
            Self::Ready(_) => "ready",
            Self::Health(_) => "health",
            Self::Prometheus(_) => "prometheus",
            Self::Errors(_) => "errors",
            Self::Log(_) => "log",
            Self::Root(_) => "root",
            Self::Debug(_) => "debug",
            Self::Shed(_) => "shed",
            Self::On(_) => "on",
            Self::Cancel(_) => "cancel",
            Self::Dnstap(_) => "dnstap",
            Self::Local(_) => "local",
            Self::Dns64(_) => "dns64",
            Self::Chaos(_) => "chaos",
            Self::Autopath(_) => "autopath",
            Self::Acl(_) => "acl",
            Self::Nsid(_) => "nsid",
            Self::Bufsize(_) => "bufsize",
            Self::Any(_) => "any",
            Self::Header(_) => "header",
            Self::Minimal(_) => "minimal",
            Self::Loadbalance(_) => "loadbalance",
            Self::Rewrite(_) => "rewrite",
            Self::Cache(_) => "cache",
            Self::Template(_) => "template",
            Self::Transfer(_) => "transfer",
            Self::Tls(_) => "tls",
            Self::Hosts(_) => "hosts",
            Self::K8sExternal(_) => "k8s_external",
            Self::Kubernetes(_) => "kubernetes",
            Self::File(_) => "file",
            Self::Secondary(_) => "secondary",
            Self::Auto(_) => "auto",
            Self::Loop(_) => "loop",
            Self::Forward(_) => "forward",
            Self::Whoami(_) => "whoami",
            Self::View(_) => "view",
            Self::Extension(extended) => extended.0.name(),
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
            (Self::Acl(all), Self::Acl(more)) => all.rules.extend(more.rules),
            (Self::Dnstap(all), Self::Dnstap(more)) => all.taps.extend(more.taps),
            (Self::On(all), Self::On(more)) => all.hooks.extend(more.hooks),
            (Self::Secondary(all), Self::Secondary(more)) => all.absorb(more),
            (Self::Transfer(all), Self::Transfer(more)) => all.rules.extend(more.rules),
            (Self::File(all), Self::File(more)) => all.absorb(more),
            (Self::Log(all), Self::Log(more)) => all.rules.extend(more.rules),
            (Self::Rewrite(all), Self::Rewrite(more)) => all.extend(more),
            (Self::Template(all), Self::Template(more)) => all.rules.extend(more.rules),
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
    once("root", |line, cx| root::config::parse(line, cx).map(PluginConfig::Root)),
    once("metadata", |line, cx| metadata::config::parse(line, cx).map(PluginConfig::Metadata)),
    not_yet("geoip"),
    once("cancel", |line, cx| cancel::config::parse(line, cx).map(PluginConfig::Cancel)),
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
    once("nsid", |line, cx| nsid::config::parse(line, cx).map(PluginConfig::Nsid)),
    once("bufsize", |line, cx| bufsize::config::parse(line, cx).map(PluginConfig::Bufsize)),
    repeats("bind", |line, cx| bind::config::parse(line, cx).map(PluginConfig::Bind)),
    once("debug", |line, cx| debug::config::parse(line, cx).map(PluginConfig::Debug)),
    once("trace", |line, cx| trace::config::parse(line, cx).map(Box::new).map(PluginConfig::Trace)),
    once("ready", |line, cx| ready::config::parse(line, cx).map(PluginConfig::Ready)),
    once("health", |line, cx| health::config::parse(line, cx).map(PluginConfig::Health)),
    not_yet("pprof"),
    once("shed", |line, cx| shed::config::parse(line, cx).map(PluginConfig::Shed)),
    once("prometheus", |line, cx| {
        prometheus::config::parse(line, cx).map(PluginConfig::Prometheus)
    }),
    once("errors", |line, cx| errors::config::parse(line, cx).map(PluginConfig::Errors)),
    repeats("log", |line, cx| log::config::parse(line, cx).map(PluginConfig::Log)),
    repeats("dnstap", |line, cx| dnstap::config::parse(line, cx).map(PluginConfig::Dnstap)),
    once("local", |line, cx| local::config::parse(line, cx).map(PluginConfig::Local)),
    once("dns64", |line, cx| dns64::config::parse(line, cx).map(PluginConfig::Dns64)),
    not_yet("siit"),
    once("any", |line, cx| any::config::parse(line, cx).map(PluginConfig::Any)),
    once("chaos", |line, cx| chaos::config::parse(line, cx).map(PluginConfig::Chaos)),
    once("loadbalance", |line, cx| {
        loadbalance::config::parse(line, cx).map(PluginConfig::Loadbalance)
    }),
    not_yet("tsig"),
    repeats("rewrite", |line, cx| rewrite::config::parse(line, cx).map(PluginConfig::Rewrite)),
    once("autopath", |line, cx| autopath::config::parse(line, cx).map(PluginConfig::Autopath)),
    repeats("acl", |line, cx| acl::config::parse(line, cx).map(PluginConfig::Acl)),
    once("cache", |line, cx| cache::config::parse(line, cx).map(Box::new).map(PluginConfig::Cache)),
    once("header", |line, cx| header::config::parse(line, cx).map(PluginConfig::Header)),
    not_yet("dnssec"),
    once("tls", |line, cx| tls::config::parse(line, cx).map(Box::new).map(PluginConfig::Tls)),
    once("minimal", |line, cx| minimal::config::parse(line, cx).map(PluginConfig::Minimal)),
    repeats("template", |line, cx| {
        template::config::parse(line, cx).map(Box::new).map(PluginConfig::Template)
    }),
    repeats("transfer", |line, cx| transfer::config::parse(line, cx).map(PluginConfig::Transfer)),
    not_yet("dynupdate"),
    once("hosts", |line, cx| hosts::config::parse(line, cx).map(Box::new).map(PluginConfig::Hosts)),
    not_yet("route53"),
    not_yet("azure"),
    not_yet("clouddns"),
    once("k8s_external", |line, cx| {
        k8s_external::config::parse(line, cx).map(PluginConfig::K8sExternal)
    }),
    once("kubernetes", |line, cx| {
        kubernetes::config::parse(line, cx).map(Box::new).map(PluginConfig::Kubernetes)
    }),
    repeats("file", |line, cx| file::config::parse(line, cx).map(PluginConfig::File)),
    once("auto", |line, cx| auto::config::parse(line, cx).map(Box::new).map(PluginConfig::Auto)),
    repeats("secondary", |line, cx| {
        secondary::config::parse(line, cx).map(PluginConfig::Secondary)
    }),
    not_yet("etcd"),
    once("loop", |line, cx| r#loop::config::parse(line, cx).map(PluginConfig::Loop)),
    repeats("forward", |line, cx| {
        forward::config::parse(line, cx).map(Box::new).map(PluginConfig::Forward)
    }),
    not_yet("grpc"),
    not_yet("erratic"),
    once("whoami", |line, cx| whoami::config::parse(line, cx).map(PluginConfig::Whoami)),
    repeats("on", |line, cx| on::config::parse(line, cx).map(PluginConfig::On)),
    not_yet("sign"),
    once("view", |line, cx| view::config::parse(line, cx).map(PluginConfig::View)),
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
