//! One measurement: dnsperf from one core against a server on the other.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use anyhow::{Context, bail};
use serde::Serialize;

use crate::statistics::quantile;

/// Core that servers run on.
pub const SERVER_CORE: &str = "0";
/// Core that the generator runs on.
pub const CLIENT_CORE: &str = "1";

/// What one round gave.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    /// Queries answered per second.
    pub qps: f64,
    /// CPU time of the server per query, in microseconds.
    pub cpu_us: f64,
    /// Queries without an answer.
    pub lost: f64,
    /// Resident memory after it, in MiB.
    pub rss_mib: f64,
}

/// Latency of a light load.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    /// Median, in microseconds.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
}

/// Loads the server as fast as it goes over this transport (dnsperf's word), with 100 queries in
/// flight on four connections, where there are any.
///
/// # Errors
/// If dnsperf does not run, or gets no answer.
pub fn load(
    process: u32,
    (transport, port): (&str, u16),
    queries: &Path,
    seconds: u32,
) -> anyhow::Result<Round> {
    let before = cpu_nanos(process)?;
    let output = dnsperf(port, queries, seconds, &["-q", "100", "-m", transport])?;
    let spent = cpu_nanos(process)? - before;
    let completed = number_behind(&output, "Queries completed:")?;
    if completed == 0.0 {
        bail!("no query was answered:\n{output}");
    }
    Ok(Round {
        qps: number_behind(&output, "Queries per second:")?,
        cpu_us: spent / completed / 1000.0,
        lost: number_behind(&output, "Queries lost:")?,
        rss_mib: rss_mib(process)?,
    })
}

/// Asks every query once, no faster than a server with a cold cache can answer.
///
/// # Errors
/// As [`load`].
pub fn load_once(port: u16, queries: &Path) -> anyhow::Result<()> {
    let more = ["-q", "50", "-n", "1", "-Q", "10000"];
    dnsperf(port, queries, 600, &more).map(drop)
}

/// Latency at 2,000 queries a second.
///
/// # Errors
/// As [`load`].
pub fn latency(port: u16, queries: &Path) -> anyhow::Result<Latency> {
    let output = dnsperf(port, queries, 3, &["-q", "20", "-Q", "2000", "-v"])?;
    let micros: Vec<f64> = output
        .lines()
        .filter(|line| line.starts_with("> "))
        .filter_map(|line| line.split_whitespace().next_back()?.parse::<f64>().ok())
        .map(|seconds| seconds * 1e6)
        .collect();
    let at = |q| quantile(&micros, q).context("dnsperf reported no latencies");
    Ok(Latency { p50_us: at(0.5)?, p99_us: at(0.99)? })
}

fn dnsperf(port: u16, queries: &Path, seconds: u32, more: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("taskset")
        .args(["-c", CLIENT_CORE, "dnsperf", "-s", "127.0.0.1", "-p", &port.to_string()])
        .args(["-c", "4", "-T", "1", "-l", &seconds.to_string(), "-d"])
        .arg(queries)
        .args(more)
        .output()
        .context("starting dnsperf")?;
    if !output.status.success() {
        bail!("dnsperf: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn number_behind(text: &str, label: &str) -> anyhow::Result<f64> {
    let rest = text.split(label).nth(1).with_context(|| format!("dnsperf printed no `{label}`"))?;
    let number = rest.split_whitespace().next().unwrap_or_default();
    number.parse().with_context(|| format!("`{label} {number}`"))
}

/// CPU time that a process, its threads and its children used so far, in nanoseconds.
///
/// # Errors
/// If there is no such process.
pub fn cpu_nanos(process: u32) -> anyhow::Result<f64> {
    let mut total = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end between being listed and being read.
        if let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) {
            total += text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
        }
    }
    for child in children(process) {
        total += cpu_nanos(child)?;
    }
    Ok(total)
}

/// Resident memory of a process and its children in MiB.
///
/// # Errors
/// If there is no such process.
pub fn rss_mib(process: u32) -> anyhow::Result<f64> {
    let own = status_mib(process, "VmRSS:")?;
    children(process).into_iter().try_fold(own, |sum, child| Ok(sum + rss_mib(child)?))
}

/// Processes that a process started, of which NSD has several.
fn children(process: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    list.unwrap_or_default().split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Most resident memory since the last [`forget_peak`], in MiB.
///
/// # Errors
/// If there is no such process.
pub fn peak_mib(process: u32) -> anyhow::Result<f64> {
    status_mib(process, "VmHWM:")
}

/// Starts measuring the peak anew.
///
/// # Errors
/// If there is no such process.
pub fn forget_peak(process: u32) -> anyhow::Result<()> {
    Ok(std::fs::write(format!("/proc/{process}/clear_refs"), "5")?)
}

fn status_mib(process: u32, field: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    Ok(number_behind(&status, field)? / 1024.0)
}

/// Loopback at this port.
pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
