//! The plugins (tests/dns/plugins): the same Corefiles and questions, on Daymark and on CoreDNS.

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use daymark_tests::{
    dns::{self, Transport},
    pages, peers, ports,
    process::{self, Program},
    rules::{self, Case},
    suite::Suite,
    upstream::Upstream,
};
use libtest_mimic::Failed;
use serde::Deserialize;

/// A Corefile and what is asked; tests/dns/plugins/README.md explains the fields.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    name: String,
    corefile: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    needs: Option<String>,
    #[serde(default)]
    queries: Vec<Asked>,
    #[serde(default)]
    log: Vec<String>,
    #[serde(default)]
    metrics: Vec<String>,
    #[serde(default)]
    coredns: Option<Differs>,
}

/// A question of a Corefile.
#[derive(Clone, Deserialize)]
struct Asked {
    #[serde(default)]
    write: BTreeMap<String, String>,
    #[serde(default)]
    eventually: bool,
    #[serde(flatten)]
    case: Case,
}

/// Where CoreDNS differs as a whole.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Differs {
    #[serde(default)]
    difference: Option<String>,
    #[serde(default)]
    absent: bool,
    #[serde(default)]
    skip: bool,
    #[serde(default)]
    log: Option<Vec<String>>,
    #[serde(default)]
    metrics: Option<Vec<String>>,
}

/// Who runs the Corefiles.
#[derive(Clone)]
struct Side {
    program: PathBuf,
    arguments: Vec<String>,
    /// What `@KUBERNETES@` stands for.
    kubernetes: String,
}

fn main() -> ExitCode {
    Suite::run("the plugins can be asked", prepare)
}

fn prepare(suite: &mut Suite) -> anyhow::Result<()> {
    let files = read()?;
    let all: Vec<Shown> = files.iter().flat_map(|(_, shown)| shown.clone()).collect();
    suite.trial("differences are explained".to_owned(), move || explained(&all));
    let manifests = suite.manifests()?.display().to_string();
    let arguments = ["dns", "--manifests", &manifests].map(str::to_owned).to_vec();
    let daymark = Side { program: peers::daymark(), arguments, kubernetes: String::new() };
    add("daymark", &files, &daymark, suite);
    suite.with_plane("the plugins of CoreDNS with a kube-apiserver", |suite, plane| {
        let coredns = Side {
            program: peers::program("coredns").map_err(anyhow::Error::msg)?,
            arguments: Vec::new(),
            kubernetes: format!("kubeconfig {}", plane.kubeconfig().display()),
        };
        let theirs: Vec<_> = files.iter().map(|(name, all)| (name.clone(), theirs(all))).collect();
        add("coredns", &theirs, &coredns, suite);
        Ok(())
    })
}

fn folder() -> PathBuf {
    peers::repository().join("tests/dns/plugins")
}

/// Every file's plugin and contents.
fn read() -> anyhow::Result<Vec<(String, Vec<Shown>)>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let named = |path: PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, rules::read_yaml(&path)?))
    };
    files.into_iter().map(named).collect()
}

/// What CoreDNS is to show of a file.
fn theirs(all: &[Shown]) -> Vec<Shown> {
    let runs = |shown: &&Shown| !shown.coredns.as_ref().is_some_and(|it| it.skip || it.absent);
    let mut theirs: Vec<Shown> = all.iter().filter(runs).cloned().collect();
    for shown in &mut theirs {
        if let Some(differs) = shown.coredns.take() {
            shown.log = differs.log.unwrap_or_else(|| std::mem::take(&mut shown.log));
            shown.metrics = differs.metrics.unwrap_or_else(|| std::mem::take(&mut shown.metrics));
        }
        shown.queries.retain(|asked| !asked.case.coredns.as_ref().is_some_and(|it| it.skip));
        for asked in &mut shown.queries {
            if let Some(difference) = asked.case.coredns.take() {
                asked.case.expected = difference.expected;
            }
        }
    }
    theirs
}

/// Each difference that is named is a heading of DIFFERENCES.md.
fn explained(all: &[Shown]) -> Result<(), Failed> {
    let page = std::fs::read_to_string(peers::repository().join("tests/dns/DIFFERENCES.md"))?;
    for shown in all {
        let of_cases = shown.queries.iter().filter_map(|asked| asked.case.coredns.as_ref());
        let mut named: Vec<&String> = of_cases.map(|it| &it.difference).collect();
        if let Some(differs) = shown.coredns.as_ref().filter(|it| !it.absent) {
            named.push(differs.difference.as_ref().ok_or("a difference has to be named")?);
        }
        for name in named {
            if !page.lines().any(|line| line.strip_prefix("## ") == Some(name.as_str())) {
                return Err(format!("{}: {name} is not explained", shown.name).into());
            }
        }
    }
    Ok(())
}

fn add(group: &str, files: &[(String, Vec<Shown>)], side: &Side, suite: &mut Suite) {
    for (plugin, all) in files {
        for (number, shown) in all.iter().enumerate() {
            let folder = suite.scratch().join(format!("{group}-{plugin}-{number}"));
            let (shown, side) = (shown.clone(), side.clone());
            let name = format!("{group}/{plugin}: {}", shown.name);
            suite.trial(name, move || Ok(show(&shown, &side, &folder)?));
        }
    }
}

