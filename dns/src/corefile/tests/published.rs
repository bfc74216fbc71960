//! The shapes of Corefile that clusters have, in our words, read as they are.

use super::cases::load;
use crate::corefile::source::Memory;
use crate::plugins::PluginConfig;

#[test]
fn the_corefiles_that_clusters_have_are_accepted() {
    for (name, text, servers) in [
        ("kubeadm", include_str!("published/kubeadm"), 1),
        ("node-local cache", include_str!("published/node-local"), 4),
        ("kops", include_str!("published/kops"), 1),
        ("EKS", include_str!("published/eks"), 1),
        ("k3s", include_str!("published/k3s"), 1),
        ("stub domains", include_str!("published/stub-domains"), 3),
        ("federation of two clusters", include_str!("published/multicluster"), 1),
    ] {
        let machine = Memory::default()
            .file("/etc/coredns/NodeHosts", "10.0.0.1 node\n")
            .file("/etc/coredns/custom/lab.override", "log lab.example\n")
            .file(
                "/etc/coredns/custom/lab.server",
                "lab.example:53 {\n    forward . 10.0.0.3\n}\n",
            );
        let text = text.replace("import custom/", "import /etc/coredns/custom/");
        let checked = load(&text, machine).unwrap_or_else(|mistakes| panic!("{name}: {mistakes}"));
        let expected = if name == "k3s" { servers + 1 } else { servers };
        assert_eq!(checked.servers.len(), expected, "{name}");
        assert!(checked.warnings.is_empty(), "{name}: {:?}", checked.warnings);
    }
}

#[test]
fn kubeadms_plugins_run_in_coredns_order() {
    let checked =
        load(include_str!("published/kubeadm"), Memory::default()).expect("kubeadm's is right");
    let names: Vec<_> = checked.servers[0].plugins.iter().map(PluginConfig::name).collect();
    assert_eq!(
        names,
        [
            "reload",
            "ready",
            "health",
            "prometheus",
            "errors",
            "loadbalance",
            "cache",
            "kubernetes",
            "loop",
            "forward"
        ]
    );
}
