//! Changes under watch: what a real API server or a folder of manifests says anew is answered, and
//! in between every answer is either the old one or the new one.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

#[path = "changes/api.rs"]
mod api;
#[path = "changes/folder.rs"]
mod folder;
#[path = "changes/live.rs"]
mod live;
#[path = "changes/objects.rs"]
mod objects;
#[path = "changes/outage.rs"]
mod outage;
#[path = "changes/saved.rs"]
mod saved;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Those against the API share one, and an outage concerns all.
    arguments.test_threads = Some(1);
    let mut trials = folder::trials();
    trials.extend(api::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A trial out of a test that says what went wrong.
fn trial(name: &str, test: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || test().map_err(|error| Failed::from(format!("{error:#}"))))
}
