//! What the directives of plugins that answer become: defaults, and each option where CoreDNS puts it.

use std::net::IpAddr;
use std::time::Duration;

use super::cases::good;
use crate::corefile::domain::Domain;
use crate::plugins::PluginConfig;
use crate::plugins::forward::config::{Policy, Protocol};
use crate::plugins::forward::upstream::{Secure, Target, Transport};
use crate::plugins::kubernetes::config::PodMode;
use crate::plugins::kubernetes::selector::Operator;
use crate::plugins::{cache, forward, hosts, kubernetes};

/// The only plugin of a block for `example.org` and `10.0.0.0/8`, as `pick` takes it apart.
pub(super) fn only<T>(directive: &str, pick: fn(&PluginConfig) -> Option<&T>) -> T
where
    T: Clone,
{
    let checked = good(&format!("example.org 10.0.0.0/8 {{\n{directive}\n}}\n"));
    let [plugin] = checked.servers[0].plugins.as_slice() else { panic!("one plugin") };
    pick(plugin).expect("the plugin that was asked for").clone()
}

fn kubernetes(options: &str) -> kubernetes::config::Config {
    only(
        &format!("kubernetes cluster.local 10.0.0.0/15 {{\n{options}\n}}"),
        |plugin| match plugin {
            PluginConfig::Kubernetes(config) => Some(config),
            _ => None,
        },
    )
}

fn forward(rest: &str) -> forward::config::Config {
    only(&format!("forward {rest}"), |plugin| match plugin {
        PluginConfig::Forward(config) => Some(config),
        _ => None,
    })
}

fn cache(rest: &str) -> cache::config::Config {
    only(&format!("cache {rest}"), |plugin| match plugin {
        PluginConfig::Cache(config) => Some(config),
        _ => None,
    })
}

fn hosts(rest: &str) -> hosts::config::Config {
    only(&format!("hosts {rest}"), |plugin| match plugin {
        PluginConfig::Hosts(config) => Some(config),
        _ => None,
    })
}

pub(super) fn domain(text: &str) -> Domain {
    Domain::parse(text).expect("a name")
}

pub(super) fn texts(zones: &[Domain]) -> Vec<&str> {
    zones.iter().map(Domain::as_str).collect()
}

#[test]
fn kubernetes_has_the_defaults_of_coredns() {
    let config = kubernetes("");
    assert_eq!(
        texts(&config.zones),
        ["cluster.local.", "0.10.in-addr.arpa.", "1.10.in-addr.arpa."]
    );
    assert_eq!((config.primary, config.ttl, config.pods), (0, 5, PodMode::Disabled));
    assert!(config.endpoints && config.fallthrough.is_empty() && config.namespaces.is_empty());
    assert_eq!(config.startup_timeout, Duration::from_secs(5));
    assert_eq!(config.api, kubernetes::config::Api::default());
}