/// What the placeholders of one trial stand for.
struct Places {
    values: Vec<(String, String)>,
    ports: HashMap<String, u16>,
    metrics: SocketAddr,
}

impl Places {
    fn new(shown: &Shown, side: &Side, folder: &Path, upstream: SocketAddr) -> Self {
        let loopback = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut ports = HashMap::from([("default".to_owned(), ports::free())]);
        let texts = shown.files.values().chain([&shown.corefile]);
        for named in texts.flat_map(|text| text.split("@PORT:").skip(1)) {
            let name = named.split('@').next().unwrap_or_default();
            ports.entry(name.to_owned()).or_insert_with(ports::free);
        }
        let metrics = loopback(ports::free());
        let mut values = vec![
            ("@PORT@".to_owned(), ports["default"].to_string()),
            ("@METRICS@".to_owned(), metrics.port().to_string()),
            ("@DIR@".to_owned(), folder.display().to_string()),
            ("@UPSTREAM@".to_owned(), upstream.to_string()),
            ("@KUBERNETES@".to_owned(), side.kubernetes.clone()),
        ];
        let named = ports.iter().map(|(name, port)| (format!("@PORT:{name}@"), port.to_string()));
        values.extend(named);
        Places { values, ports, metrics }
    }

    fn fill(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn fill_case(&self, case: &Case) -> Case {
        let mut case = case.clone();
        let expected = &mut case.expected;
        let sections = [&mut expected.answer, &mut expected.authority, &mut expected.additional];
        let options = expected.options.iter_mut().flatten();
        for text in sections.into_iter().flatten().chain(options) {
            *text = self.fill(text);
        }
        case
    }

    fn server(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let port = self.ports.get(name).with_context(|| format!("there is no @PORT:{name}@"))?;
        Ok((Ipv4Addr::LOCALHOST, *port).into())
    }
}

/// Runs one Corefile and asks its questions.
fn show(shown: &Shown, side: &Side, folder: &Path) -> anyhow::Result<()> {
    let upstream = Upstream::start(&self::folder().join("upstream.zone"))?;
    let places = Places::new(shown, side, folder, upstream.address);
    std::fs::create_dir_all(folder)?;
    write(folder, &places, &shown.files)?;
    let conf = folder.join("Corefile");
    std::fs::write(&conf, places.fill(&shown.corefile))?;
    let mut arguments = side.arguments.clone();
    arguments.extend(["-conf".to_owned(), conf.display().to_string()]);
    let environment: Vec<(String, String)> =
        shown.env.iter().map(|(name, value)| (name.clone(), places.fill(value))).collect();
    let log = folder.join("log");
    let mut program = Program::start_in(folder, &side.program, arguments, &environment, &log)?;
    let server = places.server("default")?;
    program.wait_until_listening(server)?;
    if shown.needs.as_deref() == Some("kubernetes") {
        program.wait_until("answering from its objects", || synced(server))?;
    }
    let mut wrong = Vec::new();
    for asked in &shown.queries {
        write(folder, &places, &asked.write)?;
        let case = places.fill_case(&asked.case);
        let server = places.server(&case.server)?;
        let outcome = match asked.eventually {
            true => process::retried(|| rules::check(&case, server, &case.expected)),
            false => rules::check(&case, server, &case.expected),
        };
        wrong.extend(outcome.err().map(|error| format!("{}: {error:#}", case.name)));
    }
    ensure!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), program.output());
    for text in &shown.log {
        program.wait_until_said(&places.fill(text))?;
    }
    for line in &shown.metrics {
        let line = places.fill(line);
        let page = || pages::body(places.metrics, "/metrics");
        let there = || page().lines().any(|got| got == line || is_of(got, &line));
        let waited = program.wait_until(&format!("showing `{line}`"), there);
        waited.with_context(|| {
            let family = line.split('{').next().unwrap_or_default();
            let near =
                page().lines().filter(|got| got.starts_with(family)).collect::<Vec<_>>().join("\n");
            format!("metrics are\n{near}")
        })?;
    }
    Ok(())
}

/// Whether a line of a page is the series `want`, with any value.
fn is_of(line: &str, want: &str) -> bool {
    line.strip_prefix(want).is_some_and(|value| value.starts_with(' '))
}

fn write(folder: &Path, places: &Places, files: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for (file, text) in files {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        // Renamed into its place: a server that reads it meanwhile sees all of it.
        let beside = path.with_extension("new");
        std::fs::write(&beside, places.fill(text))?;
        std::fs::rename(&beside, &path)?;
    }
    Ok(())
}

/// Whether a server knows the cluster's objects: until then it answers SERVFAIL.
fn synced(server: SocketAddr) -> bool {
    let reply = dns::query("no-such.shop.svc.cluster.local.", "A", None)
        .and_then(|query| dns::ask(server, &query, Transport::Udp));
    reply.is_ok_and(|reply| u16::from(reply.metadata.response_code) == 3)
}
