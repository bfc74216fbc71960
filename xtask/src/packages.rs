//! Debian packages that tests use: installed as root, named otherwise.

use std::process::Command;

use crate::shell::{execute, is_installed};

/// Program to look for, and the package that brings it.
const TESTS: [(&str, &str); 8] = [
    ("dig", "bind9-dnsutils"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("kdig", "knot-dnsutils"),
    ("promtool", "prometheus"),
    ("dnsperf", "dnsperf"),
];
/// The same for real nodes.
const NODES: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("dnsperf", "dnsperf"),
    ("python3", "python3"),
];
/// The same for benchmarks.
const BENCHMARKS: [(&str, &str); 4] =
    [("dnsperf", "dnsperf"), ("knotd", "knot"), ("nsd", "nsd"), ("unbound", "unbound")];

/// Installs what the tests lack.
pub(crate) fn for_tests() {
    install(&TESTS);
}

/// Installs what real nodes lack.
pub(crate) fn for_nodes() {
    install(&NODES);
}

/// Installs what the benchmarks lack.
pub(crate) fn for_benchmarks() {
    install(&BENCHMARKS);
}

/// Installs what is missing, if that can be done; says what it does. Tests that lack a program are
/// skipped with that reason, so a failure here is no failure of the tests.
fn install(wanted: &[(&str, &str)]) {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return;
    }
    if !is_installed("apt-get") {
        println!("xtask: not installed: {}; tests that need them are skipped", missing.join(", "));
        return;
    }
    println!("xtask: installing {}", missing.join(", "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        execute(&mut command)
    };
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(&missing);
    // A package index may be missing altogether on a fresh machine, and one try may fail for no
    // reason that lasts.
    let installed = apt(&["update", "-q"]).and_then(|()| apt(&install)).or_else(|_| apt(&install));
    if let Err(error) = installed {
        println!("xtask: {error:#}; as root: apt-get install {}", missing.join(" "));
    }
}
