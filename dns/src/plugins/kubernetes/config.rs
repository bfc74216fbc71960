//! `kubernetes [ZONES...]`.

use std::path::PathBuf;
use std::time::Duration;

use super::selector::Selector;
use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::{Line, Token};

/// TTL of answers in seconds when none is given.
pub const DEFAULT_TTL: u32 = 5;
/// How long the start waits for the cluster's state when nothing else is said.
pub const DEFAULT_STARTUP_TIMEOUT: Duration = Duration::from_secs(5);

const PROPERTIES: &[&str] = &[
    "endpoint",
    "tls",
    "kubeconfig",
    "apiserver_qps",
    "apiserver_burst",
    "apiserver_max_inflight",
    "namespaces",
    "namespace_labels",
    "labels",
    "pods",
    "endpoint_pod_names",
    "ttl",
    "noendpoints",
    "fallthrough",
    "ignore",
    "multicluster",
    "zonal",
    "startup_timeout",
];

/// The settings of `kubernetes`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Cluster zones and reverse zones, in the order of the file.
    pub zones: Vec<Domain>,
    /// The index in `zones` of the first that is no reverse zone: where reverse lookups and NS records point.
    pub primary: usize,
    /// How to reach the API server.
    pub api: Api,
    /// Only these namespaces; all if empty. Not together with `namespace_labels`.
    pub namespaces: Vec<Box<str>>,
    /// Only namespaces with these labels.
    pub namespace_labels: Option<Selector>,
    /// Only Services, EndpointSlices and Pods with these labels.
    pub labels: Option<Selector>,
    /// Which pod names (`1-2-3-4.ns.pod.zone`) are answered.
    pub pods: PodMode,
    /// Endpoints without a hostname are named after their pods, not their addresses.
    pub endpoint_pod_names: bool,
    /// Seconds, 0 to 3600.
    pub ttl: u32,
    /// Whether endpoints are watched; `false` leaves headless Services without answers.
    pub endpoints: bool,
    /// Names in these that are not found go to the next plugin.
    pub fallthrough: Vec<Domain>,
    /// Services without a ready endpoint do not exist.
    pub ignore_empty_service: bool,
    /// Those of `zones` that hold ServiceImports (KEP-1645).
    pub multicluster: Vec<Domain>,
    /// Names below a topology zone are answered.
    pub zonal: bool,
    /// How long the start waits for the cluster's state; above 0.
    pub startup_timeout: Duration,
}

/// How to reach the API server. Without `endpoint` and `kubeconfig`, as a Pod does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Api {
    /// The server's URL.
    pub endpoint: Option<Box<str>>,
    /// Certificate, key and CA for `endpoint`.
    pub tls: Option<ClientTls>,
    /// A kubeconfig and the context to use in it, if not its current one.
    pub kubeconfig: Option<(PathBuf, Option<Box<str>>)>,
    /// Most requests a second; `None` or 0 for the client's own limit.
    pub qps: Option<f32>,
    /// Most requests at once above that; `None` or 0 for the client's own limit.
    pub burst: Option<u32>,
    /// Most requests under way; `None` or 0 for no limit.
    pub max_inflight: Option<u32>,
}

/// PEM files for a client of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// The client's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities that the server's certificate must come from.
    pub ca: PathBuf,
}

/// Which pod names are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodMode {
    /// None.
    Disabled,
    /// All whose address is an address, whether there is such a pod or not.
    Insecure,
    /// Those of pods that are there.
    Verified,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let zones = cx.zones_or_served(line.args());
    let primary = zones.iter().position(|zone| !zone.is_reverse());
    if primary.is_none() && !zones.is_empty() {
        let cause = Cause::Conflict("`kubernetes` needs a zone that is no reverse zone");
        cx.mistake_with(
            line.span(),
            cause,
            "add the cluster's domain: `kubernetes cluster.local in-addr.arpa ip6.arpa`",
        );
    }
    let mut config = Config {
        zones,
        primary: primary.unwrap_or(0),
        api: Api::default(),
        namespaces: Vec::new(),
        namespace_labels: None,
        labels: None,
        pods: PodMode::Disabled,
        endpoint_pod_names: false,
        ttl: DEFAULT_TTL,
        endpoints: true,
        fallthrough: Vec::new(),
        ignore_empty_service: false,
        multicluster: Vec::new(),
        zonal: false,
        startup_timeout: DEFAULT_STARTUP_TIMEOUT,
    };
    for property in cx.properties(line) {
        set(&mut config, property, cx);
    }
    agree(&config, line, cx);
    primary.map(|_| config)
}

