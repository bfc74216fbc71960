//! The tables of every plugin's settings; each stands in the plugin's folder.

use super::cases::check_plugin;
use crate::plugins::{REGISTRY, Support};

/// Every plugin that we have, with its table and its README.
pub(super) const PLUGINS: [(&str, &str, &str); 21] = [
    (
        "bind",
        include_str!("../../plugins/bind/cases.txt"),
        include_str!("../../plugins/bind/README.md"),
    ),
    (
        "cache",
        include_str!("../../plugins/cache/cases.txt"),
        include_str!("../../plugins/cache/README.md"),
    ),
    (
        "errors",
        include_str!("../../plugins/errors/cases.txt"),
        include_str!("../../plugins/errors/README.md"),
    ),
    (
        "forward",
        include_str!("../../plugins/forward/cases.txt"),
        include_str!("../../plugins/forward/README.md"),
    ),
    (
        "health",
        include_str!("../../plugins/health/cases.txt"),
        include_str!("../../plugins/health/README.md"),
    ),
    (
        "hosts",
        include_str!("../../plugins/hosts/cases.txt"),
        include_str!("../../plugins/hosts/README.md"),
    ),
    (
        "https",
        include_str!("../../plugins/https/cases.txt"),
        include_str!("../../plugins/https/README.md"),
    ),
    (
        "https3",
        include_str!("../../plugins/https3/cases.txt"),
        include_str!("../../plugins/https3/README.md"),
    ),
    (
        "kubernetes",
        include_str!("../../plugins/kubernetes/cases.txt"),
        include_str!("../../plugins/kubernetes/README.md"),
    ),
    (
        "loadbalance",
        include_str!("../../plugins/loadbalance/cases.txt"),
        include_str!("../../plugins/loadbalance/README.md"),
    ),
    (
        "log",
        include_str!("../../plugins/log/cases.txt"),
        include_str!("../../plugins/log/README.md"),
    ),
    (
        "loop",
        include_str!("../../plugins/loop/cases.txt"),
        include_str!("../../plugins/loop/README.md"),
    ),
    (
        "metadata",
        include_str!("../../plugins/metadata/cases.txt"),
        include_str!("../../plugins/metadata/README.md"),
    ),
    (
        "multisocket",
        include_str!("../../plugins/multisocket/cases.txt"),
        include_str!("../../plugins/multisocket/README.md"),
    ),
    (
        "prometheus",
        include_str!("../../plugins/prometheus/cases.txt"),
        include_str!("../../plugins/prometheus/README.md"),
    ),
    (
        "quic",
        include_str!("../../plugins/quic/cases.txt"),
        include_str!("../../plugins/quic/README.md"),
    ),
    (
        "ready",
        include_str!("../../plugins/ready/cases.txt"),
        include_str!("../../plugins/ready/README.md"),
    ),
    (
        "reload",
        include_str!("../../plugins/reload/cases.txt"),
        include_str!("../../plugins/reload/README.md"),
    ),
    (
        "timeouts",
        include_str!("../../plugins/timeouts/cases.txt"),
        include_str!("../../plugins/timeouts/README.md"),
    ),
    (
        "tls",
        include_str!("../../plugins/tls/cases.txt"),
        include_str!("../../plugins/tls/README.md"),
    ),
    (
        "whoami",
        include_str!("../../plugins/whoami/cases.txt"),
        include_str!("../../plugins/whoami/README.md"),
    ),
];

#[test]
fn every_row_of_a_plugins_table_is_accepted_or_refused_as_it_says() {
    for (name, table, _) in PLUGINS {
        println!("{name}");
        check_plugin(table);
    }
}

#[test]
fn every_plugin_that_is_there_has_a_table_and_a_readme() {
    let mut ready: Vec<_> = REGISTRY
        .iter()
        .filter(|entry| matches!(entry.support, Support::Ready { .. }))
        .map(|entry| entry.name)
        .collect();
    ready.sort_unstable();
    assert_eq!(ready, PLUGINS.map(|(name, ..)| name));
}
