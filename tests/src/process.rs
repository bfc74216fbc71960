//! Programs that are started for a test and end with it.

use std::{
    ffi::OsStr,
    fs::File,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::namespace::tool_path;

/// How long a program may take until it serves. Generous: a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running program with its output in a file. Killed when dropped.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `program` with its output in `log`.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> anyhow::Result<Self> {
        Program::start_in(Path::new("/"), program, arguments, &[], log)
    }

    /// Starts `program` in a folder, with more in its environment.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start_in<A: AsRef<OsStr>>(
        folder: &Path,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(String, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let child = ending_with_us(program)
            .args(arguments)
            .envs(environment.iter().cloned())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Program { child, log: log.to_owned() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file that it prints to.
    pub fn output_path(&self) -> &Path {
        &self.log
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it accepts TCP connections at `address`.
    ///
    /// # Errors
    /// If it ends before, or does not within [`PATIENCE`]; with what it printed.
    pub fn wait_until_listening(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.wait_until(&format!("listening on {address}"), || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        })
    }

    /// Waits until it has printed `text`: what happens may show elsewhere before it is logged.
    ///
    /// # Errors
    /// As [`Program::wait_until_listening`].
    pub fn wait_until_said(&mut self, text: &str) -> anyhow::Result<()> {
        let log = self.log.clone();
        self.wait_until(&format!("saying `{text}`"), || {
            std::fs::read_to_string(&log).is_ok_and(|log| log.contains(text))
        })
    }

    /// Waits until `done`.
    ///
    /// # Errors
    /// As [`Program::wait_until_listening`].
    pub fn wait_until(&mut self, what: &str, mut done: impl FnMut() -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while !done() {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended ({status}) before {what}:\n{}", self.output());
            }
            if start.elapsed() > PATIENCE {
                bail!("not {what} within {PATIENCE:?}:\n{}", self.output());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sends a signal by name (`TERM`, `USR1`, `KILL`).
    ///
    /// # Errors
    /// If there is no such signal or process.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status()?;
        if !status.success() {
            bail!("kill -{name} {}: {status}", self.id());
        }
        Ok(())
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// If that can't be told.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it does not end within [`PATIENCE`].
    pub fn wait_for_end(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if start.elapsed() > PATIENCE {
                bail!("still running after {PATIENCE:?}:\n{}", self.output());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A command that runs `program` in a process that the kernel kills when the thread that started it
/// ends, as when somebody kills the test. Where there is no `setpriv` it is left running then.
fn ending_with_us(program: &Path) -> Command {
    match tool_path("setpriv") {
        Some(setpriv) => {
            // It becomes the program, so the process id is the program's.
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell at this point.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `done`, within [`PATIENCE`].
///
/// # Errors
/// If it is not by then.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) -> anyhow::Result<()> {
    retried(|| if done() { Ok(()) } else { bail!("not {what}") })
}

/// Tries something again until it works or [`PATIENCE`] is over: what comes into being a little
/// later (an API for a new CRD) is no failure.
///
/// # Errors
/// The last one.
pub fn retried<T>(mut attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(_) if start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(200));
            }
            outcome => return outcome,
        }
    }
}
