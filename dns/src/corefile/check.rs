//! Every directive through its plugin's reader, and what only shows when blocks are seen together: plugins used
//! twice, zones served twice.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::address::{Address, Scheme};
use super::cause::Cause;
use super::checker::Checker;
use super::domain::Domain;
use super::mistake::{Finding, Findings, Mistake};
use super::nearest;
use super::source::{Files, Reader, Span};
use super::tree::{Corefile, Line, ServerBlock};
use crate::plugins::autopath::config::Search;
use crate::plugins::bind::config::{Config as Bind, Target};
use crate::plugins::extension::{Extended, Extension};
use crate::plugins::kubernetes::config::PodMode;
use crate::plugins::tls::acme::config::Acme;
use crate::plugins::tls::config::Config as Tls;
use crate::plugins::{PluginConfig, REGISTRY, Support};

/// What a configuration is checked against.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// The machine: files and environment variables.
    pub reader: &'a dyn Reader,
    /// The port of addresses that name none (`-dns.port`).
    pub default_port: u16,
    /// Plugins beside those of this crate.
    pub extensions: &'a [Extension],
}

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The server blocks in the order of the file.
    pub servers: Vec<ServerConfig>,
    /// What is allowed but likely not meant.
    pub warnings: Vec<Mistake>,
    /// SHA-512 over all files, lower-case hex.
    pub digest: String,
    /// The Corefile and all it imports.
    pub files: Files,
}

/// One server block.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// At least one.
    pub addresses: Vec<Address>,
    /// In the order in which they see a query; several `forward` in the order of the file.
    pub plugins: Vec<PluginConfig>,
    /// Where the block's addresses stand.
    pub span: Span,
}

impl Checked {
    /// Whether any block has the `reload` plugin.
    pub fn has_reload(&self) -> bool {
        let mut plugins = self.servers.iter().flat_map(|server| &server.plugins);
        plugins.any(|plugin| matches!(plugin, PluginConfig::Reload(_)))
    }
}

impl ServerConfig {
    /// The name of the block's `view`; a block with one does not take every query.
    pub fn view(&self) -> Option<&str> {
        self.plugins.iter().find_map(|plugin| match plugin {
            PluginConfig::View(config) => Some(&*config.name),
            _ => None,
        })
    }

    /// Scheme, zone and port of everything that the block serves.
    pub fn served(&self, default_port: u16) -> impl Iterator<Item = (Scheme, &Domain, u16)> {
        self.addresses.iter().flat_map(move |address| {
            let port = address.port.unwrap_or(address.scheme.port(default_port));
            address.zones.iter().map(move |zone| (address.scheme, zone, port))
        })
    }

    /// The certificate of its encrypted listeners.
    pub fn tls(&self) -> Option<&Tls> {
        self.plugins.iter().find_map(|plugin| match plugin {
            PluginConfig::Tls(config) => Some(&**config),
            _ => None,
        })
    }

    /// What gets its certificates by ACME.
    pub fn acme(&self) -> Option<&Acme> {
        match self.tls()? {
            Tls::Acme(config) => Some(config),
            Tls::Files(_) => None,
        }
    }

    /// The addresses that `bind` names; `None` without a `bind`, which is every address.
    pub fn bind(&self) -> Option<&Bind> {
        self.plugins.iter().find_map(|plugin| match plugin {
            PluginConfig::Bind(config) => Some(config),
            _ => None,
        })
    }
}

/// The servers that a Corefile describes, as far as it is right, and what is wrong.
pub(crate) fn servers(
    corefile: &Corefile,
    environment: &Environment<'_>,
) -> (Vec<ServerConfig>, Findings) {
    let mut findings = Findings::default();
    let servers: Vec<_> =
        corefile.blocks.iter().map(|block| server(block, environment, &mut findings)).collect();
    overlaps(&servers, environment.default_port, &mut findings);
    certificates(&servers, environment.default_port, &mut findings);
    shed(&servers, &mut findings);
    autopath(&servers, &mut findings);
    k8s_external(&servers, &mut findings);
    acme(&servers, &mut findings);
    (servers, findings)
}

