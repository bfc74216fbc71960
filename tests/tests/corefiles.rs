//! The Corefiles that people have (tests/dns/corefiles): they load and answer, on CoreDNS and on
//! Daymark, with the objects of the record rules.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use daymark_tests::{
    dns::{self, Transport},
    peers, ports,
    process::Program,
    rules::{self, Case},
    suite::Suite,
};
use libtest_mimic::Failed;
use serde::Deserialize;

/// tests/dns/corefiles/corefiles.yaml; its top explains the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Collection {
    replace: Vec<(String, String)>,
    files: Vec<Corefile>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Corefile {
    file: String,
    #[serde(default)]
    replace: Vec<(String, String)>,
    #[serde(default)]
    also: HashMap<String, String>,
    #[serde(default)]
    env: HashMap<String, String>,
    #[serde(default)]
    queries: Vec<Case>,
}

impl Corefile {
    fn name(&self) -> &str {
        self.file.trim_end_matches(".corefile")
    }
}

fn main() -> ExitCode {
    Suite::run("the Corefiles can be asked", prepare)
}

fn prepare(suite: &mut Suite) -> anyhow::Result<()> {
    let collection: Collection = rules::read_yaml(&source("corefiles.yaml"))?;
    for corefile in &collection.files {
        let name = format!("daymark check corefile: {}", corefile.file);
        let corefile = corefile.clone();
        suite.trial(name, move || checks(&corefile));
    }
    let files = collection.files.clone();
    suite.trial("differences are explained".to_owned(), move || explained(&files));
    let (scratch, manifests) = (suite.scratch(), suite.manifests()?);
    let daymark = |more: &[&str]| Side {
        program: peers::daymark(),
        arguments: ["dns"].iter().chain(more).map(ToString::to_string).collect(),
        kubernetes: String::new(),
        is_coredns: false,
    };
    let side = daymark(&["--manifests", &manifests.display().to_string()]);
    ask("daymark/folder", &collection, &side, &scratch.join("folder"), suite)?;

    suite.with_plane("the Corefiles with a kube-apiserver and CoreDNS", |suite, plane| {
        let kubernetes = format!("kubeconfig {}", plane.kubeconfig().display());
        let program = peers::program("coredns").map_err(anyhow::Error::msg)?;
        let side = Side {
            program,
            arguments: Vec::new(),
            kubernetes: kubernetes.clone(),
            is_coredns: true,
        };
        ask("coredns", &collection, &side, &scratch.join("peer"), suite)?;
        let side = Side { kubernetes, ..daymark(&[]) };
        ask("daymark/api", &collection, &side, &scratch.join("api"), suite)
    })
}

fn source(file: &str) -> PathBuf {
    peers::repository().join("tests/dns/corefiles").join(file)
}

/// Who runs the Corefiles: `PROGRAM ARGUMENTS -conf FILE`.
struct Side {
    program: PathBuf,
    arguments: Vec<String>,
    kubernetes: String,
    is_coredns: bool,
}

/// Starts a process for each file and adds a trial for each that has questions.
fn ask(
    group: &str,
    collection: &Collection,
    side: &Side,
    scratch: &Path,
    suite: &mut Suite,
) -> anyhow::Result<()> {
    let files = &collection.files;
    let listen: HashMap<&str, u16> =
        files.iter().map(|corefile| (corefile.name(), ports::free())).collect();
    let mut started = Vec::new();
    for corefile in files {
        let folder = scratch.join(corefile.name());
        let text = write(corefile, &collection.replace, &listen, &side.kubernetes, &folder)?;
        let conf = folder.join("Corefile").display().to_string();
        let arguments = side.arguments.iter().cloned().chain(["-conf".to_owned(), conf]);
        let environment: Vec<(String, String)> = corefile.env.clone().into_iter().collect();
        let log = folder.join("log");
        let mut program = Program::start_in(&folder, &side.program, arguments, &environment, &log)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listen[corefile.name()]));
        // One after the other: nobody finds the resolvers that it forwards to missing.
        program
            .wait_until_listening(address)
            .with_context(|| format!("{group}: {}", corefile.file))?;
        started.push((corefile, program, address, text));
    }
    for (corefile, mut program, address, text) in started {
        if text.contains("kubernetes ") {
            program
                .wait_until("answering from its objects", || synced(address))
                .with_context(|| format!("{group}: {}", corefile.file))?;
        }
        if !corefile.queries.is_empty() {
            let mut queries = corefile.queries.clone();
            if side.is_coredns {
                queries.iter_mut().for_each(expect_coredns);
            }
            let name = format!("{group}: {}", corefile.file);
            suite.trial(name, move || answers(&queries, address));
        }
        suite.keep(program);
    }
    Ok(())
}

