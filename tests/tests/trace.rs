//! `trace`: the spans that CoreDNS sends, in its formats and in OpenTelemetry's. What receives them is an
//! HTTP server of the tests' own, which decodes them by itself: no Zipkin, no Datadog, no collector.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, ensure};
use daymark_tests::{
    certificates::{Authority, Identity, Validity},
    collector::{Collector, Posted},
    dns::{self, Transport},
    encrypted::Client,
    pages, peers, ports,
    process::{Program, retried},
    suite::Suite,
    upstream::Upstream,
};
use http::Request;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

#[path = "trace/spans.rs"]
mod spans;

use spans::Span;

/// What is asked of both servers. `@TRACE@` is the directive.
const COREFILE: &str = ".:@PORT@ {
    bind 127.0.0.1
    metadata
    nsid
    trace @TRACE@
    prometheus 127.0.0.1:@METRICS@
    errors
    log . \"{name} traced {/trace/traceid}\"
    dnstap @DIR@/nobody
    dnstap @DIR@/nobody
    loadbalance
    cache 30
    hosts {
        192.0.2.1 www.example
        fallthrough
    }
    forward up.test @UPSTREAM@
}
https://.:@HTTPS@ {
    bind 127.0.0.1
    tls @CERT@ @KEY@
    trace @TRACE@
    whoami
}
";
const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
const SPAN: &str = "a2fb4a1d1a96d312";

fn main() -> ExitCode {
    Suite::run("traces can be collected", prepare)
}

