//! The targets over their corpora, and over random and mangled input for a bounded number of runs.

use std::{fs, path::PathBuf};

use proptest::prelude::*;

type Target = fn(&[u8]);

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "a corpus of {target}");
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Runs `target` over its corpus, over random bytes, and over the corpus with octets changed,
/// removed and inserted.
fn fuzz(name: &str, target: Target, cases: u32) {
    let corpus = corpus(name);
    corpus.iter().for_each(|entry| target(entry));
    let edit = (any::<prop::sample::Index>(), 0u8..3, any::<u8>());
    let mangled = (prop::sample::select(corpus), prop::collection::vec(edit, 1..8)).prop_map(
        |(mut bytes, edits)| {
            for (at, what, octet) in edits {
                let at = at.index(bytes.len() + 1);
                match what {
                    0 if at < bytes.len() => bytes[at] = octet,
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    _ => bytes.insert(at, octet),
                }
            }
            bytes
        },
    );
    let random = prop::collection::vec(any::<u8>(), 0..600);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(bytes in prop_oneof![3 => mangled, 1 => random])| target(&bytes));
}

#[test]
fn messages() {
    fuzz("message", crate::message, 60_000);
}

#[test]
fn corefiles() {
    fuzz("corefile", crate::corefile, 6_000);
}

#[test]
fn watches() {
    fuzz("watch", crate::watch, 6_000);
}

#[test]
fn manifests() {
    fuzz("manifest", crate::manifest, 6_000);
}

#[test]
fn expressions() {
    fuzz("expression", crate::expression, 20_000);
}

#[test]
fn templates() {
    fuzz("template", crate::template, 20_000);
}

#[test]
fn rewrites() {
    fuzz("rewrite", crate::rewrite, 6_000);
}

#[test]
fn forwards() {
    fuzz("forward", crate::forward, 6_000);
}

#[test]
fn upstreams() {
    fuzz("upstream", crate::upstream, 40_000);
}

#[test]
fn records() {
    fuzz("record", crate::record, 20_000);
}

#[test]
fn states() {
    let good = corpus("state").remove(0);
    let objects = daymark_source::kubernetes::read_state("fuzzed", &good);
    assert_eq!(objects, Some(2), "the corpus is of the layout that is read");
    fuzz("state", crate::state, 6_000);
}

#[test]
fn uris() {
    fuzz("doh", crate::doh, 20_000);
}

#[test]
fn zones() {
    fuzz("zone", crate::zone, 10_000);
}

#[test]
fn transfers() {
    fuzz("transfer", crate::transfer, 20_000);
}

#[test]
fn cni_configurations() {
    fuzz("cni", crate::cni, 20_000);
}

#[test]
fn cni_messages() {
    let is_record = |entry: &Vec<u8>| daymark_cni::record::parse(entry).is_some();
    assert!(corpus("cni_message").iter().any(is_record), "the corpus has a record of today");
    fuzz("cni_message", crate::cni_message, 20_000);
}
