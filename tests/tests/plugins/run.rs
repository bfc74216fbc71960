//! One trial: a server that runs a Corefile, and what it answers, shows and logs.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use anyhow::{Context, ensure};
use daymark_tests::{
    dns::{self, Transport},
    pages,
    process::{self, Program},
    rules,
    upstream::Upstream,
};

use super::{
    CERTIFIED, Side,
    data::{self, Page, Shown},
    places::Places,
};

/// Runs one Corefile and asks its questions.
pub(super) fn show(shown: &Shown, side: &Side, folder: &Path) -> anyhow::Result<()> {
    let upstream = Upstream::start(&data::folder().join("upstream.zone"))?;
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
    if shown.needs.is_some() {
        program.wait_until("answering from its objects", || synced(server))?;
    }
    let mut wrong = Vec::new();
    for asked in &shown.queries {
        write(folder, &places, &asked.write)?;
        let case = places.fill_case(&asked.case);
        let server = places.server(&case.server)?;
        if let Some(signal) = &asked.signal {
            program.signal(signal)?;
        }
        let ask = || match case.transport {
            Transport::Udp | Transport::Tcp => rules::check(&case, server, &case.expected),
            _ => {
                let client = side.certificates.client(asked.certificate.as_deref())?;
                let query = rules::question(&case)?;
                let reply = client.ask(case.transport, server, CERTIFIED, &query);
                rules::judge(&case, server, &case.expected, reply)
            }
        };
        let outcome = if asked.eventually { process::retried(ask) } else { ask() };
        wrong.extend(outcome.err().map(|error| format!("{}: {error:#}", case.name)));
    }
    ensure!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), program.output());
    for text in &shown.log {
        program.wait_until_said(&places.fill(text))?;
    }
    for page in &shown.pages {
        let server = places.server(&page.server)?;
        process::retried(|| page.check(server))?;
    }
    for text in &shown.log_lacks {
        let text = places.fill(text);
        ensure!(!program.output().contains(&text), "`{text}` is in\n{}", program.output());
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

impl Page {
    fn check(&self, server: SocketAddr) -> anyhow::Result<()> {
        let (status, body) = pages::page(server, &self.path)?;
        ensure!(status == self.status, "{}: {status}, not {}", self.path, self.status);
        let as_wanted = self.body.as_ref().is_none_or(|want| *want == body.trim_end());
        ensure!(as_wanted, "{}: the body is `{body}`", self.path);
        Ok(())
    }
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
