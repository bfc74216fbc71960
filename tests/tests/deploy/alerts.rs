//! The alerts: promtool reads them, and their own tests say when each fires.

use std::process::Command;

use anyhow::ensure;
use daymark_tests::peers;

use super::{Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("promtool reads them", || promtool(&["check", "rules", "alerts.yaml"])),
        test("each fires when it should, and only then", || {
            promtool(&["test", "rules", "alerts.test.yaml"])
        }),
    ]
}

fn promtool(words: &[&str]) -> anyhow::Result<()> {
    let folder = peers::repository().join("deploy/prometheus");
    let output = Command::new("promtool").args(words).current_dir(folder).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}{complaint}");
    Ok(())
}
