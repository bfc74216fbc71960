//! What spans are sent as, which queries have some, and spans of clients.

use std::{path::Path, sync::Arc};

use anyhow::{Context, ensure};
use daymark_tests::{
    certificates::{Authority, Identity, Validity},
    collector::Collector,
    dns::Transport,
    ports,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{
    spans::{self, Span},
    traced::{QUERIES, Traced, collected, loopback},
};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
const SPAN: &str = "a2fb4a1d1a96d312";

pub(super) fn every(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let at = loopback(ports::free());
    let collector = Collector::start(at, None)?;
    let options = "every 3\n service \"The DNS\"\n zipkin_max_batch_size 2\n zipkin_max_batch_interval 50ms\n zipkin_max_backlog_size 500";
    let trace = format!("zipkin http://{at}/of/mine?a=b {{\n {options}\n}}");
    let traced = Traced::start(folder, program, &trace)?;
    for number in 1..=9 {
        traced.ask(&format!("n{number}.test."), "A", Transport::Udp)?;
    }
    let spans = collected(&collector, 3, spans::of_zipkin)?;
    let names: Vec<&str> = spans
        .iter()
        .filter_map(|span| span.facts.get("coredns.io/name"))
        .map(String::as_str)
        .collect();
    ensure!(names == ["n3.test.", "n6.test.", "n9.test."], "{names:?}");
    ensure!(spans.iter().all(|span| span.service == "the dns"), "{spans:?}");
    ensure!(collector.posted()[0].path == "/of/mine?a=b");
    Ok(())
}

pub(super) fn clients_span(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let at = loopback(ports::free());
    let collector = Collector::start(at, None)?;
    let traced = Traced::start(folder, program, &at.to_string())?;
    let several = |sampled: &str| {
        [
            ("x-b3-traceid", TRACE.to_owned()),
            ("x-b3-spanid", SPAN.to_owned()),
            ("x-b3-sampled", sampled.to_owned()),
        ]
    };
    traced.ask_with(&several("1"))?;
    traced.ask_with(&several("0"))?;
    traced.ask_with(&[("b3", format!("{TRACE}-{SPAN}-1"))])?;
    traced.ask_with(&[("b3", "no".to_owned())])?;
    let spans = collected(&collector, 3, spans::of_zipkin)?;
    let roots: Vec<&Span> = spans.iter().filter(|span| span.name == "servedns").collect();
    ensure!(roots.len() == 3, "{roots:?}");
    for root in &roots[..2] {
        ensure!(root.trace == TRACE && root.parent == SPAN && root.id != SPAN, "{root:?}");
    }
    ensure!(roots[2].trace != TRACE && roots[2].parent.is_empty(), "{:?}", roots[2]);
    let below = spans.iter().find(|span| span.name == "whoami").context("a plugin's span")?;
    ensure!(below.parent == roots[0].id && below.trace == TRACE, "{below:?}");
    Ok(())
}

pub(super) fn shared_span(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let at = loopback(ports::free());
    let collector = Collector::start(at, None)?;
    let traced = Traced::start(folder, program, &format!("{at} {{\n client_server\n}}"))?;
    traced.ask_with(&[("b3", format!("{TRACE}-{SPAN}-1"))])?;
    let spans = collected(&collector, 1, spans::of_zipkin)?;
    let root = spans.iter().find(|span| span.name == "servedns").context("a root")?;
    ensure!(root.trace == TRACE && root.id == SPAN && root.parent.is_empty(), "{root:?}");
    ensure!(root.facts.get("shared").is_some_and(|shared| shared == "true"), "{root:?}");
    Ok(())
}

pub(super) fn datadog(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let at = loopback(ports::free());
    let collector = Collector::start(at, None)?;
    let trace = format!("datadog {at} {{\n datadog_analytics_rate 0.5\n service dns\n}}");
    let traced = Traced::start(folder, program, &trace)?;
    traced.ask("www.example.", "A", Transport::Udp)?;
    traced.ask("elsewhere.test.", "A", Transport::Udp)?;
    let spans = collected(&collector, 2, spans::of_datadog)?;
    ensure!(spans.len() == 2, "{spans:?}");
    for span in &spans {
        ensure!(span.name == "servedns" && span.service == "dns" && span.parent == "0", "{span:?}");
        ensure!(span.id == span.trace, "{span:?}");
    }
    ensure!(spans[0].facts["coredns.io@rcode"].contains("NOERROR"), "{spans:?}");
    ensure!(spans[0].facts["error"] == "0" && spans[1].facts["error"] == "1", "{spans:?}");
    let posted = collector.posted().into_iter().find(|posted| posted.path.contains("traces"));
    ensure!(posted.context("traces")?.path == "/v0.4/traces");
    Ok(())
}

pub(super) fn otlp(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let at = loopback(ports::free());
    let collector = Collector::start(at, None)?;
    let traced = Traced::start(folder, program, &format!("otlp {at} {{\n service dns\n}}"))?;
    for (name, rtype, transport) in QUERIES {
        traced.ask(name, rtype, transport)?;
    }
    traced.ask_with(&[("traceparent", format!("00-{TRACE}-{SPAN}-01"))])?;
    traced.ask_with(&[("traceparent", format!("00-{TRACE}-{SPAN}-00"))])?;
    let spans = collected(&collector, QUERIES.len() + 1, spans::of_otlp)?;
    let trees = spans::trees(&spans);
    ensure!(trees.len() == QUERIES.len() + 1, "{trees:#?}");
    let expected = "servedns SERVER dns coredns.io/name=www.up.test. coredns.io/proto=tcp \
                    coredns.io/rcode=NOERROR coredns.io/remote=127.0.0.1 coredns.io/type=A\n \
                    prometheus  dns \n  errors  dns \n   log  dns \n    dnstap  dns \n     \
                    dnstap  dns \n      loadbalance  dns \n       cache  dns \n        hosts  \
                    dns \n         forward  dns \n          connect  dns peer.address=127.0.0.1:";
    ensure!(trees.iter().any(|tree| tree.starts_with(expected)), "{trees:#?}");
    let failed = "servedns SERVER dns coredns.io/name=elsewhere.test. coredns.io/proto=udp \
                  coredns.io/rcode=SERVFAIL coredns.io/remote=127.0.0.1 coredns.io/type=MX \
                  exception.message=plugin/";
    let failed = trees.iter().find(|tree| tree.starts_with(failed));
    ensure!(failed.is_some_and(|tree| tree.contains(" status=2\n")), "{trees:#?}");
    for span in &spans {
        ensure!(span.trace.len() == 32 && span.id.len() == 16, "{span:?}");
    }
    let of_client = spans.iter().find(|span| span.trace == TRACE && span.name == "servedns");
    ensure!(of_client.context("a client's trace")?.parent == SPAN);
    let posted = collector.posted();
    ensure!(posted.iter().all(|posted| posted.path == "/v1/traces"), "{}", posted[0].path);
    ensure!(posted[0].fields["content-type"] == "application/x-protobuf");
    Ok(())
}

pub(super) fn otlp_over_tls(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let authority = Authority::new(folder, "authority")?;
    let Identity { certificate, key } =
        authority.issue_for("collector", &["localhost"], Validity::Good)?;
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(certificate)?],
                PrivateKeyDer::from_pem_file(key)?,
            )?;
    let at = loopback(ports::free());
    let collector = Collector::start(at, Some(Arc::new(config)))?;
    let trace = format!("otlp https://localhost:{}/other/path", at.port());
    let traced = Traced::with(folder, program, &trace, authority)?;
    traced.ask("www.example.", "A", Transport::Udp)?;
    collected(&collector, 1, spans::of_otlp)?;
    ensure!(collector.posted()[0].path == "/other/path", "{}", collector.posted()[0].path);
    Ok(())
}
