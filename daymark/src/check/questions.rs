//! What to ask of two servers: from a file, or everything that a cluster has names for.

use std::{net::IpAddr, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use daymark_cluster::{Kind, Needs, ServiceKind, ServiceState, Snapshot};
use daymark_source::{
    Source,
    kubernetes::{Access, ApiConfig},
};
use hickory_proto::rr::{Name, RecordType};

use crate::arguments::CompareOptions;

/// How long the API server may take to tell everything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) rtype: RecordType,
}

/// The questions that the options ask for.
pub(super) async fn questions(options: &CompareOptions) -> anyhow::Result<Vec<Question>> {
    match (&options.queries, options.from_api) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            parse(&text, path)
        }
        (None, true) => from_api(options).await,
        (None, false) => bail!("say what to ask: `--queries FILE` or `--from-api`"),
    }
}

/// Lines of `NAME TYPE`, as dnsperf has them; `#` and `;` begin comments.
fn parse(text: &str, path: &Path) -> anyhow::Result<Vec<Question>> {
    let mut questions = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        let place = || format!("{}:{}", path.display(), number + 1);
        let rtype = words.next().unwrap_or("A");
        let question = question(name, rtype).with_context(place)?;
        ensure!(words.next().is_none(), "{}: a line is a name and a type", place());
        questions.push(question);
    }
    ensure!(!questions.is_empty(), "{} has no question", path.display());
    Ok(questions)
}

fn question(name: &str, rtype: &str) -> anyhow::Result<Question> {
    let upper = rtype.to_uppercase();
    let number = upper.strip_prefix("TYPE").and_then(|number| number.parse::<u16>().ok());
    let rtype = match number {
        Some(number) => RecordType::from(number),
        None => upper.parse().ok().with_context(|| format!("`{rtype}` is no type"))?,
    };
    let mut name = Name::from_ascii(name).with_context(|| format!("`{name}` is no name"))?;
    name.set_fqdn(true);
    Ok(Question { name, rtype })
}

async fn from_api(options: &CompareOptions) -> anyhow::Result<Vec<Question>> {
    let access = match &options.kubeconfig {
        Some(path) => Access::Kubeconfig { path: path.clone(), context: None },
        None => Access::InCluster,
    };
    let kinds = [Kind::Service, Kind::EndpointSlice, Kind::Namespace].into_iter().collect();
    let needs = Needs { kinds, ..Needs::default() };
    let source = Source::kubernetes(&ApiConfig::new(access), needs, std::sync::Arc::new(()))?;
    let begun = tokio::time::Instant::now();
    while !source.reader.synced() {
        let troubles = source.status().troubles;
        let why = troubles.first().map_or("no answer yet", |trouble| &trouble.message);
        ensure!(begun.elapsed() < PATIENCE, "the API server has not told everything: {why}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    of_cluster(&source.reader.snapshot(), &options.zone)
}

/// What the DNS specification has names for: Services, their ports, endpoints, reverse names. And one
/// name of each namespace that is not there.
fn of_cluster(snapshot: &Snapshot, zone: &str) -> anyhow::Result<Vec<Question>> {
    let zone = zone.trim_end_matches('.');
    let mut questions =
        vec![question(zone, "SOA")?, question(&format!("dns-version.{zone}"), "TXT")?];
    for namespace in snapshot.namespaces.keys() {
        questions.push(question(&format!("no-such-service.{namespace}.svc.{zone}"), "A")?);
    }
    for (name, state) in snapshot.services.iter() {
        let domain = format!("{}.{}.svc.{zone}", name.name, name.namespace);
        of_service(&domain, state, &mut questions)?;
    }
    questions.sort_by(|a, b| (&a.name, u16::from(a.rtype)).cmp(&(&b.name, u16::from(b.rtype))));
    questions.dedup();
    Ok(questions)
}

fn of_service(
    domain: &str,
    state: &ServiceState,
    questions: &mut Vec<Question>,
) -> anyhow::Result<()> {
    let Some(service) = &state.service else { return Ok(()) };
    for rtype in ["A", "AAAA", "SRV"] {
        questions.push(question(domain, rtype)?);
    }
    for port in service.ports.iter() {
        if let Some(name) = &port.name {
            let name = format!("_{name}._{}.{domain}", port.protocol.label());
            questions.push(question(&name, "SRV")?);
        }
    }
    let own = match &service.kind {
        ServiceKind::Cluster(addresses) => addresses.to_vec(),
        ServiceKind::Headless | ServiceKind::External(_) => Vec::new(),
    };
    let endpoints = state.slices.iter().flat_map(|slice| slice.endpoints.iter());
    let endpoints: Vec<_> = endpoints.filter(|endpoint| endpoint.ready).collect();
    for endpoint in &endpoints {
        let dashed = || endpoint.address.to_string().replace(['.', ':'], "-");
        let host = endpoint.hostname.as_ref().map_or_else(dashed, ToString::to_string);
        let rtype = if endpoint.address.is_ipv4() { "A" } else { "AAAA" };
        questions.push(question(&format!("{host}.{domain}"), rtype)?);
    }
    for address in own.into_iter().chain(endpoints.iter().map(|endpoint| endpoint.address)) {
        questions.push(Question { name: reverse(address), rtype: RecordType::PTR });
    }
    Ok(())
}

fn reverse(address: IpAddr) -> Name {
    let mut name = Name::from(address);
    name.set_fqdn(true);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> anyhow::Result<Vec<Question>> {
        parse(text, Path::new("queries"))
    }

    #[test]
    fn a_file_has_a_name_and_a_type_on_a_line() {
        let text = "# all of them\nwww.example.org A\n\nwww.example.org\tAAAA ; later\nx TYPE65\n";
        let found: Vec<String> =
            parsed(text).unwrap().iter().map(|q| format!("{} {}", q.name, q.rtype)).collect();
        assert_eq!(found, ["www.example.org. A", "www.example.org. AAAA", "x. HTTPS"]);
    }

    #[test]
    fn a_bad_line_is_told_with_its_place() {
        for (text, want) in [
            ("www.example.org A\na..b A\n", "queries:2"),
            ("www.example.org WHAT\n", "queries:1"),
            ("www.example.org A 5\n", "queries:1: a line is a name and a type"),
            ("# nothing\n", "queries has no question"),
        ] {
            let error = format!("{:#}", parsed(text).unwrap_err());
            assert!(error.contains(want), "{error}");
        }
    }
}
