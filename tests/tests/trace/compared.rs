//! The spans beside those of CoreDNS.

use std::path::Path;

use anyhow::ensure;
use daymark_tests::{collector::Collector, peers, ports};

use super::{
    spans::{self, Span},
    traced::{QUERIES, Traced, collected, loopback},
};

pub(super) fn same_for_zipkin(folder: &Path, daymark: &Path) -> anyhow::Result<()> {
    let trees = |name: &str, program: &Path| {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let at = loopback(ports::free());
        let collector = Collector::start(at, None)?;
        let traced =
            Traced::start(&folder, program, &format!("{at} {{\n service \"The DNS\"\n}}"))?;
        for (name, rtype, transport) in QUERIES {
            traced.ask(name, rtype, transport)?;
        }
        let spans = collected(&collector, QUERIES.len(), spans::of_zipkin)?;
        for posted in collector.posted() {
            ensure!(posted.path == "/api/v2/spans", "{}", posted.path);
            ensure!(posted.fields["content-type"] == "application/json");
            ensure!(posted.fields["b3"] == "0", "the request would be traced");
        }
        for root in spans.iter().filter(|span| span.name == "servedns") {
            ensure!(root.id == root.trace, "{root:?}");
            let logged = format!("traced {}", root.trace);
            ensure!(traced.program.output().contains(&logged), "{logged} is not in the log");
        }
        let port = traced.at.port().to_string();
        let normal = |tree: String| {
            let lines = tree.lines().map(|line| {
                // What went wrong is put in other words, and the ports are others.
                let line = line.split(" error.object=").next().unwrap_or_default();
                let upstream = line.find("peer.address=").map_or(line.len(), |at| at + 22);
                line[..upstream.min(line.len())].replace(&port, "PORT")
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        // CoreDNS reports in no order of its own.
        let mut trees: Vec<_> = spans::trees(&spans).into_iter().map(normal).collect();
        trees.sort_unstable();
        anyhow::Ok(trees)
    };
    let ours = trees("ours", daymark)?;
    let theirs = trees("theirs", &peers::program("coredns").map_err(anyhow::Error::msg)?)?;
    ensure!(ours.len() == QUERIES.len(), "{ours:#?}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        ensure!(ours == theirs, "ours\n{ours}\ntheirs\n{theirs}");
    }
    Ok(())
}

pub(super) fn same_for_datadog(folder: &Path, daymark: &Path) -> anyhow::Result<()> {
    let facts = |name: &str, program: &Path| {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let at = loopback(ports::free());
        let collector = Collector::start(at, None)?;
        let traced = Traced::start(&folder, program, &format!("datadog {at}"))?;
        for (name, rtype, transport) in QUERIES {
            traced.ask(name, rtype, transport)?;
        }
        let spans = collected(&collector, QUERIES.len(), spans::of_datadog)?;
        let same = |name: &str| {
            let of_library = name.starts_with("_dd.") || name.contains('-') || name == "process_id";
            !of_library && name != "language" && name != "error.message"
        };
        let mut all: Vec<String> = spans
            .into_iter()
            .map(|mut span| {
                span.facts.retain(|name, _| same(name));
                let Span { name, service, facts, parent, .. } = span;
                format!("{name} {service} below {parent}: {facts:?}")
            })
            .collect();
        all.sort_unstable();
        anyhow::Ok(all)
    };
    let ours = facts("ours", daymark)?;
    let theirs = facts("theirs", &peers::program("coredns").map_err(anyhow::Error::msg)?)?;
    ensure!(ours == theirs, "ours {ours:#?}\ntheirs {theirs:#?}");
    Ok(())
}
