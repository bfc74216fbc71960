//! The plugins (tests/dns/plugins): the same Corefiles and questions, on Daymark and on CoreDNS.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use daymark_tests::{peers, suite::Suite};

#[path = "plugins/certificates.rs"]
mod certificates;
#[path = "plugins/data.rs"]
mod data;
#[path = "plugins/places.rs"]
mod places;
#[path = "plugins/readmes.rs"]
mod readmes;
#[path = "plugins/run.rs"]
mod run;

use certificates::Certificates;
use data::Shown;

/// A name that the servers' certificate has.
const CERTIFIED: &str = "dns.test";

/// Who runs the Corefiles.
#[derive(Clone)]
struct Side {
    program: PathBuf,
    arguments: Vec<String>,
    /// Those that are the same in all trials, with what they stand for.
    placeholders: Vec<(String, String)>,
    certificates: Arc<Certificates>,
}

fn main() -> ExitCode {
    Suite::run("the plugins can be asked", prepare)
}

fn prepare(suite: &mut Suite) -> anyhow::Result<()> {
    let files = data::read()?;
    let all: Vec<Shown> = files.iter().flat_map(|(_, shown)| shown.clone()).collect();
    suite.trial("differences are explained".to_owned(), move || data::explained(&all));
    let of_readmes = files.clone();
    suite
        .trial("every option of a README is shown".to_owned(), move || readmes::shown(&of_readmes));
    let certificates = Arc::new(Certificates::new(&suite.scratch())?);
    let manifests = suite.manifests()?.display().to_string();
    let placeholders = |kubernetes: String| {
        let mut placeholders = certificates.placeholders();
        placeholders.push(("@KUBERNETES@".to_owned(), kubernetes));
        placeholders
    };
    let daymark = Side {
        program: peers::daymark(),
        arguments: ["dns", "--manifests", &manifests].map(str::to_owned).into(),
        placeholders: placeholders(String::new()),
        certificates: Arc::clone(&certificates),
    };
    add("daymark", &with_api(&files, false), &daymark, suite);
    suite.with_plane("the plugins of CoreDNS with a kube-apiserver", |suite, plane| {
        let file = |name| plane.pki(name).display().to_string();
        let kubeconfig = plane.kubeconfig().display().to_string();
        let mut placeholders = placeholders(format!("kubeconfig {kubeconfig}"));
        placeholders.extend([
            ("@KUBECONFIG@".to_owned(), kubeconfig),
            ("@API@".to_owned(), plane.url()),
            ("@API_CERT@".to_owned(), file("admin.crt")),
            ("@API_KEY@".to_owned(), file("admin.key")),
            ("@API_CA@".to_owned(), file("ca.crt")),
        ]);
        let daymark = Side {
            arguments: vec!["dns".to_owned()],
            placeholders: placeholders.clone(),
            ..daymark.clone()
        };
        add("daymark", &with_api(&files, true), &daymark, suite);
        let coredns = Side {
            program: peers::program("coredns").map_err(anyhow::Error::msg)?,
            arguments: Vec::new(),
            placeholders,
            certificates: Arc::clone(&certificates),
        };
        let theirs: Vec<_> =
            files.iter().map(|(name, all)| (name.clone(), data::theirs(all))).collect();
        add("coredns", &theirs, &coredns, suite);
        Ok(())
    })
}

/// Those trials that need an API server, or those that do not.
fn with_api(files: &[(String, Vec<Shown>)], api: bool) -> Vec<(String, Vec<Shown>)> {
    let of = |shown: &&Shown| (shown.needs.as_deref() == Some("api")) == api;
    let some = |all: &Vec<Shown>| all.iter().filter(of).cloned().collect();
    files.iter().map(|(name, all)| (name.clone(), some(all))).collect()
}

fn add(group: &str, files: &[(String, Vec<Shown>)], side: &Side, suite: &mut Suite) {
    for (plugin, all) in files {
        for shown in all {
            let folder = suite.scratch().join(format!("{group}-{}", suite.size()));
            let (shown, side) = (shown.clone(), side.clone());
            let name = format!("{group}/{plugin}: {}", shown.name);
            suite.trial(name, move || Ok(run::show(&shown, &side, &folder)?));
        }
    }
}
