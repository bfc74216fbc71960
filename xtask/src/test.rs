//! The whole test suite, with one line at the end that counts it.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::{
    image, lint, packages, peers,
    shell::{cargo, execute, is_installed},
};

/// What `cargo test` counted.
#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Installs what is missing, checks the style, runs every test.
pub(crate) fn run() -> anyhow::Result<()> {
    packages::for_tests();
    packages::for_nodes();
    if is_installed("go") {
        peers::build_for_nodes()?;
    } else if !peers::are_built() {
        println!("xtask: no Go here: tests that need CoreDNS or kube-apiserver are skipped");
    }
    lint::run()?;
    // Black-box tests start the binaries that lie beside them.
    execute(cargo().args(["build", "--package", "daymark", "--package", "daymark-cni-plugin"]))?;
    let mut count = Count::default();
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]);
    // Those of the image are skipped without one: a static C library is not on every machine.
    match image::build(&image::Options::for_tests()) {
        Ok(archive) => drop(tests.env("DAYMARK_IMAGE", archive)),
        Err(error) => println!("xtask: no image: {error:#}"),
    }
    let ended_well = counted(&mut tests, &mut count)?;
    let skipped = match count.skipped {
        0 => String::new(),
        skipped => format!(", {skipped} skipped"),
    };
    println!("{} passed, {} failed{skipped}", count.passed, count.failed);
    if !ended_well || count.failed > 0 {
        bail!("there are failed tests");
    }
    Ok(())
}

/// Runs tests, shows their output, and adds up the lines that sum them up. Tells whether all passed.
fn counted(command: &mut Command, count: &mut Count) -> anyhow::Result<bool> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("a piped output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        // One line for each passing test hides the others.
        if !(line.starts_with("test ") && line.ends_with("... ok")) {
            println!("{line}");
        }
        if let Some(summary) = line.strip_prefix("test result: ") {
            count.passed += number_before(summary, " passed");
            count.failed += number_before(summary, " failed");
            count.skipped += number_before(summary, " ignored");
        }
    }
    Ok(child.wait()?.success())
}

fn number_before(text: &str, word: &str) -> u64 {
    let head = text.split(word).next().unwrap_or_default();
    head.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_read() {
        let line = "FAILED. 2094 passed; 6 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(number_before(line, " passed"), 2094);
        assert_eq!(number_before(line, " failed"), 6);
        assert_eq!(number_before(line, " ignored"), 1);
    }
}
