//! What a README promises is shown: every word of a plugin's syntax stands in one of its Corefiles.

use std::{collections::BTreeSet, fs};

use daymark_tests::peers;
use libtest_mimic::Failed;

use super::data::Shown;

/// Fails for the first words that no Corefile has, with their plugins.
pub(super) fn shown(files: &[(String, Vec<Shown>)]) -> Result<(), Failed> {
    let mut missing = Vec::new();
    for entry in fs::read_dir(peers::repository().join("dns/src/plugins"))? {
        let path = entry?.path();
        let Ok(readme) = fs::read_to_string(path.join("README.md")) else { continue };
        let plugin = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let corefiles = files.iter().filter(|(name, _)| *name == plugin).flat_map(|(_, all)| all);
        let there: BTreeSet<&str> = corefiles.flat_map(|shown| words(&shown.corefile)).collect();
        let syntax = syntax(&readme).ok_or_else(|| format!("{plugin}: no syntax"))?;
        let lacking: BTreeSet<&str> =
            words(syntax).filter(|word| is_literal(word) && !there.contains(word)).collect();
        if !lacking.is_empty() {
            missing.push(format!("{plugin}: {lacking:?}"));
        }
    }
    missing.sort();
    match missing.is_empty() {
        true => Ok(()),
        false => {
            Err(format!("in no Corefile of tests/dns/plugins:\n{}", missing.join("\n")).into())
        }
    }
}

/// The code block below `## Syntax`.
fn syntax(readme: &str) -> Option<&str> {
    let (_, rest) = readme.split_once("## Syntax")?;
    let (_, rest) = rest.split_once("```txt\n")?;
    Some(rest.split_once("```")?.0)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
}

/// Capitals stand for something else, except for these.
fn is_literal(word: &str) -> bool {
    let is_method = matches!(word, "GET" | "POST");
    is_method || word.starts_with(|c: char| c.is_ascii_lowercase())
}
