//! What `deploy/` has: a real API server takes the chart and the manifests, the ClusterRole is enough
//! and no more, the image's root runs by itself, and what dashboard and alerts name is exported.

use std::{process::ExitCode, sync::Arc};

use daymark_tests::{control_plane::ControlPlane, folder, namespace::tool_path, peers};
use libtest_mimic::{Arguments, Failed, Trial};

#[path = "deploy/agent.rs"]
mod agent;
#[path = "deploy/alerts.rs"]
mod alerts;
#[path = "deploy/chart.rs"]
mod chart;
#[path = "deploy/helm.rs"]
mod helm;
#[path = "deploy/image.rs"]
mod image;
#[path = "deploy/metrics.rs"]
mod metrics;
#[path = "deploy/role.rs"]
mod role;

/// A trial's name and what it does.
type Test = (String, Box<dyn FnOnce() -> anyhow::Result<()> + Send>);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The last one stops the API server for a while.
    arguments.test_threads = Some(1);
    let mut trials = Vec::new();
    add(&mut trials, "alerts", missing_tools(&["promtool"]), || Ok(alerts::tests()));
    add(&mut trials, "image", image::unavailable(), image::tests);
    let missing = missing_peers(&["helm", "etcd", "kube-apiserver", chart::DEFINITIONS[0]]);
    let mut plane = None;
    add(&mut trials, "chart", missing, || {
        let started = plane.insert(Arc::new(ControlPlane::start()?));
        let mut tests = chart::tests(started)?;
        folder::load_into(started)?;
        tests.extend(role::tests(started));
        tests.extend(agent::tests(started));
        Ok(tests)
    });
    add(&mut trials, "dashboard", missing_tools(&["prometheus"]), || match &plane {
        Some(plane) => Ok(metrics::tests(plane)),
        None => Ok(Vec::new()),
    });
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(plane);
    conclusion.exit_code()
}

/// Adds a group's tests; one that is skipped if something is `missing`, one that fails if they can't
/// be prepared.
fn add(
    trials: &mut Vec<Trial>,
    group: &str,
    missing: Option<String>,
    prepare: impl FnOnce() -> anyhow::Result<Vec<Test>>,
) {
    if let Some(reason) = missing {
        let skipped = Trial::test(format!("{group}: {reason}"), || Ok(()));
        return trials.push(skipped.with_ignored_flag(true));
    }
    match prepare() {
        Ok(tests) => trials.extend(tests.into_iter().map(|(name, test)| {
            let test = || test().map_err(|error| Failed::from(format!("{error:#}")));
            Trial::test(format!("{group}: {name}"), test)
        })),
        Err(error) => {
            let what = format!("{error:#}");
            let failed = move || Err(Failed::from(what));
            trials.push(Trial::test(format!("{group}: can be prepared"), failed));
        }
    }
}

/// A test of the list.
fn test(name: &str, test: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Test {
    (name.to_owned(), Box::new(test))
}

fn missing_tools(tools: &[&str]) -> Option<String> {
    let missing = tools.iter().find(|tool| tool_path(tool).is_none())?;
    Some(format!("{missing} is not installed"))
}

fn missing_peers(peers: &[&str]) -> Option<String> {
    peers.iter().find_map(|peer| peers::program(peer).err())
}