fn set(config: &mut Config, line: &Line, cx: &mut Checker<'_>) {
    match &*line.name().text {
        "endpoint"
        | "tls"
        | "kubeconfig"
        | "apiserver_qps"
        | "apiserver_burst"
        | "apiserver_max_inflight" => {
            set_api(&mut config.api, line, cx);
        }
        "namespaces" => {
            let names = cx.some(line, "one or more namespaces").unwrap_or_default();
            config.namespaces.extend(names.iter().map(|name| Box::from(&*name.text)));
        }
        "namespace_labels" => config.namespace_labels = selector(line, cx),
        "labels" => config.labels = selector(line, cx),
        "pods" => {
            let modes = [
                ("disabled", PodMode::Disabled),
                ("insecure", PodMode::Insecure),
                ("verified", PodMode::Verified),
            ];
            let token = cx.one(line, "one argument: disabled, insecure or verified");
            let mode = token.and_then(|token| cx.choice(token, "a mode for pods", &modes));
            config.pods = mode.unwrap_or(config.pods);
        }
        "endpoint_pod_names" => config.endpoint_pod_names |= cx.none(line),
        "ttl" => {
            let token = cx.one(line, "one argument, a number of seconds");
            config.ttl = token
                .and_then(|token| cx.integer(token, "the TTL in seconds", 0..=3600))
                .unwrap_or(config.ttl);
        }
        "noendpoints" => config.endpoints &= !cx.none(line),
        "fallthrough" => config.fallthrough = cx.zones_or_root(line.args()),
        "ignore" => {
            let token = cx.one(line, "one argument, empty_service");
            let ignore = token.and_then(|token| {
                cx.choice(token, "what can be ignored", &[("empty_service", ())])
            });
            config.ignore_empty_service |= ignore.is_some();
        }
        "multicluster" => {
            config.multicluster = cx.zone_list(line.args());
            if line.args().is_empty() {
                cx.warn(line.span(), "`multicluster` without a zone does nothing");
            }
        }
        "zonal" => config.zonal |= cx.none(line),
        "startup_timeout" => {
            let token = cx.one(line, "one argument, a duration");
            let timeout = token.and_then(|token| cx.positive_duration(token, "startup_timeout"));
            config.startup_timeout = timeout.unwrap_or(config.startup_timeout);
        }
        _ => cx.unknown(line, PROPERTIES),
    }
}

fn set_api(api: &mut Api, line: &Line, cx: &mut Checker<'_>) {
    const LIMIT: &str = "one argument, a number";
    match &*line.name().text {
        "endpoint" => {
            let Some([first, others @ ..]) = cx.some(line, "one URL") else { return };
            if let Some(other) = others.first() {
                cx.warn(other.span, "only the first endpoint is used");
            }
            api.endpoint = url(first, cx);
        }
        "tls" => {
            if let Some([certificate, key, ca]) =
                cx.args(line, 3..=3, "three files: certificate, key and CA")
            {
                let path = |token: &Token| PathBuf::from(&*token.text);
                api.tls = Some(ClientTls {
                    certificate: path(certificate),
                    key: path(key),
                    ca: path(ca),
                });
            }
        }
        "kubeconfig" => {
            if let Some([file, context @ ..]) =
                cx.args(line, 1..=2, "a file, and perhaps a context")
            {
                let context = context.first().map(|context| Box::from(&*context.text));
                api.kubeconfig = Some((PathBuf::from(&*file.text), context));
            }
        }
        "apiserver_qps" => {
            api.qps = cx.one(line, LIMIT).and_then(|token| {
                let qps =
                    token.text.parse::<f32>().ok().filter(|qps| qps.is_finite() && *qps >= 0.0);
                if qps.is_none() {
                    cx.not(token, "a number of requests a second, 0 or more");
                }
                qps
            });
        }
        "apiserver_burst" => {
            api.burst =
                cx.one(line, LIMIT).and_then(|token| cx.integer(token, "the burst", 0..=u32::MAX));
        }
        _ => {
            let token = cx.one(line, LIMIT);
            api.max_inflight = token.and_then(|token| cx.integer(token, "the limit", 0..=u32::MAX));
        }
    }
}

/// A URL of an API server; `host:port` alone is allowed too.
fn url(token: &Token, cx: &mut Checker<'_>) -> Option<Box<str>> {
    let rest = match token.text.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => "",
        None => &token.text,
    };
    if rest.is_empty() || rest.contains(char::is_whitespace) {
        cx.not(token, "the URL of an API server: http://… or https://…");
        return None;
    }
    Some(Box::from(&*token.text))
}

fn selector(line: &Line, cx: &mut Checker<'_>) -> Option<Selector> {
    let tokens = cx.some(line, "a label selector")?;
    let text = tokens.iter().map(|token| &*token.text).collect::<Vec<_>>().join(" ");
    match Selector::parse(&text) {
        Ok(selector) => Some(selector),
        Err(error) => {
            let span = tokens[0].span.to(line.span());
            let cause = Cause::Value { found: text, want: format!("a label selector: {error}") };
            match error.help() {
                Some(help) => cx.mistake_with(span, cause, help),
                None => cx.mistake(span, cause),
            }
            None
        }
    }
}

/// What only shows when all settings are known.
fn agree(config: &Config, line: &Line, cx: &mut Checker<'_>) {
    let place = |name: &str| {
        let property = line.lines().iter().rfind(|property| &*property.name().text == name);
        property.map_or(line.span(), Line::span)
    };
    if !config.namespaces.is_empty() && config.namespace_labels.is_some() {
        let cause = Cause::Conflict("`namespaces` and `namespace_labels` exclude each other");
        cx.mistake(place("namespace_labels"), cause);
    }
    if config.zonal && !config.endpoints {
        cx.mistake(
            place("noendpoints"),
            Cause::Conflict("`zonal` needs endpoints, and `noendpoints` turns them off"),
        );
    }
    if config.multicluster.iter().any(|zone| !config.zones.contains(zone)) {
        let zones: Vec<_> = config.zones.iter().map(Domain::as_str).collect();
        let cause = Cause::Conflict("a `multicluster` zone is not among the zones of `kubernetes`");
        cx.mistake_with(
            place("multicluster"),
            cause,
            format!("its zones are {}", zones.join(", ")),
        );
    }
}
