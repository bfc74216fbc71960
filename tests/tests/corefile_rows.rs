//! Whether CoreDNS accepts and refuses the same directives: every row of the plugins' tables
//! (`dns/src/plugins/*/cases.txt`, explained in `dns/src/corefile/tests/cases.rs`) is a Corefile that it
//! is started with. That Daymark does as the rows say is tested beside the code.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Context;
use daymark_tests::{
    certificates::{Authority, Validity},
    namespace::Namespace,
    peers,
    process::{PATIENCE, Program},
    suite::Suite,
};
use libtest_mimic::Failed;

/// Servers at once for one table, each in a network of its own.
const SLOTS: usize = 4;
/// What CoreDNS says once it serves, or once it has read everything and goes on to wait.
const ACCEPTED: [&str; 3] = [
    "CoreDNS-1.15",
    "waiting for Kubernetes API before starting server",
    "unable to load in-cluster configuration",
];

/// A Corefile, and whether CoreDNS should accept it.
struct Row {
    text: String,
    corefile: String,
    accepted: bool,
}

fn main() -> ExitCode {
    Suite::run("the rows can be asked of CoreDNS", prepare)
}

fn prepare(suite: &mut Suite) -> anyhow::Result<()> {
    let missing = peers::program("coredns").err().or_else(Namespace::unavailable);
    if let Some(reason) = missing {
        suite.skipped("CoreDNS accepts and refuses the same", &reason);
        return Ok(());
    }
    let files = Arc::new(Files::new(&suite.scratch())?);
    let plugins = peers::repository().join("dns/src/plugins");
    let mut tables: Vec<PathBuf> = std::fs::read_dir(plugins)?
        .map(|entry| Ok(entry?.path().join("cases.txt")))
        .collect::<anyhow::Result<_>>()?;
    tables.retain(|path| path.exists());
    tables.sort();
    for table in tables {
        let folder = table.parent().and_then(Path::file_name).unwrap_or_default();
        let name = folder.to_string_lossy().into_owned();
        let rows = rows(&std::fs::read_to_string(&table)?);
        let (files, scratch) = (Arc::clone(&files), suite.scratch().join(&name));
        suite.trial(name, move || judge(&rows, &files, &scratch));
    }
    Ok(())
}