fn server(
    block: &ServerBlock,
    environment: &Environment<'_>,
    findings: &mut Findings,
) -> ServerConfig {
    for address in block.addresses.iter().filter(|address| address.scheme == Scheme::Grpc) {
        let what = format!("serving {}://", address.scheme.name());
        findings.push(Finding::new(address.span, Cause::NotYet { what }));
    }
    let zones: Vec<_> =
        block.addresses.iter().flat_map(|address| address.zones.iter().cloned()).collect();
    let root = root(block);
    let mut first: HashMap<&str, Span> = HashMap::new();
    let mut plugins: Vec<(Place, PluginConfig)> = Vec::new();
    for line in &block.directives {
        let name = &*line.name().text;
        if let Some(extension) = environment.extensions.iter().find(|one| one.name == name) {
            let reader = environment.reader;
            let mut checker = Checker::new(extension.name, &zones, root, reader, findings);
            let config = (extension.parse)(line, &mut checker);
            let place = Place::before(extension.before);
            plugins.extend(config.map(|plugin| (place, PluginConfig::Extension(Extended(plugin)))));
            continue;
        }
        let Some(index) = REGISTRY.iter().position(|entry| entry.name == name) else {
            findings.push(unknown_plugin(line, environment.extensions));
            continue;
        };
        let entry = &REGISTRY[index];
        let Support::Ready { parse, repeats } = entry.support else {
            let what = format!("the plugin `{}`", entry.name);
            findings.push(Finding::new(line.name().span, Cause::NotYet { what }));
            continue;
        };
        let mut checker = Checker::new(entry.name, &zones, root, environment.reader, findings);
        let config = parse(line, &mut checker);
        if let Some(&earlier) = first.get(entry.name).filter(|_| !repeats) {
            let cause = Cause::Once { name: entry.name.to_owned(), place: "server block" };
            findings.push(Finding::new(line.name().span, cause).beside(earlier, "first used here"));
            continue;
        }
        first.entry(entry.name).or_insert(line.name().span);
        plugins.extend(config.map(|config| (Place::of(index), config)));
    }
    plugins.sort_by_key(|(place, _)| *place);
    let mut chain: Vec<PluginConfig> = Vec::new();
    for (_, plugin) in plugins {
        let rest = match chain.last_mut() {
            Some(last) => last.absorb(plugin),
            None => Some(plugin),
        };
        chain.extend(rest);
    }
    ServerConfig { addresses: block.addresses.clone(), plugins: chain, span: block.span }
}

/// Where a plugin stands in a chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// In [`REGISTRY`]; its length behind all of it.
    index: usize,
    /// An extension stands before the plugin of this index.
    itself: bool,
}

impl Place {
    fn of(index: usize) -> Self {
        Place { index, itself: true }
    }

    fn before(plugin: &str) -> Self {
        let index = REGISTRY.iter().position(|entry| entry.name == plugin);
        Place { index: index.unwrap_or(REGISTRY.len()), itself: false }
    }
}

/// The block's `root`, wherever it stands; empty without one.
fn root(block: &ServerBlock) -> &Path {
    let line = block.directives.iter().find(|line| &*line.name().text == "root");
    let folder = line.and_then(|line| line.args().first());
    Path::new(folder.map_or("", |folder| &*folder.text))
}

/// `shed` is about plain UDP: elsewhere it would seem to protect and not do so.
fn shed(servers: &[ServerConfig], findings: &mut Findings) {
    let has_shed = |server: &&ServerConfig| {
        server.plugins.iter().any(|plugin| matches!(plugin, PluginConfig::Shed(_)))
    };
    let addresses = servers.iter().filter(has_shed).flat_map(|server| &server.addresses);
    for address in addresses.filter(|address| address.scheme != Scheme::Dns) {
        let cause = Cause::Conflict("a block with `shed` serves plain DNS alone");
        findings.push(Finding::new(address.span, cause));
    }
}

/// `autopath @kubernetes` finds a client's search path by its pod.
fn autopath(servers: &[ServerConfig], findings: &mut Findings) {
    let verified = |plugin: &PluginConfig| match plugin {
        PluginConfig::Kubernetes(config) => config.pods == PodMode::Verified,
        _ => false,
    };
    for server in servers.iter().filter(|server| !server.plugins.iter().any(verified)) {
        for plugin in &server.plugins {
            if let PluginConfig::Autopath(config) = plugin
                && matches!(config.search, Search::Kubernetes(_))
            {
                let text =
                    "`autopath @kubernetes` without `kubernetes` with `pods verified` does nothing";
                findings.push(Finding::warning(config.place, Cause::Ineffective(text)));
            }
        }
    }
}

/// A domain has one certificate, wherever it is shown.
fn acme(servers: &[ServerConfig], findings: &mut Findings) {
    for (index, server) in servers.iter().enumerate() {
        let Some(config) = server.acme() else { continue };
        let clashes = |other: &&ServerConfig| {
            other.acme().is_some_and(|other| {
                other != config && other.domains.iter().any(|it| config.domains.contains(it))
            })
        };
        if let Some(other) = servers[..index].iter().find(clashes) {
            let cause =
                Cause::Conflict("`acme` for one domain with different settings in two blocks");
            findings.push(Finding::new(server.span, cause).beside(other.span, "the other block"));
        }
    }
}

