//! Runs commands when the server starts and when it stops. See README.md.

pub mod config;
mod words;

use std::{
    io,
    process::{Command, ExitStatus},
    thread,
};

use tokio::sync::oneshot;

use self::config::{Event, Hook};

/// Runs the commands of `event` in their order, on a thread of its own. What is given back ends once
/// all of them have ended, those in the background excepted. A command that fails is logged.
pub fn run(hooks: &[Hook], event: Event) -> impl Future<Output = ()> + use<> {
    let due: Vec<Hook> = hooks.iter().filter(|hook| hook.event == event).cloned().collect();
    let (end, ended) = oneshot::channel::<()>();
    if !due.is_empty() {
        spawn(move || {
            due.into_iter().for_each(obey);
            drop(end);
        });
    }
    async move {
        // It ends by being dropped.
        let _ = ended.await;
    }
}

fn obey(hook: Hook) {
    if hook.background {
        return spawn(move || report(&hook, execute(&hook)));
    }
    report(&hook, execute(&hook));
}

fn spawn(run: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name("on".to_owned()).spawn(run) {
        tracing::error!(target: "plugin/on", %error, "no thread to run a command on");
    }
}

fn execute(hook: &Hook) -> io::Result<ExitStatus> {
    tracing::info!(target: "plugin/on", "running {}", shown(hook));
    Command::new(&hook.program).args(&hook.arguments).status()
}

fn report(hook: &Hook, ended: io::Result<ExitStatus>) {
    match ended {
        Ok(status) if status.success() => {}
        Ok(status) => tracing::error!(target: "plugin/on", "{}: {status}", shown(hook)),
        Err(error) => tracing::error!(target: "plugin/on", "{}: {error}", shown(hook)),
    }
}

/// The command for a log line: quoted, so that it stays one.
fn shown(hook: &Hook) -> String {
    let words: Vec<&str> =
        [&hook.program].into_iter().chain(&hook.arguments).map(String::as_str).collect();
    format!("{:?}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// A file of this test alone, which is not there yet.
    fn file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("daymark-on-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    fn shell(event: Event, script: String, background: bool) -> Hook {
        let arguments = vec!["-c".to_owned(), script];
        Hook { event, program: "sh".to_owned(), arguments, background }
    }

    #[tokio::test]
    async fn the_commands_of_an_event_run_in_order_and_are_waited_for() {
        let path = file("order");
        let append = |word: &str| format!("echo {word} >> {}", path.display());
        let missing = Hook {
            program: "/nowhere/at/all".to_owned(),
            ..shell(Event::Startup, String::new(), false)
        };
        let hooks = [
            shell(Event::Startup, format!("sleep 0.1; {}", append("one")), false),
            missing,
            shell(Event::Shutdown, append("never"), false),
            shell(Event::Startup, "exit 3".to_owned(), false),
            shell(Event::Startup, append("two"), false),
        ];
        run(&hooks, Event::Startup).await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn a_command_in_the_background_holds_nothing_up() {
        let (gate, done) = (file("gate"), file("done"));
        let waits = format!(
            "until [ -e {} ]; do sleep 0.01; done; touch {}",
            gate.display(),
            done.display()
        );
        run(&[shell(Event::Shutdown, waits, true)], Event::Shutdown).await;
        assert!(!done.exists());
        fs::write(&gate, "").unwrap();
        while !done.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        fs::remove_file(&gate).unwrap();
        fs::remove_file(&done).unwrap();
    }

    #[tokio::test]
    async fn without_a_command_nothing_is_waited_for() {
        run(&[], Event::Startup).await;
    }
}
