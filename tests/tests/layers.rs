//! The one-way rule: which of our crates may use which (ARCHITECTURE.md), and who may name what.

use std::{collections::BTreeMap, process::Command};

use daymark_tests::peers;
use serde_json::Value;

/// Crates of ours that a crate may use. Tools that stand outside (tests, benchmarks, fuzzing, xtask)
/// are not listed: nothing may depend on them.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("daymark-cluster", &[]),
    ("daymark-abi", &[]),
    ("daymark-loader", &["daymark-abi"]),
    ("daymark-source", &["daymark-cluster"]),
    ("daymark-dns", &["daymark-cluster"]),
    ("daymark-cni-spec", &[]),
    ("daymark-cni-plugin", &["daymark-cni-spec"]),
    ("daymark-cni", &["daymark-cni-spec", "daymark-cluster", "daymark-abi", "daymark-loader"]),
    (
        "daymark-agent",
        &["daymark-cluster", "daymark-source", "daymark-abi", "daymark-loader", "daymark-cni"],
    ),
    ("daymark-lab", &["daymark-cni", "daymark-agent"]),
    (
        "daymark",
        &[
            "daymark-cluster",
            "daymark-source",
            "daymark-dns",
            "daymark-cni",
            "daymark-agent",
            "daymark-lab",
        ],
    ),
];

/// Libraries that only one of the crates above may name.
const RESERVED: [(&str, &str); 4] = [
    ("kube", "daymark-source"),
    ("k8s-openapi", "daymark-source"),
    ("aya", "daymark-loader"),
    ("netlink-packet-route", "daymark-cni"),
];

/// Ordinary dependencies by crate, development ones left out.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(peers::repository())
        .output()
        .expect("cargo metadata runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().into_iter().flatten();
        all.filter(|d| d["kind"] != "dev").map(|d| text(&d["name"])).collect()
    };
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().map(|package| (text(&package["name"]), of(package))).collect()
}

#[test]
fn crates_use_each_other_one_way_only() {
    let dependencies = dependencies();
    for (name, allowed) in ALLOWED {
        let used = dependencies.get(name).unwrap_or_else(|| panic!("{name} is in the workspace"));
        let forbidden: Vec<&String> = used
            .iter()
            .filter(|used| dependencies.contains_key(*used) && !allowed.contains(&used.as_str()))
            .collect();
        assert!(forbidden.is_empty(), "{name} may not use {forbidden:?}");
    }
}

#[test]
fn no_code_is_for_one_processor_alone() {
    let output = Command::new("git")
        .args(["grep", "-lE", r"(std|core)::arch::|asm!|is_x86_feature|target_feature", "--"])
        .args(["*.rs", ":!tests/tests/layers.rs"])
        .current_dir(peers::repository())
        .output()
        .expect("git runs");
    let found = String::from_utf8_lossy(&output.stdout);
    let bare = found.lines().filter(|file| {
        let text = std::fs::read_to_string(peers::repository().join(file)).unwrap_or_default();
        !text.contains("cfg(target_arch")
    });
    assert_eq!(bare.collect::<Vec<_>>(), Vec::<&str>::new(), "put it behind `cfg(target_arch)`");
}

#[test]
fn reserved_libraries_are_named_by_their_crate_alone() {
    let dependencies = dependencies();
    for (library, owner) in RESERVED {
        for (name, _) in ALLOWED.iter().filter(|(name, _)| *name != owner) {
            let named = dependencies[*name].iter().any(|used| used == library);
            assert!(!named, "{name} names {library}, which is {owner}'s");
        }
    }
}

#[test]
fn every_crate_has_its_place_in_the_rule() {
    const TOOLS: [&str; 4] = ["daymark-tests", "daymark-bench", "daymark-fuzz", "xtask"];
    for name in dependencies().keys() {
        let placed =
            ALLOWED.iter().any(|(known, _)| known == name) || TOOLS.contains(&name.as_str());
        assert!(placed, "{name} is not in the layer rule: add it there and in ARCHITECTURE.md");
    }
}
