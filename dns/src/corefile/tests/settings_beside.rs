//! What the directives of plugins that answer nothing become.

use std::time::Duration;

use super::cases::good;
use super::settings::{domain, only, texts};
use crate::corefile::values::{Host, HostPort};
use crate::plugins::PluginConfig;
use crate::plugins::log::config::Classes;
use crate::plugins::log::format::{Field, Piece};
use crate::plugins::{errors, loadbalance, log, ready};

fn log(rest: &str) -> log::config::Config {
    only(rest, |plugin| match plugin {
        PluginConfig::Log(config) => Some(config),
        _ => None,
    })
}

#[test]
fn log_takes_formats_apart() {
    let config = log("log . \"{ {name} {>id}} {/a/b} {no} x\"");
    let text = |text: &str| Piece::Text(text.into());
    assert_eq!(
        config.rules[0].format,
        [
            text("{ "),
            Piece::Field(Field::Name),
            text(" "),
            Piece::Field(Field::Id),
            text("} "),
            Piece::Metadata("a/b".into()),
            text(" {no} x"),
        ]
    );
    let combined = log("log . {combined}");
    assert_eq!(combined.rules[0].format.last(), Some(&text("\"")));
    assert_eq!(
        combined.rules[0].format[combined.rules[0].format.len() - 2],
        Piece::Field(Field::Opcode)
    );
    assert_eq!(log("log").rules[0].format.last(), Some(&Piece::Field(Field::Duration)));
}

#[test]
fn all_log_lines_of_a_block_make_one_list_of_rules() {
    let config = log("log a.example b.example {name} {\nclass denial error\n}\nlog");
    let names: Vec<_> = config.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["a.example.", "b.example.", "."]);
    assert_eq!(config.rules[1].classes, Classes { success: false, denial: true, error: true });
    assert_eq!(config.rules[2].classes, Classes::ALL);
}

#[test]
fn addresses_of_http_endpoints_have_the_defaults_of_coredns() {
    let checked = good(". {\nhealth\nready\nprometheus\n}\n");
    let [
        PluginConfig::Ready(ready),
        PluginConfig::Health(health),
        PluginConfig::Prometheus(prometheus),
    ] = checked.servers[0].plugins.as_slice()
    else {
        panic!("three plugins")
    };
    assert_eq!(
        (&ready.address, ready.monitor),
        (&HostPort::any(8181), ready::config::Monitor::UntilReady)
    );
    assert_eq!((&health.address, health.lameduck), (&HostPort::any(8080), Duration::ZERO));
    assert_eq!(prometheus.address, HostPort { host: Host::Name("localhost".into()), port: 9153 });
}

#[test]
fn small_plugins_keep_their_options() {
    let checked = good(
        "a.example {\nbind 127.0.0.1 eth0 {\nexcept ::1\n}\nbind 127.0.0.2\nreload 10s 1h\nloop\nmultisocket 4\nmetadata\n\
         errors {\nstacktrace\nconsolidate 5m x info show_first\n}\nloadbalance {\nprefer 10.0.0.0/8\n}\n}\n",
    );
    for plugin in &checked.servers[0].plugins {
        match plugin {
            PluginConfig::Bind(config) => {
                assert_eq!(
                    (config.groups.len(), config.targets().count(), config.groups[0].except.len()),
                    (2, 3, 1)
                );
            }
            PluginConfig::Reload(config) => {
                assert_eq!(
                    (config.interval.as_secs(), config.jitter.as_secs()),
                    (10, 5),
                    "jitter is at most half"
                );
            }
            PluginConfig::Loop(config) => assert_eq!(config.zone, domain("a.example")),
            PluginConfig::Multisocket(config) => assert_eq!(config.sockets, Some(4)),
            PluginConfig::Metadata(config) => assert_eq!(texts(&config.zones), ["a.example."]),
            PluginConfig::Errors(config) => {
                let consolidate = &config.consolidate[0];
                assert!(
                    config.stacktrace
                        && consolidate.show_first
                        && consolidate.pattern.0.is_match("an x")
                );
                assert_eq!(
                    (consolidate.period.as_secs(), consolidate.level),
                    (300, errors::config::Level::Info)
                );
            }
            PluginConfig::Loadbalance(config) => {
                assert_eq!(
                    (&config.policy, config.prefer.len()),
                    (&loadbalance::config::Policy::RoundRobin, 1)
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(checked.servers[0].plugins.len(), 7);
}

#[test]
fn relative_paths_begin_in_the_root_of_their_block() {
    let text = "a.org {\nhosts names\nloadbalance weighted /weights\nforward . 10.0.0.1 {\ntls ca\n}\nroot /etc/x\n}\n\
                b.org {\nhosts names\n}\nc.org {\nroot /etc/x\nhosts\n}\n";
    let checked = good(text);
    let mut paths = Vec::new();
    for plugin in checked.servers.iter().flat_map(|server| &server.plugins) {
        match plugin {
            PluginConfig::Hosts(config) => paths.push(config.file.clone()),
            PluginConfig::Loadbalance(config) => match &config.policy {
                loadbalance::config::Policy::Weighted { file, .. } => paths.push(file.clone()),
                loadbalance::config::Policy::RoundRobin => {}
            },
            PluginConfig::Forward(config) => paths.extend(config.tls.ca.clone()),
            _ => {}
        }
    }
    let want = ["/weights", "/etc/x/names", "/etc/x/ca", "names", "/etc/hosts"];
    assert_eq!(paths, want.map(std::path::PathBuf::from));
}
