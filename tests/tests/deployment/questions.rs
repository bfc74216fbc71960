//! The questions: kubeadm's of tests/dns/corefiles, and those record rules that its Corefile keeps.

use daymark_tests::{
    peers,
    rules::{self, Case, Expected, Table},
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Collection {
    files: Vec<Corefile>,
}

#[derive(Deserialize)]
struct Corefile {
    file: String,
    #[serde(default)]
    queries: Vec<Case>,
}

/// All of them.
///
/// # Errors
/// What can't be read.
pub(crate) fn all() -> anyhow::Result<Vec<Case>> {
    let page = peers::repository().join("tests/dns/corefiles/corefiles.yaml");
    let collection: Collection = rules::read_yaml(&page)?;
    let kubeadm = collection.files.into_iter().filter(|file| file.file == "kubeadm.corefile");
    let mut cases: Vec<Case> = kubeadm.flat_map(|file| file.queries).collect();
    cases.extend(Table::read()?.cases.into_iter().filter(applies).map(with_kubeadms_ttl));
    Ok(cases)
}

/// The server `default` has no pods, no fallthrough, other names of its own beside the cluster's, and
/// it is found by the machine's address.
fn applies(case: &Case) -> bool {
    let query = case.query.to_lowercase();
    let name = query.split(' ').next().unwrap_or_default();
    let reverse = name.ends_with(".arpa.");
    let other_side = case.coredns.as_ref().map(|difference| &difference.expected);
    let outside = |expected: &Expected| {
        let records = [&expected.answer, &expected.authority, &expected.additional];
        records
            .into_iter()
            .flatten()
            .any(|record| record.contains('@') || record.contains("example"))
    };
    case.server == "default"
        && case.clause != "8"
        && (reverse || name.ends_with("cluster.local."))
        && (!reverse || !case.expected.answer.is_empty())
        && !name.ends_with("pod.cluster.local.")
        && !name.starts_with("to-pod.")
        && !name.ends_with("ns.dns.cluster.local.")
        && !query.ends_with(" ns")
        && !outside(&case.expected)
        && !other_side.is_some_and(outside)
}

/// Whether CoreDNS's answer depends on who asked before: it caches its own reverse zones, so that an
/// answer has an older one's TTL and letters (own-data-is-not-cached in DIFFERENCES.md).
pub(crate) fn is_cached_by_coredns(case: &Case) -> bool {
    case.query.to_lowercase().contains(".arpa. ")
}

fn with_kubeadms_ttl(mut case: Case) -> Case {
    let change = |expected: &mut Expected| {
        let sections = [&mut expected.answer, &mut expected.authority, &mut expected.additional];
        for record in sections.into_iter().flatten() {
            *record = record.replace(" 5 IN ", " 30 IN ");
            if let Some(start) = record.strip_suffix(" 86400 5") {
                *record = format!("{start} 86400 30");
            }
        }
    };
    change(&mut case.expected);
    if let Some(difference) = &mut case.coredns {
        change(&mut difference.expected);
    }
    case
}
