//! The configuration without a Corefile: kubeadm's, fitted to where it runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Resolvers of this machine.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// kubeadm's Corefile. On a laptop (objects from a folder) it listens on loopback only and opens no
/// other port. `forward` is left out where the machine has no resolver.
pub(crate) fn text(on_laptop: bool) -> String {
    let resolvers = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    render(on_laptop, &loopbacks(), has_resolver(&resolvers))
}

fn render(on_laptop: bool, loopbacks: &[IpAddr], forwards: bool) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = |text: &str| lines.push(format!("    {text}"));
    line("errors");
    if on_laptop {
        let hosts: Vec<String> = loopbacks.iter().map(IpAddr::to_string).collect();
        line(&format!("bind {}", hosts.join(" ")));
    } else {
        line("health {\n        lameduck 5s\n    }");
        line("ready");
        line("prometheus :9153");
    }
    line(
        "kubernetes cluster.local in-addr.arpa ip6.arpa {\n        pods insecure\n        \
         fallthrough in-addr.arpa ip6.arpa\n        ttl 30\n    }",
    );
    if forwards {
        line(&format!("forward . {RESOLV_CONF} {{\n        max_concurrent 1000\n    }}"));
        line("cache 30");
        line("loop");
    }
    line("reload");
    line("loadbalance");
    format!(".{{\n{}\n}}\n", lines.join("\n")).replacen(".{", ". {", 1)
}

fn has_resolver(resolv_conf: &str) -> bool {
    resolv_conf.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("nameserver") && words.next().is_some()
    })
}

/// Loopback addresses of the families that this machine has.
fn loopbacks() -> Vec<IpAddr> {
    [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]
        .into_iter()
        .filter(|address| UdpSocket::bind((*address, 0)).is_ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use daymark_dns::corefile::{
        check::Environment,
        load_text,
        source::{Disk, Memory},
    };

    use super::*;

    #[test]
    fn both_defaults_are_valid_and_differ_in_what_they_open() {
        let reader = Memory::default().file(RESOLV_CONF, "nameserver 192.0.2.53\n");
        let environment = Environment { reader: &reader, default_port: 53, extensions: &[] };
        let names = |text: String| {
            let checked = load_text("default", text, &environment).expect("a valid Corefile");
            let plugins = checked.servers[0].plugins.iter();
            plugins.map(daymark_dns::plugins::PluginConfig::name).collect::<Vec<_>>()
        };
        let laptop = names(render(true, &[Ipv4Addr::LOCALHOST.into()], true));
        assert!(laptop.contains(&"bind") && !laptop.contains(&"health"));
        let cluster = names(render(false, &[], true));
        assert!(cluster.contains(&"health") && !cluster.contains(&"bind"));
    }

    #[test]
    fn without_a_resolver_nothing_is_forwarded() {
        assert!(!has_resolver("# nameserver 192.0.2.1\nsearch example.org\n"));
        assert!(has_resolver("nameserver 192.0.2.1"));
        let text = render(true, &[Ipv4Addr::LOCALHOST.into()], false);
        assert!(!text.contains("forward"));
        let environment = Environment { reader: &Disk, default_port: 53, extensions: &[] };
        assert!(load_text("default", text, &environment).is_ok());
    }
}
