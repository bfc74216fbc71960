//! The record rules (tests/dns/rules), asked of CoreDNS and of Daymark with the same objects in the
//! same kube-apiserver, and of Daymark with the objects in a folder.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use daymark_tests::{
    dns::{self, Transport},
    peers,
    process::{Program, retried},
    rules::{self, Case, Expected, Filling, ServerVariant, Table},
    suite::Suite,
};
use libtest_mimic::Failed;

fn main() -> ExitCode {
    Suite::run("the table can be asked", prepare)
}

fn prepare(suite: &mut Suite) -> anyhow::Result<()> {
    let table = Table::read()?;
    suite.trial("every clause is covered".to_owned(), {
        let cases = table.cases.clone();
        move || covered(&cases)
    });
    suite.trial("differences are explained, and only those".to_owned(), {
        let cases = table.cases.clone();
        move || explained(&cases)
    });
    let (scratch, manifests) = (suite.scratch(), suite.manifests()?);
    let serving = serve_daymark(&scratch, "folder", &table, &Filling::default(), Some(&manifests))?;
    ask("daymark/folder", &table, serving, Side::Daymark, suite);

    suite.with_plane("the table with a kube-apiserver and CoreDNS", |suite, plane| {
        let filling = Filling {
            kubernetes: format!("kubeconfig {}", plane.kubeconfig().display()),
            api: Some([
                plane.url(),
                plane.pki("admin.crt").display().to_string(),
                plane.pki("admin.key").display().to_string(),
                plane.pki("ca.crt").display().to_string(),
            ]),
        };
        let serving = serve_coredns(&scratch, &table, &filling)?;
        ask("coredns", &table, serving, Side::CoreDns, suite);
        let serving = serve_daymark(&scratch, "api", &table, &filling, None)?;
        ask("daymark/api", &table, serving, Side::Daymark, suite);
        Ok(())
    })
}

/// Whose expectations count.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Daymark,
    CoreDns,
}

type Serving = (Program, HashMap<String, u16>);

fn ask(group: &str, table: &Table, (program, ports): Serving, side: Side, suite: &mut Suite) {
    for case in &table.cases {
        let Some(port) = ports.get(&case.server) else { continue };
        let expected = match (&case.coredns, side) {
            (Some(difference), Side::CoreDns) if difference.skip => continue,
            (Some(difference), Side::CoreDns) => difference.expected.clone(),
            _ => case.expected.clone(),
        };
        let (case, server) = (case.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, *port)));
        let name = format!("{group}: {}: {}", case.clause, case.name);
        suite.trial(name, move || answer(&case, server, &expected));
    }
    suite.keep(program);
}

fn answer(case: &Case, server: SocketAddr, expected: &Expected) -> Result<(), Failed> {
    rules::check(case, server, expected).map_err(|error| Failed::from(format!("{error:#}")))
}

fn serve_daymark(
    scratch: &Path,
    name: &str,
    table: &Table,
    filling: &Filling,
    manifests: Option<&Path>,
) -> anyhow::Result<Serving> {
    let (text, ports) = rules::corefile(&table.servers, filling);
    let corefile = scratch.join(format!("{name}.corefile"));
    std::fs::write(&corefile, text)?;
    let mut arguments = vec!["dns".into(), "--conf".into(), corefile.into_os_string()];
    if let Some(manifests) = manifests {
        arguments.extend(["--manifests".into(), manifests.as_os_str().to_owned()]);
    }
    let log = scratch.join(format!("daymark-{name}.log"));
    let program = Program::start(&peers::daymark(), arguments, &log)?;
    ready(program, ports, &table.servers)
}

fn serve_coredns(scratch: &Path, table: &Table, filling: &Filling) -> anyhow::Result<Serving> {
    let (text, ports) = rules::corefile(&table.servers, filling);
    let corefile = scratch.join("coredns.corefile");
    std::fs::write(&corefile, text)?;
    let coredns = peers::program("coredns").map_err(anyhow::Error::msg)?;
    let program = Program::start(
        &coredns,
        ["-conf".as_ref(), corefile.as_os_str()],
        &scratch.join("coredns.log"),
    )?;
    ready(program, ports, &table.servers)
}

/// Waits until every server answers, and knows all there is to know: those with objects answer
/// something other than SERVFAIL for a name that does not exist.
fn ready(
    mut program: Program,
    ports: HashMap<String, u16>,
    servers: &[ServerVariant],
) -> anyhow::Result<Serving> {
    for server in servers.iter().filter(|server| ports.contains_key(&server.name)) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[&server.name]));
        program.wait_until_listening(address).with_context(|| server.name.clone())?;
    }
    // The first servers' informers list at the same time as all others'.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports["default"]));
    retried(|| {
        let query = dns::query("no-such.shop.svc.cluster.local.", "A", None)?;
        let reply = dns::ask(address, &query, Transport::Udp)?;
        anyhow::ensure!(u16::from(reply.metadata.response_code) == 3, "not synced yet");
        Ok(())
    })?;
    Ok((program, ports))
}

/// At least 300 cases; every rule has a positive, a negative and a mixed-case question.
fn covered(cases: &[Case]) -> Result<(), Failed> {
    let mut kinds: BTreeMap<u8, BTreeSet<&str>> = (1..=18).map(|n| (n, BTreeSet::new())).collect();
    for case in cases {
        let clause: u8 = case.clause.parse().map_err(|_| format!("{}: no clause", case.name))?;
        let known =
            kinds.get_mut(&clause).ok_or_else(|| format!("{}: no clause {clause}", case.name))?;
        known.insert(&case.kind);
    }
    let wanted = BTreeSet::from(["mixed-case", "negative", "positive"]);
    let lacking: Vec<u8> =
        kinds.into_iter().filter(|(_, kinds)| *kinds != wanted).map(|(clause, _)| clause).collect();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    if !lacking.is_empty() || cases.len() < 300 || names.len() != cases.len() {
        let (all, unique) = (cases.len(), names.len());
        return Err(format!("clauses not covered: {lacking:?}; {all} cases, {unique} names").into());
    }
    Ok(())
}

/// Each difference that a case names is a heading of DIFFERENCES.md, and the other way round; each
/// differs indeed.
fn explained(cases: &[Case]) -> Result<(), Failed> {
    let page = std::fs::read_to_string(peers::repository().join("tests/dns/DIFFERENCES.md"))?;
    let record_rules =
        page.split("\n# ").find(|part| part.contains("record rules")).unwrap_or(&page);
    let headings: BTreeSet<&str> =
        record_rules.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let differences = cases.iter().filter_map(|case| Some((case, case.coredns.as_ref()?)));
    let named: BTreeSet<&str> = differences.clone().map(|(_, d)| d.difference.as_str()).collect();
    if headings != named {
        return Err(format!("headings {headings:?}, cases name {named:?}").into());
    }
    for (case, difference) in differences {
        if !difference.skip && difference.expected == case.expected {
            return Err(format!("{}: CoreDNS does not differ", case.name).into());
        }
    }
    Ok(())
}
