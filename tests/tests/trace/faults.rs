//! Endpoints that are away or refuse, and the end of a server.

use std::path::Path;

use anyhow::ensure;
use daymark_tests::{collector::Collector, dns::Transport, pages, ports, process::eventually};

use super::{
    spans,
    traced::{Traced, collected, loopback},
};

pub(super) fn endpoint_away(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let at = loopback(ports::free());
    let trace = format!("{at} {{\n zipkin_max_backlog_size 99\n}}");
    let mut traced = Traced::start(folder, program, &trace)?;
    for number in 1..=50 {
        traced.ask(&format!("n{number}.example."), "A", Transport::Udp)?;
    }
    traced.program.wait_until_said("[WARNING] plugin/trace: failed to send the request: ")?;
    traced.program.wait_until_said("[WARNING] plugin/trace: backlog too long, disposing ")?;
    // Of more than nine spans for each query, 99 are left.
    let lost = pages::metric(traced.metrics, "daymark_trace_lost_total", "")?;
    ensure!(lost > 350.0, "{lost}");
    let collector = Collector::start(at, None)?;
    let spans = collected(&collector, 1, spans::of_zipkin)?;
    ensure!(spans.len() == 99, "{}", spans.len());
    let last = spans.iter().rev().find_map(|span| span.facts.get("coredns.io/name"));
    ensure!(last.is_some_and(|name| name == "n50.example."), "{last:?}");
    Ok(())
}

pub(super) fn endpoint_refuses(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let at = loopback(ports::free());
    let collector = Collector::start(at, None)?;
    collector.say(500);
    let mut traced = Traced::start(folder, program, &at.to_string())?;
    traced.ask("www.example.", "A", Transport::Udp)?;
    traced
        .program
        .wait_until_said("[WARNING] plugin/trace: failed the request with status code 500")?;
    collector.say(202);
    traced.ask("www.up.test.", "A", Transport::Udp)?;
    let spans = collected(&collector, 2, spans::of_zipkin)?;
    let whole = spans.iter().filter(|span| span.name == "servedns").count();
    ensure!(whole == 2, "what was refused is not sent again: {whole}");
    let lost = pages::metric(traced.metrics, "daymark_trace_lost_total", "")?;
    ensure!(lost > 1.0, "{lost}");
    Ok(())
}

pub(super) fn endpoint_busy(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let at = loopback(ports::free());
    let collector = Collector::start(at, None)?;
    collector.say(503);
    let mut traced = Traced::start(folder, program, &format!("otlp {at}"))?;
    traced.ask("www.example.", "A", Transport::Udp)?;
    traced.program.wait_until_said("failed to send the request: status code 503")?;
    let before = collector.posted().len();
    collector.say(200);
    // The same once more.
    eventually("sent again", || collector.posted().len() > before)?;
    ensure!(pages::metric(traced.metrics, "daymark_trace_lost_total", "")? == 0.0);
    Ok(())
}

pub(super) fn sent_at_the_end(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let at = loopback(ports::free());
    let collector = Collector::start(at, None)?;
    let trace = format!("{at} {{\n zipkin_max_batch_interval 1h\n}}");
    let mut traced = Traced::start(folder, program, &trace)?;
    traced.ask("www.example.", "A", Transport::Udp)?;
    traced.program.signal("TERM")?;
    traced.program.wait_for_end()?;
    ensure!(spans::of_zipkin(&collector.posted())?.iter().any(|span| span.name == "servedns"));
    Ok(())
}