#[test]
fn kubernetes_keeps_every_option() {
    let config = kubernetes(
        "endpoint https://api:6443 https://other:6443\ntls a b c\napiserver_qps 2.5\napiserver_burst 7\n\
         apiserver_max_inflight 9\nnamespaces a b\nnamespaces c\nlabels app=web,tier in (b, a)\npods verified\n\
         endpoint_pod_names\nttl 30\nfallthrough\nignore empty_service\nmulticluster cluster.local\nzonal\n\
         startup_timeout 1m",
    );
    assert_eq!(config.api.endpoint.as_deref(), Some("https://api:6443"));
    assert_eq!(
        (config.api.qps, config.api.burst, config.api.max_inflight),
        (Some(2.5), Some(7), Some(9))
    );
    assert_eq!(
        config.api.tls.as_ref().map(|tls| tls.ca.to_string_lossy().into_owned()).as_deref(),
        Some("c")
    );
    assert_eq!(config.namespaces.iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(
        config.labels.as_ref().map(ToString::to_string).as_deref(),
        Some("app=web,tier in (a,b)")
    );
    assert_eq!(
        (config.pods, config.ttl, config.startup_timeout),
        (PodMode::Verified, 30, Duration::from_secs(60))
    );
    assert!(config.endpoint_pod_names && config.ignore_empty_service && config.zonal);
    assert_eq!(
        (texts(&config.fallthrough), texts(&config.multicluster)),
        (vec!["."], vec!["cluster.local."])
    );
}

#[test]
fn kubernetes_without_zones_has_those_of_the_block_and_its_first_forward_zone_is_primary() {
    let checked = good("10.0.0.0/8 example.org {\nkubernetes\n}\n");
    let PluginConfig::Kubernetes(config) = &checked.servers[0].plugins[0] else {
        panic!("kubernetes")
    };
    assert_eq!(
        (texts(&config.zones), config.primary),
        (vec!["10.in-addr.arpa.", "example.org."], 1)
    );
}

#[test]
fn a_selector_selects_by_every_requirement() {
    let config = kubernetes("labels app=web, tier notin (x,y), team, !legacy, zone in ()");
    let selector = config.labels.expect("it was given");
    assert_eq!(selector.requirements[4].operator, Operator::In(vec!["".into()]));
    for (labels, want) in [
        (vec![("app", "web"), ("team", "a"), ("zone", "")], true),
        (vec![("app", "web"), ("team", "a"), ("zone", ""), ("tier", "z")], true),
        (vec![("app", "web"), ("team", "a"), ("zone", ""), ("tier", "x")], false),
        (vec![("app", "shop"), ("team", "a"), ("zone", "")], false),
        (vec![("app", "web"), ("zone", "")], false),
        (vec![("app", "web"), ("team", "a"), ("zone", ""), ("legacy", "")], false),
        (vec![("app", "web"), ("team", "a"), ("zone", "1")], false),
    ] {
        let value =
            |key: &str| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        assert_eq!(selector.matches(value), want, "{labels:?}");
    }
}

#[test]
fn forward_has_the_defaults_of_coredns() {
    let config = forward(". 10.0.0.1");
    assert_eq!(
        (config.from.as_str(), config.policy, config.protocol),
        (".", Policy::Random, Protocol::Client)
    );
    assert_eq!(
        (config.connections.expire, config.connections.read_timeout),
        (Duration::from_secs(10), Duration::from_secs(2))
    );
    assert_eq!((config.health.max_fails, config.health.interval), (2, Duration::from_millis(500)));
    assert!(config.health.recursion && config.health.domain.is_root() && !config.health.fail_fast);
    assert_eq!(
        (config.max_concurrent, config.connections.max_attempts, config.connections.max_idle),
        (None, None, 0)
    );
}

#[test]
fn forward_reads_every_kind_of_upstream_once() {
    let config = forward(
        ". /etc/resolv.conf 10.0.0.10 tls://10.0.0.1%a.example tls://[::1]:1853 fe80::1%eth0 [fe80::2%eth0]:5353 dns.example:54",
    );
    let ip = |text: &str| Target::Ip(text.parse().expect("an address"));
    let scoped = |ip: &str, port| Target::Scoped {
        ip: ip.parse().expect("an address"),
        interface: "eth0".into(),
        port,
    };
    let targets: Vec<_> = config.upstreams.iter().map(|upstream| upstream.target.clone()).collect();
    assert_eq!(
        targets,
        [
            ip("10.0.0.10:53"),
            ip("[2001:db8::53]:53"),
            ip("10.0.0.1:853"),
            ip("[::1]:1853"),
            scoped("fe80::1", 53),
            scoped("fe80::2", 5353),
            Target::Name { name: domain("dns.example"), port: 54 },
        ]
    );
    assert_eq!(
        config.upstreams[2].transport,
        Transport::Secure { over: Secure::Tls, server_name: Some("a.example".into()) }
    );
    assert_eq!(
        config.upstreams[3].transport,
        Transport::Secure { over: Secure::Tls, server_name: None }
    );
    assert_eq!(config.upstreams[4].transport, Transport::Dns);
}

#[test]
fn forward_keeps_every_option() {
    let config = forward(
        "example.org 10.0.0.1 {\nexcept a.example 10.0.0.0/15\nprefer_udp\nforce_tcp\nexpire 1s\nmax_age 2s\n\
         max_idle_conns 3\nread_timeout 4s\nmax_fails 5\nmax_connect_attempts 0\ntls cert key ca\ntls_servername b.example\n\
         policy sequential\nhealth_check 6s no_rec domain c.example\nmax_concurrent 7\nnext nxdomain NOTIMPL\nnext_on_nodata\n\
         failfast_all_unhealthy_upstreams\nfailover SERVFAIL\nsource_address ::1\nresolver 10.0.0.2 [::1]:54\n}",
    );
    assert_eq!(texts(&config.except), ["a.example.", "0.10.in-addr.arpa.", "1.10.in-addr.arpa."]);
    assert_eq!(
        (config.protocol, config.policy, config.max_concurrent),
        (Protocol::Tcp, Policy::Sequential, Some(7))
    );
    assert_eq!((config.connections.max_idle, config.connections.max_attempts), (3, Some(0)));
    assert_eq!((config.connections.expire.as_secs(), config.connections.max_age.as_secs()), (1, 2));
    assert_eq!(
        (config.connections.read_timeout.as_secs(), config.connections.source),
        (4, "::1".parse().ok())
    );
    assert_eq!(
        (config.health.max_fails, config.health.interval.as_secs(), config.health.recursion),
        (5, 6, false)
    );
    assert_eq!((config.health.domain.as_str(), config.health.fail_fast), ("c.example.", true));
    assert_eq!((config.next.as_slice(), config.next_on_nodata), ([3, 4].as_slice(), true));
    assert_eq!((config.failover.as_slice(), config.resolvers.len()), ([2].as_slice(), 2));
    assert_eq!((config.tls.ca.is_some(), config.tls.certificate.is_some()), (true, true));
    assert_eq!(config.tls.server_name.as_deref(), Some("b.example"));
    assert_eq!(forward(". 10.0.0.1 {\nmax_concurrent 0\n}").max_concurrent, None, "0 is no limit");
}

#[test]
fn cache_has_the_defaults_of_coredns() {
    let config = cache("");
    assert_eq!(texts(&config.zones), ["example.org.", "10.in-addr.arpa."]);
    assert_eq!(
        (config.success.capacity, config.success.max_ttl, config.success.min_ttl),
        (9984, 3600, 5)
    );
    assert_eq!(
        (config.denial.capacity, config.denial.max_ttl, config.denial.min_ttl),
        (9984, 1800, 5)
    );
    assert_eq!(
        (config.prefetch.amount, config.servfail, config.stale),
        (0, Duration::from_secs(5), None)
    );
    assert_eq!((config.prefetch.within, config.prefetch.percentage), (Duration::from_secs(60), 10));
}

#[test]
fn cache_keeps_every_option() {
    let config = cache(
        "30 a.example {\nsuccess 2000 100 10\ndenial 5\nprefetch 3 2m 20%\nserve_stale 2h verify 0s 30s 5s\n\
         serve_stale_policy prefer_positive\nservfail 0\ndisable success\ndisable denial b.example\nkeepttl\n}",
    );
    assert_eq!(
        (config.success.capacity, config.success.max_ttl, config.success.min_ttl),
        (1792, 100, 10)
    );
    assert_eq!((config.denial.capacity, config.denial.max_ttl), (1024, 30));
    assert_eq!(
        (texts(&config.success.disabled), texts(&config.denial.disabled)),
        (vec!["."], vec!["b.example."])
    );
    let stale = config.stale.expect("it was given");
    assert_eq!((stale.up_to.as_secs(), stale.ttl, stale.recheck.as_secs()), (7200, 30, 5));
    assert_eq!(
        (stale.refresh, stale.prefer_positive),
        (cache::config::Refresh::Verify(None), true)
    );
    assert!(config.keep_ttl && config.servfail.is_zero());
    assert_eq!(
        (config.prefetch.amount, config.prefetch.within.as_secs(), config.prefetch.percentage),
        (3, 120, 20)
    );
    let stale = cache("{\nserve_stale 1h immediate 30s 5s\n}").stale.expect("it was given");
    assert_eq!(
        (stale.refresh, stale.ttl, stale.recheck.as_secs()),
        (cache::config::Refresh::Immediate, 30, 5)
    );
}

#[test]
fn hosts_reads_its_lines_in_both_directions() {
    let config = hosts(
        "/etc/my.hosts example.org {\n10.0.0.1 A.example.org b.example.org other.net\n::ffff:10.0.0.2 a.example.org\nfe80::1%lo a.example.org\n10.0.0.9 *.example.org\nttl 60\nreload 0s\nfallthrough a.example\nfallthrough_unsupported\n}",
    );
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let a = domain("a.example.org");
    assert_eq!(
        config.inline.v4(&a).iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.1", "10.0.0.2"]
    );
    assert_eq!(
        config.inline.v6(&a).iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["fe80::1"]
    );
    assert_eq!(texts(config.inline.names(ip("10.0.0.1"))), ["a.example.org.", "b.example.org."]);
    assert!(config.inline.names(ip("10.0.0.9")).is_empty(), "a pattern is no address's name");
    assert!(config.inline.v4(&domain("other.net")).is_empty(), "not in the zones");
    assert_eq!((config.ttl, config.reload, config.reverse), (60, Duration::ZERO, true));
    assert_eq!(
        (texts(&config.fallthrough), config.fallthrough_unsupported),
        (vec!["a.example."], true)
    );
    assert_eq!(config.inline.len(), 9);
}

#[test]
fn hosts_without_reverse_knows_no_names_of_addresses() {
    let config = hosts("{\n10.0.0.1 example.org\nno_reverse\n}");
    assert!(
        !config.reverse && config.inline.names("10.0.0.1".parse().expect("an address")).is_empty()
    );
    assert_eq!(
        (config.file.to_string_lossy().as_ref(), config.ttl, config.inline.len()),
        ("/etc/hosts", 3600, 1)
    );
}
