//! What the plugins beside `kubernetes` are told.

use std::sync::Arc;

use crate::{
    corefile::{check::Environment, load_text, source::Memory},
    metrics::Metrics,
    plugins::{PluginConfig, hosts::Hosts, rewrite, template},
};

/// The cluster's Services under another suffix, and one under a name of its own.
pub(super) fn rules() -> rewrite::config::Config {
    let text = "rewrite name exact one.alias.test. web.shop.svc.cluster.local.\n\
                rewrite name suffix .alias.test. .svc.cluster.local. answer auto";
    config(text, |plugin| match plugin {
        PluginConfig::Rewrite(config) => Some(config),
        _ => None,
    })
}

/// Rules that deny, in all the ways that there are, and some that do more or fail.
pub(super) fn denials() -> template::config::Config {
    let text = r#"
        template ANY ANY data.svc.cluster.local db.example.org {
            rcode NXDOMAIN
            authority "{{ .Zone }} 60 {{ .Class }} SOA ns.{{ .Zone }} a.b.{{ .Zone }} (1 60 60 60 60)"
        }
        template IN AAAA example.org {
            match ^web[.] \bdb\b
            match "^([^.]+\.)*_(?:tcp|udp)\."
            fallthrough
        }
        template IN A example.org {
            match ^shop
            fallthrough web.example.org
        }
        template CH ANY . {
            rcode REFUSED
        }
        template IN TXT . {
            match web-0
            answer "{{ .Name }} 60 IN TXT x"
            fallthrough
        }
        template IN TXT . {
            authority "{{ .Zone }} 60 IN TXT x"
            fallthrough
        }
        template IN SRV pod.cluster.local {
            match shop
        }
        template ANY SOA . {
            match zone-a
            rcode REFUSED
            authority "{{ .Name }} 60 IN TXT x"
            fallthrough
        }
        template IN MX example.org cluster.local {
            rcode YXDOMAIN
            authority "web.{{ .Zone }} 60 IN TXT x" "{{ .Zone }} 60 IN A 192.0.2.1"
        }"#;
    config(text, |plugin| match plugin {
        PluginConfig::Template(config) => Some(*config),
        _ => None,
    })
}

/// Names with addresses of one family or both, several of them, some next to a wildcard.
pub(super) fn hosts() -> Arc<Hosts> {
    let text = "hosts /nowhere cluster.local example.org {\n\
                192.0.2.1 web.shop.svc.cluster.local web.example.org example.org\n\
                192.0.2.2 web.example.org db.shop.svc.cluster.local\n\
                192.0.2.2 web.example.org\n\
                2001:db8::1 web.example.org web.db.example.org a\\.b.example.org\n\
                192.0.2.3 *.db.example.org \\100b.shop.svc.cluster.local\n\
                reload 0\nttl 60\nfallthrough cluster.local\n}";
    let config = config(text, |plugin| match plugin {
        PluginConfig::Hosts(config) => Some(*config),
        _ => None,
    });
    Hosts::start(&config, &Metrics::new("test"))
}

/// The settings of the plugin that `text` is for.
fn config<T>(text: &str, of: impl FnMut(PluginConfig) -> Option<T>) -> T {
    let text = format!(". {{\n{text}\nwhoami\n}}\n");
    let machine = Memory::default();
    let environment = Environment { reader: &machine, default_port: 53, extensions: &[] };
    let checked = load_text("Corefile", text, &environment).expect("a good Corefile");
    let mut plugins = checked.servers.into_iter().flat_map(|server| server.plugins);
    plugins.find_map(of).expect("the plugin")
}
