//! What each plugin is for, in one line: the first of its README.

/// Every plugin that is there, with its README.
const READMES: &[(&str, &str)] = &[
    ("acl", include_str!("acl/README.md")),
    ("any", include_str!("any/README.md")),
    ("auto", include_str!("auto/README.md")),
    ("autopath", include_str!("autopath/README.md")),
    ("bind", include_str!("bind/README.md")),
    ("bufsize", include_str!("bufsize/README.md")),
    ("cache", include_str!("cache/README.md")),
    ("cancel", include_str!("cancel/README.md")),
    ("chaos", include_str!("chaos/README.md")),
    ("debug", include_str!("debug/README.md")),
    ("dns64", include_str!("dns64/README.md")),
    ("dnstap", include_str!("dnstap/README.md")),
    ("errors", include_str!("errors/README.md")),
    ("file", include_str!("file/README.md")),
    ("forward", include_str!("forward/README.md")),
    ("header", include_str!("header/README.md")),
    ("health", include_str!("health/README.md")),
    ("hosts", include_str!("hosts/README.md")),
    ("https", include_str!("https/README.md")),
    ("https3", include_str!("https3/README.md")),
    ("k8s_external", include_str!("k8s_external/README.md")),
    ("kubernetes", include_str!("kubernetes/README.md")),
    ("loadbalance", include_str!("loadbalance/README.md")),
    ("local", include_str!("local/README.md")),
    ("log", include_str!("log/README.md")),
    ("loop", include_str!("loop/README.md")),
    ("metadata", include_str!("metadata/README.md")),
    ("minimal", include_str!("minimal/README.md")),
    ("multisocket", include_str!("multisocket/README.md")),
    ("nsid", include_str!("nsid/README.md")),
    ("on", include_str!("on/README.md")),
    ("prometheus", include_str!("prometheus/README.md")),
    ("quic", include_str!("quic/README.md")),
    ("ready", include_str!("ready/README.md")),
    ("reload", include_str!("reload/README.md")),
    ("rewrite", include_str!("rewrite/README.md")),
    ("root", include_str!("root/README.md")),
    ("secondary", include_str!("secondary/README.md")),
    ("shed", include_str!("shed/README.md")),
    ("template", include_str!("template/README.md")),
    ("timeouts", include_str!("timeouts/README.md")),
    ("tls", include_str!("tls/README.md")),
    ("trace", include_str!("trace/README.md")),
    ("transfer", include_str!("transfer/README.md")),
    ("view", include_str!("view/README.md")),
    ("whoami", include_str!("whoami/README.md")),
];

/// What the plugin does, as its README says behind its name; `None` for one that is not there.
pub fn about(plugin: &str) -> Option<&'static str> {
    let (_, readme) = READMES.iter().find(|(name, _)| *name == plugin)?;
    let line = readme.lines().find_map(|line| line.strip_prefix('*'))?;
    line.split_once("* - ").map(|(_, about)| about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::{REGISTRY, Support};

    #[test]
    fn every_plugin_that_is_there_says_what_it_is_for() {
        for entry in REGISTRY.iter().filter(|entry| matches!(entry.support, Support::Ready { .. }))
        {
            assert!(about(entry.name).is_some(), "{}", entry.name);
        }
        assert_eq!(about("geoip"), None);
    }
}
