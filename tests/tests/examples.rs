//! What README.md and examples/shop/README.md show is what happens: every `$ dig` line is run.
#![expect(clippy::unwrap_used, reason = "a test stops where it can go no further")]

use std::{fs, net::Ipv4Addr, path::Path, process::Command};

use daymark_tests::{peers, ports, process::Program};

/// A command of a console block, and the lines that it prints.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// The commands that ask a server, with what they print.
fn shown(page: &Path) -> Vec<Shown> {
    let text = fs::read_to_string(page).unwrap();
    let mut all: Vec<Shown> = Vec::new();
    for block in text.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        let mut current: Option<Shown> = None;
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => {
                    all.extend(current.take());
                    current = Some(Shown { command: command.to_owned(), output: Vec::new() });
                }
                None => current.iter_mut().for_each(|shown| shown.output.push(line.to_owned())),
            }
        }
        all.extend(current);
    }
    all.retain(|shown| shown.command.starts_with("dig ") && shown.command.contains("-p 1053"));
    all
}

/// Lines as a set, blanks folded: `loadbalance` turns records, dig pads them.
fn folded(lines: impl Iterator<Item = String>) -> Vec<String> {
    let fold = |line: String| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = lines.map(fold).filter(|line| !line.is_empty()).collect();
    lines.sort();
    lines
}

#[test]
fn dig_prints_what_the_pages_say() {
    if Command::new("dig").arg("-v").output().is_err() {
        return println!("skipped: dig is not installed (bind9-dnsutils)");
    }
    let (repository, port) = (peers::repository(), ports::free());
    let scratch = tempfile::tempdir().unwrap();
    let port_text = port.to_string();
    let arguments = ["dns", "--manifests", "examples/shop", "--port", &port_text];
    // In the repository's root, as the page has it; there is no Corefile there.
    let mut program = Program::start_in(
        repository,
        &peers::daymark(),
        arguments,
        &[],
        &scratch.path().join("log"),
    )
    .unwrap();
    program.wait_until_listening((Ipv4Addr::LOCALHOST, port).into()).unwrap();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for page in ["README.md", "examples/shop/README.md"] {
        for Shown { command, output } in shown(&repository.join(page)) {
            let command = command.replace("-p 1053", &format!("-p {port}"));
            let ran = Command::new("sh").args(["-c", &command]).output().unwrap();
            let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
            // dig remarks on `.local` in comments.
            let printed = printed.lines().filter(|line| !line.starts_with(';')).map(str::to_owned);
            let (want, got) = (folded(output.into_iter()), folded(printed));
            if want != got {
                wrong.push(format!("{page}: {command}\n  shown {want:#?}\n  printed {got:#?}"));
            }
            asked += 1;
        }
    }
    assert!(asked > 10, "only {asked} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
