//! Suites whose trials are data: servers are started once, with the objects of the record rules, and
//! live as long as the trials that ask them.

use std::{
    any::Any,
    path::{Path, PathBuf},
    process::ExitCode,
};

use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;

use crate::{control_plane::ControlPlane, folder, peers};

/// Trials, and what runs for them.
pub struct Suite {
    trials: Vec<Trial>,
    /// Ended when the trials are over, in this order.
    running: Vec<Box<dyn Any>>,
    scratch: TempDir,
}

impl Suite {
    /// Runs what `prepare` adds. That it fails is a failed trial called `claim`.
    pub fn run(claim: &str, prepare: impl FnOnce(&mut Suite) -> anyhow::Result<()>) -> ExitCode {
        let arguments = Arguments::from_args();
        let scratch = tempfile::Builder::new().prefix("daymark-suite-").tempdir();
        let scratch = scratch.expect("a folder for temporary files");
        let mut suite = Suite { trials: Vec::new(), running: Vec::new(), scratch };
        if let Err(error) = prepare(&mut suite) {
            let what = format!("{error:#}");
            suite.trial(claim.to_owned(), move || Err(Failed::from(what)));
        }
        let conclusion = libtest_mimic::run(&arguments, suite.trials);
        drop(suite.running);
        conclusion.exit_code()
    }

    /// Adds a trial.
    pub fn trial(
        &mut self,
        name: String,
        test: impl FnOnce() -> Result<(), Failed> + Send + 'static,
    ) {
        self.trials.push(Trial::test(name, test));
    }

    /// Adds a trial of `program`, in a folder of its own, whose `log` is shown if it fails. Without the
    /// program it is skipped.
    pub fn trial_of(
        &mut self,
        group: &str,
        program: Result<PathBuf, String>,
        name: &str,
        trial: fn(&Path, &Path) -> anyhow::Result<()>,
    ) {
        let name = format!("{group}: {name}");
        let program = match program {
            Ok(program) => program,
            Err(reason) => return self.skipped(&name, &reason),
        };
        let folder = self.scratch().join(self.size().to_string());
        self.trial(name, move || {
            std::fs::create_dir_all(&folder)?;
            trial(&folder, &program).map_err(|error| {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                format!("{error:#}\n{log}").into()
            })
        });
    }

    /// How many trials there are so far.
    pub fn size(&self) -> usize {
        self.trials.len()
    }

    /// Adds what can't be tried here.
    pub fn skipped(&mut self, what: &str, reason: &str) {
        let trial = Trial::test(format!("{what}: {reason}"), || Ok(()));
        self.trials.push(trial.with_ignored_flag(true));
    }

    /// Keeps something for as long as trials run.
    pub fn keep(&mut self, what: impl Any) {
        self.running.push(Box::new(what));
    }

    /// A folder for files, which goes with the suite.
    pub fn scratch(&self) -> PathBuf {
        self.scratch.path().to_owned()
    }

    /// A folder with the objects.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn manifests(&self) -> anyhow::Result<PathBuf> {
        let manifests = self.scratch.path().join("manifests");
        std::fs::create_dir(&manifests)?;
        folder::write_to(&manifests)?;
        Ok(manifests)
    }

    /// Gives `prepare` a control plane with the objects, where the peers for it and CoreDNS have
    /// been built. Where they have not, `what` it would have been for is a trial that is skipped.
    ///
    /// # Errors
    /// If the control plane does not come up, or what `prepare` gives.
    pub fn with_plane(
        &mut self,
        what: &str,
        prepare: impl FnOnce(&mut Suite, &ControlPlane) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let peers = ["etcd", "kube-apiserver", "coredns"];
        if let Some(reason) = peers.into_iter().find_map(|peer| peers::program(peer).err()) {
            self.skipped(what, &reason);
            return Ok(());
        }
        let plane = ControlPlane::start()?;
        folder::load_into(&plane)?;
        let outcome = prepare(self, &plane);
        self.keep(plane);
        outcome
    }
}