fn prepare(suite: &mut Suite) -> anyhow::Result<()> {
    type Trial = fn(&Path, &Path) -> anyhow::Result<()>;
    let both: [(&str, Trial); 4] = [
        ("one of every so many queries is traced", every),
        ("a client's span is gone on with", clients_span),
        ("a span is shared with the client", shared_span),
        ("Datadog is told of whole queries", datadog),
    ];
    let ours: [(&str, Trial); 5] = [
        ("OpenTelemetry has the same spans", otlp),
        ("OpenTelemetry over TLS", otlp_over_tls),
        ("an endpoint that is away holds up nobody", endpoint_away),
        ("an endpoint that refuses is told of", endpoint_refuses),
        ("what waits at the end is sent", sent_at_the_end),
    ];
    let mut add = |group: &str, program: Result<PathBuf, String>, name: &str, trial: Trial| {
        let name = format!("{group}: {name}");
        let program = match program {
            Ok(program) => program,
            Err(reason) => return suite.skipped(&name, &reason),
        };
        let folder = suite.scratch().join(suite.size().to_string());
        suite.trial(name, move || {
            std::fs::create_dir_all(&folder)?;
            trial(&folder, &program).map_err(|error| {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                format!("{error:#}\n{log}").into()
            })
        });
    };
    for (name, trial) in both {
        add("daymark", Ok(peers::daymark()), name, trial);
        add("coredns", peers::program("coredns"), name, trial);
    }
    for (name, trial) in ours {
        add("daymark", Ok(peers::daymark()), name, trial);
    }
    let with_peer = peers::program("coredns").map(|_| peers::daymark());
    add("both", with_peer.clone(), "Zipkin gets the same spans", same_for_zipkin);
    add("both", with_peer, "Datadog gets the same spans", same_for_datadog);
    Ok(())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A server that traces, and what it is asked with.
struct Traced {
    program: Program,
    at: SocketAddr,
    https: SocketAddr,
    metrics: SocketAddr,
    authority: Authority,
}

impl Traced {
    fn start(folder: &Path, program: &Path, trace: &str) -> anyhow::Result<Self> {
        let authority = Authority::new(folder, "authority")?;
        Traced::with(folder, program, trace, authority)
    }

    fn with(
        folder: &Path,
        program: &Path,
        trace: &str,
        authority: Authority,
    ) -> anyhow::Result<Self> {
        let identity = authority.issue("localhost", Validity::Good)?;
        let upstream =
            Upstream::start(&peers::repository().join("tests/dns/plugins/upstream.zone"))?;
        let [at, https, metrics] = [(); 3].map(|()| loopback(ports::free()));
        let values = [
            ("@TRACE@", trace.to_owned()),
            ("@DIR@", folder.display().to_string()),
            ("@PORT@", at.port().to_string()),
            ("@HTTPS@", https.port().to_string()),
            ("@METRICS@", metrics.port().to_string()),
            ("@UPSTREAM@", upstream.address.to_string()),
            ("@CERT@", identity.certificate.display().to_string()),
            ("@KEY@", identity.key.display().to_string()),
        ];
        let text = values
            .iter()
            .fold(COREFILE.to_owned(), |text, (name, value)| text.replace(name, value));
        let path = folder.join("Corefile");
        std::fs::write(&path, text)?;
        let ours = program == peers::daymark();
        let verb = if ours { vec!["dns".to_owned()] } else { Vec::new() };
        let arguments = [verb, vec!["-conf".to_owned(), path.display().to_string()]].concat();
        let file = authority.certificate().display().to_string();
        let environment = [("SSL_CERT_FILE".to_owned(), file)];
        let log = folder.join("log");
        let mut program = Program::start_in(folder, program, arguments, &environment, &log)?;
        program.wait_until_listening(at)?;
        program.wait_until_listening(https)?;
        Ok(Traced { program, at, https, metrics, authority })
    }

    fn ask(&self, name: &str, rtype: &str, transport: Transport) -> anyhow::Result<()> {
        dns::ask(self.at, &dns::query(name, rtype, None)?, transport).map(drop)
    }

    /// Asks for something over HTTPS with these header fields.
    fn ask_with(&self, fields: &[(&str, String)]) -> anyhow::Result<()> {
        let client = Client::new(&self.authority.certificate(), None)?;
        let mut query = dns::query("www.example.", "A", None)?;
        query.metadata.id = 0;
        let mut request =
            Request::post("/dns-query").header("content-type", "application/dns-message");
        for (name, value) in fields {
            request = request.header(*name, value);
        }
        let response = client.https(self.https, "localhost", &request.body(query.to_vec()?)?)?;
        ensure!(response.status == 200, "{}", response.status);
        Ok(())
    }
}

/// The spans that came, once `count` of them are whole queries.
fn collected(
    collector: &Collector,
    count: usize,
    read: fn(&[Posted]) -> anyhow::Result<Vec<Span>>,
) -> anyhow::Result<Vec<Span>> {
    retried(|| {
        // Datadog's library for Go also asks and tells other things.
        let mut posted = collector.posted();
        posted.retain(|posted| !posted.path.contains("telemetry") && posted.path != "/info");
        let spans = read(&posted)?;
        let whole = spans.iter().filter(|span| span.name == "servedns").count();
        ensure!(whole >= count, "{whole} of {count}");
        Ok(spans)
    })
}

const QUERIES: [(&str, &str, Transport); 5] = [
    ("www.example.", "A", Transport::Udp),
    ("WWW.up.test.", "A", Transport::Tcp),
    ("www.up.test.", "A", Transport::Udp),
    ("nothing.up.test.", "TYPE65280", Transport::Udp),
    ("elsewhere.test.", "MX", Transport::Udp),
];

fn same_for_zipkin(folder: &Path, daymark: &Path) -> anyhow::Result<()> {
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

fn same_for_datadog(folder: &Path, daymark: &Path) -> anyhow::Result<()> {
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

fn every(folder: &Path, program: &Path) -> anyhow::Result<()> {
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

fn clients_span(folder: &Path, program: &Path) -> anyhow::Result<()> {
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

fn shared_span(folder: &Path, program: &Path) -> anyhow::Result<()> {
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

fn datadog(folder: &Path, program: &Path) -> anyhow::Result<()> {
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

fn otlp(folder: &Path, program: &Path) -> anyhow::Result<()> {
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

fn otlp_over_tls(folder: &Path, program: &Path) -> anyhow::Result<()> {
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

fn endpoint_away(folder: &Path, program: &Path) -> anyhow::Result<()> {
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
    let last = spans.last().and_then(|span| span.facts.get("coredns.io/name"));
    ensure!(last.is_some_and(|name| name == "n50.example."), "{last:?}");
    Ok(())
}

fn endpoint_refuses(folder: &Path, program: &Path) -> anyhow::Result<()> {
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

fn sent_at_the_end(folder: &Path, program: &Path) -> anyhow::Result<()> {
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
