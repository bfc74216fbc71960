//! The report: a Markdown table for people, JSON with every round for machines.

use std::{
    fmt::{self, Display, Formatter, Write},
    path::Path,
    process::Command,
};

use serde::Serialize;
use serde_json::Value;

use crate::statistics::Spread;

/// One bar: what was asked for, what came out.
#[derive(Clone, Debug, Serialize)]
pub struct Bar {
    /// What is compared.
    pub what: String,
    /// Ratio to the peer (or a plain figure, see `unit`).
    pub spread: Spread,
    /// What it has to keep to.
    pub bar: Bound,
    /// `×` for ratios, else a unit.
    pub unit: &'static str,
}

impl Bar {
    /// Whether the median is within the bar.
    pub fn is_met(&self) -> bool {
        match self.bar {
            Bound::AtMost(bar) => self.spread.median <= bar,
            Bound::AtLeast(bar) => self.spread.median >= bar,
        }
    }
}

/// Which side of a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The most it may be.
    AtMost(f64),
    /// The least it may be.
    AtLeast(f64),
}

impl Display for Bound {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Bound::AtMost(bar) => write!(f, "≤ {bar}"),
            Bound::AtLeast(bar) => write!(f, "≥ {bar}"),
        }
    }
}

/// A table row: a measurement of each server.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured, with its unit.
    pub what: String,
    /// Server and figure.
    pub figures: Vec<(String, Option<Spread>)>,
}

/// Everything that a run found out.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Heading of all.
    pub title: &'static str,
    /// The verb of `cargo xtask bench` that writes it.
    pub verb: &'static str,
    /// What the machine is and which versions ran.
    pub facts: Vec<(String, String)>,
    /// Bars.
    pub bars: Vec<Bar>,
    /// Tables by heading.
    pub tables: Vec<(String, Vec<Row>)>,
    /// Every single round.
    pub raw: Value,
}

impl Report {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text =
            format!("# {}\n\nWritten by `cargo xtask bench {}`. ", self.title, self.verb);
        text.push_str("Medians with quartiles; ratios are taken round by round. ");
        text.push_str("Machines are noisy: compare ratios, not figures of different runs.\n\n");
        for (name, value) in &self.facts {
            let _ = writeln!(text, "- {name}: {value}");
        }
        text.push_str("\n## Bars\n\n| | median | quartiles | bar | |\n|---|---|---|---|---|\n");
        for bar in &self.bars {
            let met = if bar.is_met() { "met" } else { "**missed**" };
            let Spread { q1, median, q3, .. } = bar.spread;
            let _ = writeln!(
                text,
                "| {} | {} {u} | {} – {} | {} {u} | {met} |",
                bar.what,
                figure(median),
                figure(q1),
                figure(q3),
                bar.bar,
                u = bar.unit,
            );
        }
        for (heading, rows) in &self.tables {
            let _ = write!(text, "\n## {heading}\n\n");
            text.push_str(&table(rows));
        }
        text
    }
}

fn table(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut text = String::from("| |");
    for (server, _) in &first.figures {
        let _ = write!(text, " {server} |");
    }
    let _ = writeln!(text, "\n|---{}|", "|---".repeat(first.figures.len()));
    for row in rows {
        let _ = write!(text, "| {} |", row.what);
        for (_, spread) in &row.figures {
            let _ = match spread {
                Some(s) => {
                    write!(text, " {} ({} – {}) |", figure(s.median), figure(s.q1), figure(s.q3))
                }
                None => write!(text, " |"),
            };
        }
        text.push('\n');
    }
    text
}

/// Three significant digits, thousands whole.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The first line of what a program prints.
pub fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("not found").to_owned()
}

/// Cores, kernel, compiler, what else ran, and the given peers' versions.
pub fn facts(peers: &[(&str, String)]) -> Vec<(String, String)> {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let own = [
        ("cores", cores.to_string()),
        ("kernel", first_line("uname", &["-sr"])),
        ("compiler", first_line("rustc", &["--version"])),
        ("load of the machine before", load.split(' ').take(3).collect::<Vec<_>>().join(" ")),
        ("Daymark", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let all = own.iter().chain(peers);
    all.map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// Writes the report to `folder` under `name`.
///
/// # Errors
/// If a file can't be written.
pub fn write(report: &Report, folder: &Path, name: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(format!("{name}.md")), report.markdown())?;
    let json = serde_json::to_string_pretty(report)?;
    Ok(std::fs::write(folder.join(format!("{name}.json")), json)?)
}