/// Puts a Corefile, fit for loopback, and the files beside it into `folder`.
fn write(
    corefile: &Corefile,
    for_all: &[(String, String)],
    listen: &HashMap<&str, u16>,
    kubernetes: &str,
    folder: &Path,
) -> anyhow::Result<String> {
    let mut values = vec![
        ("@PORT@".to_owned(), listen[corefile.name()].to_string()),
        ("@DIR@".to_owned(), folder.display().to_string()),
        ("@KUBERNETES@".to_owned(), kubernetes.to_owned()),
    ];
    values.extend(listen.iter().map(|(name, port)| (format!("@PORT:{name}@"), port.to_string())));
    let own = ["@HEALTH@", "@READY@", "@METRICS@"];
    values.extend(own.map(|name| (name.to_owned(), ports::free().to_string())));
    let filled = |text: &str| {
        values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    };
    let mut text = std::fs::read_to_string(source(&corefile.file))?;
    for (from, to) in for_all.iter().chain(&corefile.replace) {
        text = text.replace(from, to);
    }
    let text = filled(&text);
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("Corefile"), &text)?;
    for (file, content) in &corefile.also {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        std::fs::write(path, filled(content))?;
    }
    Ok(text)
}

/// Puts what CoreDNS says, where it differs, in the place of what is expected.
fn expect_coredns(case: &mut Case) {
    if let Some(difference) = &case.coredns {
        case.expected = difference.expected.clone();
    }
}

/// Each difference that a question names is a heading of DIFFERENCES.md.
fn explained(files: &[Corefile]) -> Result<(), Failed> {
    let page = std::fs::read_to_string(peers::repository().join("tests/dns/DIFFERENCES.md"))?;
    let named =
        files.iter().flat_map(|file| &file.queries).filter_map(|case| case.coredns.as_ref());
    for difference in named.map(|difference| &difference.difference) {
        if !page.lines().any(|line| line.strip_prefix("## ") == Some(difference.as_str())) {
            return Err(format!("{difference} is not explained").into());
        }
    }
    Ok(())
}

/// Whether a server knows the cluster's objects: until then it answers SERVFAIL.
fn synced(server: SocketAddr) -> bool {
    let reply = dns::query("no-such.shop.svc.cluster.local.", "A", None)
        .and_then(|query| dns::ask(server, &query, Transport::Udp));
    reply.is_ok_and(|reply| u16::from(reply.metadata.response_code) == 3)
}

/// Asks a file's questions, in their order.
fn answers(queries: &[Case], server: SocketAddr) -> Result<(), Failed> {
    let wrong: Vec<String> = queries
        .iter()
        .filter_map(|case| {
            let error = rules::check(case, server, &case.expected).err()?;
            Some(format!("{}: {error:#}", case.name))
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// A file, as it stands in a cluster, passes the check that is made before it is used.
fn checks(corefile: &Corefile) -> Result<(), Failed> {
    let output = std::process::Command::new(peers::daymark())
        .args(["check", "corefile"])
        .arg(source(&corefile.file))
        .envs(&corefile.env)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&said)).into())
}