/// What stands in the place of files that rows name.
struct Files(Vec<(&'static str, String)>);

impl Files {
    fn new(scratch: &Path) -> anyhow::Result<Self> {
        let authority = Authority::new(scratch, "tls")?;
        let good = authority.issue("good", Validity::Good)?;
        let other = authority.issue("other", Validity::Good)?;
        let none = scratch.join("none.conf");
        std::fs::write(&none, "# nameserver 10.0.0.10\n")?;
        let zones = scratch.join("zones");
        std::fs::create_dir_all(&zones)?;
        let text = "$TTL 60\n@ SOA ns root 1 60 60 60 30\n@ NS ns\nns A 10.0.0.1\n";
        std::fs::write(zones.join("db.example"), text)?;
        std::fs::write(zones.join("db.example.org"), text)?;
        std::fs::write(zones.join("db.bad"), "$TTL 60\n@ SOA ns\n")?;
        std::fs::write(zones.join("db.nosoa"), "$TTL 60\nns A 10.0.0.1\n")?;
        let tls = good.certificate.parent().context("a folder")?.to_owned();
        let web = "tls_server_config:\n  cert_file: good.crt\n  key_file: good.key\n";
        let clients =
            "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: good.crt\n";
        let users = "basic_auth_users:\n  me: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi\n";
        for (file, text) in [
            ("web.yml", web.to_owned()),
            ("web-clients.yml", format!("{web}{clients}")),
            ("web-none.yml", "http_server_config:\n  http2: false\n".to_owned()),
            ("web-other.yml", web.replace("good.key", "other.key")),
            ("web-nokey.yml", "tls_server_config:\n  cert_file: good.crt\n".to_owned()),
            ("web-users.yml", format!("{web}{users}")),
        ] {
            std::fs::write(tls.join(file), text)?;
        }
        Ok(Files(vec![
            ("/tls/web", format!("{}/web", tls.display())),
            ("/tls/good.crt", good.certificate.display().to_string()),
            ("/tls/good.key", good.key.display().to_string()),
            ("/tls/other.key", other.key.display().to_string()),
            ("/etc/none.conf", none.display().to_string()),
            ("/zones/", format!("{}/", zones.display())),
        ]))
    }

    fn fill(&self, corefile: &str) -> String {
        self.0.iter().fold(corefile.to_owned(), |text, (name, path)| text.replace(name, path))
    }
}

/// The rows of a table that CoreDNS can be asked about.
fn rows(table: &str) -> Vec<Row> {
    let mut context = ".";
    let mut rows = Vec::new();
    for row in table.lines().filter(|row| !row.is_empty() && !row.starts_with('#')) {
        if let Some(found) = row.strip_prefix("in: ") {
            context = found;
            continue;
        }
        let Some((sign, rest)) = row.split_once(' ') else { continue };
        if sign.ends_with('~') {
            continue;
        }
        let line = match sign.starts_with('-') {
            true => rest.rsplit_once(" -> ").map_or(rest, |(line, _)| line),
            false => rest,
        };
        let line = line.replace(" ; ", "\n");
        let corefile = match context {
            "." => format!(". {{\n{line}\n}}\n"),
            _ => {
                let open = if context.contains(" {") { "" } else { " {" };
                format!(". {{\n{}{open}\n{line}\n}}\n}}\n", context.replace(" ; ", "\n"))
            }
        };
        let accepted = matches!(sign, "+" | "-!");
        rows.push(Row { text: row.to_owned(), corefile, accepted });
    }
    rows
}

fn judge(rows: &[Row], files: &Files, scratch: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(scratch)?;
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let outcome: anyhow::Result<()> = std::thread::scope(|scope| {
        let slots: Vec<_> = (0..SLOTS.min(rows.len()))
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    let namespace = Namespace::new()?;
                    while let Some((number, row)) = take(&next, rows) {
                        let folder = scratch.join(number.to_string());
                        if let Some(said) =
                            contradicted(row, &files.fill(&row.corefile), &namespace, &folder)?
                        {
                            wrong.lock().expect("nobody panics with the lock").push((number, said));
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        slots
            .into_iter()
            .try_for_each(|slot| slot.join().map_err(|_| anyhow::anyhow!("panicked"))?)
    });
    outcome.map_err(|error| format!("{error:#}"))?;
    let mut wrong = wrong.into_inner().expect("nobody panics with the lock");
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.sort_unstable();
    let texts: Vec<String> = wrong.into_iter().map(|(_, text)| text).collect();
    Err(format!("{} of {} rows\n{}", texts.len(), rows.len(), texts.join("\n")).into())
}

fn take<'a>(next: &AtomicUsize, rows: &'a [Row]) -> Option<(usize, &'a Row)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, rows.get(number)?))
}

/// What CoreDNS said, if it did otherwise than the row says.
fn contradicted(
    row: &Row,
    corefile: &str,
    namespace: &Namespace,
    folder: &Path,
) -> anyhow::Result<Option<String>> {
    std::fs::create_dir_all(folder)?;
    let conf = folder.join("Corefile");
    std::fs::write(&conf, corefile)?;
    let (enter, mut arguments) = namespace.enter();
    // Entering a mount namespace leads to its root, and a CoreDNS whose `auto` names no folder looks at all
    // below the one that it is in.
    arguments.insert(0, format!("--wdns={}", folder.display()));
    let coredns = peers::program("coredns").map_err(anyhow::Error::msg)?;
    arguments.extend([coredns, "-conf".into(), conf].map(|word| word.display().to_string()));
    let mut program = Program::start_in(folder, &enter, arguments, &[], &folder.join("log"))?;
    let accepted = accepts(&mut program).with_context(|| row.text.clone())?;
    let said = program.output();
    Ok((accepted != row.accepted).then(|| {
        let verdict = if accepted { "accepts" } else { "refuses" };
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        format!("CoreDNS {verdict} {}\n    {last}", row.text)
    }))
}

/// Waits until the server says that it accepts its Corefile, or ends.
fn accepts(program: &mut Program) -> anyhow::Result<bool> {
    let start = std::time::Instant::now();
    loop {
        let ended = program.has_ended()?;
        let said = program.output();
        if ACCEPTED.iter().any(|text| said.contains(text)) {
            return Ok(true);
        }
        if ended {
            return Ok(false);
        }
        anyhow::ensure!(start.elapsed() < PATIENCE, "neither yes nor no:\n{said}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
