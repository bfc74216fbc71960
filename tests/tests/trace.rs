//! `trace`: the spans that CoreDNS sends, in its formats and in OpenTelemetry's. What receives them is an
//! HTTP server of the tests' own, which decodes them by itself: no Zipkin, no Datadog, no collector.

#[path = "trace/compared.rs"]
mod compared;
#[path = "trace/faults.rs"]
mod faults;
#[path = "trace/formats.rs"]
mod formats;
#[path = "trace/spans.rs"]
mod spans;
#[path = "trace/traced.rs"]
mod traced;

use std::{path::Path, process::ExitCode};

use daymark_tests::{peers, suite::Suite};

fn main() -> ExitCode {
    Suite::run("traces can be collected", prepare)
}

fn prepare(suite: &mut Suite) -> anyhow::Result<()> {
    type Trial = fn(&Path, &Path) -> anyhow::Result<()>;
    let both: [(&str, Trial); 4] = [
        ("one of every so many queries is traced", formats::every),
        ("a client's span is gone on with", formats::clients_span),
        ("a span is shared with the client", formats::shared_span),
        ("Datadog is told of whole queries", formats::datadog),
    ];
    let ours: [(&str, Trial); 6] = [
        ("an endpoint that is busy is asked again", faults::endpoint_busy),
        ("OpenTelemetry has the same spans", formats::otlp),
        ("OpenTelemetry over TLS", formats::otlp_over_tls),
        ("an endpoint that is away holds up nobody", faults::endpoint_away),
        ("an endpoint that refuses is told of", faults::endpoint_refuses),
        ("what waits at the end is sent", faults::sent_at_the_end),
    ];
    for (name, trial) in both {
        suite.trial_of("daymark", Ok(peers::daymark()), name, trial);
        suite.trial_of("coredns", peers::program("coredns"), name, trial);
    }
    for (name, trial) in ours {
        suite.trial_of("daymark", Ok(peers::daymark()), name, trial);
    }
    let with_peer = peers::program("coredns").map(|_| peers::daymark());
    suite.trial_of(
        "both",
        with_peer.clone(),
        "Zipkin gets the same spans",
        compared::same_for_zipkin,
    );
    suite.trial_of("both", with_peer, "Datadog gets the same spans", compared::same_for_datadog);
    Ok(())
}
