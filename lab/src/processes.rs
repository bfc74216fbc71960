//! What a lab started, written down so that it can be ended by somebody else, and nothing else is.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

/// How long a process has to end before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// Writes down that the process `id` runs as `name`.
///
/// # Errors
/// If the file can't be written.
pub fn write_down(folder: &Path, name: &str, id: u32) -> anyhow::Result<()> {
    let line = format!("{id} {}\n", started(id).unwrap_or_default());
    let file = folder.join(name);
    fs::write(&file, line).with_context(|| format!("writing {}", file.display()))
}

/// When the process started, in clock ticks since the machine did (`proc_pid_stat(5)`, field 22):
/// with its id it names one process for good. `None` if there is none, or if it has ended and only
/// waits to be noticed.
fn started(id: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field may hold blanks and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?;
    (state != "Z").then(|| started.parse().ok()).flatten()
}

/// The process that was written down as `name`, if it runs.
pub fn running(folder: &Path, name: &str) -> Option<Pid> {
    let line = fs::read_to_string(folder.join(name)).ok()?;
    let (id, since) = line.trim().split_once(' ')?;
    let id: u32 = id.parse().ok()?;
    (started(id)? == since.parse::<u64>().ok()?)
        .then(|| Pid::from_raw(id.try_into().ok()?))
        .flatten()
}

/// Ends everything that was written down: first by SIGTERM, then by SIGKILL.
///
/// # Errors
/// If the folder can't be read.
pub fn end_all(folder: &Path) -> anyhow::Result<()> {
    let names: Vec<String> = match fs::read_dir(folder) {
        Ok(entries) => entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", folder.display())),
    };
    let signal = |signal| {
        let alive: Vec<Pid> = names.iter().filter_map(|name| running(folder, name)).collect();
        // One that ended by itself meanwhile is what was wanted.
        for id in &alive {
            let _ = kill_process(*id, signal);
        }
        alive.len()
    };
    let begin = Instant::now();
    signal(Signal::TERM);
    while begin.elapsed() < GRACE && names.iter().any(|name| running(folder, name).is_some()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    while signal(Signal::KILL) > 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_what_was_started_is_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut ours = Command::new("sleep").arg("600").spawn().expect("sleep");
        write_down(folder.path(), "ours", ours.id()).expect("written");
        // The same number, of a process that started at another time.
        let mut other = Command::new("sleep").arg("600").spawn().expect("sleep");
        fs::write(folder.path().join("other"), format!("{} 1\n", other.id())).expect("written");
        assert!(
            running(folder.path(), "ours").is_some() && running(folder.path(), "other").is_none()
        );
        let reaper = std::thread::spawn(move || ours.wait().expect("it ends"));
        end_all(folder.path()).expect("ended");
        assert!(!reaper.join().expect("joined").success());
        assert!(other.try_wait().expect("asked").is_none());
        other.kill().and_then(|()| other.wait()).expect("ended");
    }
}