/// `k8s_external` answers from what the block's `kubernetes` knows.
fn k8s_external(servers: &[ServerConfig], findings: &mut Findings) {
    let knows = |plugin: &PluginConfig| matches!(plugin, PluginConfig::Kubernetes(_));
    for server in servers.iter().filter(|server| !server.plugins.iter().any(knows)) {
        for plugin in &server.plugins {
            if let PluginConfig::K8sExternal(config) = plugin {
                let cause =
                    Cause::Conflict("`k8s_external` needs `kubernetes` in the same server block");
                let finding = Finding::new(config.place, cause);
                findings.push(finding.help("add `kubernetes cluster.local` to this block"));
            }
        }
    }
}

fn unknown_plugin(line: &Line, extensions: &[Extension]) -> Finding {
    let name = &line.name().text;
    let finding = Finding::new(line.name().span, Cause::UnknownPlugin { name: name.to_string() });
    let known = REGISTRY.iter().map(|entry| entry.name);
    match nearest(name, known.chain(extensions.iter().map(|extension| extension.name))) {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding,
    }
}

/// A zone on a port is served by one block, or by blocks that are all bound, each to other addresses. Beside it
/// there may be blocks with a view, which take some of its queries.
fn overlaps(servers: &[ServerConfig], default_port: u16, findings: &mut Findings) {
    let bound: Vec<Option<HashSet<&Target>>> =
        servers.iter().map(|server| Some(server.bind()?.targets().collect())).collect();
    let mut served: HashMap<_, Vec<(usize, Span)>> = HashMap::new();
    for (index, server) in servers.iter().enumerate() {
        for address in &server.addresses {
            let port = address.port.unwrap_or(address.scheme.port(default_port));
            for zone in &address.zones {
                let has_view = server.view().is_some();
                let others = served.entry((address.scheme, zone, port)).or_default();
                let clash = others.iter().find_map(|&(other, span)| {
                    let twice =
                        other == index || clash(bound[other].as_ref(), bound[index].as_ref())?;
                    let beside =
                        twice && other != index && (has_view || servers[other].view().is_some());
                    (!beside).then_some((span, twice))
                });
                if let Some((span, twice)) = clash {
                    let address_text = format!("{}://{zone}:{port}", address.scheme.name());
                    let cause = if twice {
                        Cause::ServedTwice { address: address_text }
                    } else {
                        Cause::ServedBoundAndUnbound { address: address_text }
                    };
                    findings
                        .push(Finding::new(address.span, cause).beside(span, "served here first"));
                } else {
                    others.push((index, address.span));
                }
            }
        }
    }
}

/// Blocks that share a listener show one certificate there, and QUIC has no plain form.
fn certificates(servers: &[ServerConfig], default_port: u16, findings: &mut Findings) {
    let bound: Vec<Option<HashSet<&Target>>> =
        servers.iter().map(|server| Some(server.bind()?.targets().collect())).collect();
    let mut seen: Vec<(Scheme, u16, usize, Span)> = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        for address in server.addresses.iter().filter(|address| address.scheme != Scheme::Dns) {
            let (scheme, port) =
                (address.scheme, address.port.unwrap_or(address.scheme.port(default_port)));
            if matches!(scheme, Scheme::Quic | Scheme::Https3) && server.tls().is_none() {
                let cause = Cause::Conflict("QUIC needs a certificate");
                findings.push(
                    Finding::new(address.span, cause).help("add `tls CERT KEY` to this block"),
                );
                continue;
            }
            let other = seen.iter().find(|(its, at, other, _)| {
                (*its, *at) == (scheme, port)
                    && clash(bound[*other].as_ref(), bound[index].as_ref()) == Some(true)
                    && servers[*other].tls() != server.tls()
            });
            match other {
                Some((.., span)) => {
                    let cause = Cause::Conflict(
                        "blocks that share a listener need the same `tls`: it has one certificate",
                    );
                    findings.push(
                        Finding::new(address.span, cause).beside(*span, "another `tls` here"),
                    );
                }
                None => seen.push((scheme, port, index, address.span)),
            }
        }
    }
}

/// Whether two blocks want the same address (`true`), or one of them all and the other some (`false`).
fn clash(one: Option<&HashSet<&Target>>, other: Option<&HashSet<&Target>>) -> Option<bool> {
    match (one, other) {
        (None, None) => Some(true),
        (Some(one), Some(other)) => (!one.is_disjoint(other)).then_some(true),
        _ => Some(false),
    }
}
