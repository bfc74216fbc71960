//! A server that traces, and what comes of it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::ensure;
use daymark_tests::{
    certificates::{Authority, Validity},
    collector::{Collector, Posted},
    dns::{self, Transport},
    encrypted::Client,
    peers, ports,
    process::{Program, retried},
    upstream::Upstream,
};
use http::Request;

use super::spans::Span;

/// What is asked of both servers. `@TRACE@` is the directive.
pub(super) const COREFILE: &str = ".:@PORT@ {
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

pub(super) const QUERIES: [(&str, &str, Transport); 5] = [
    ("www.example.", "A", Transport::Udp),
    ("WWW.up.test.", "A", Transport::Tcp),
    ("www.up.test.", "A", Transport::Udp),
    ("nothing.up.test.", "TYPE65280", Transport::Udp),
    ("elsewhere.test.", "MX", Transport::Udp),
];

pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A server that traces, and what it is asked with.
pub(super) struct Traced {
    pub(super) program: Program,
    pub(super) at: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) metrics: SocketAddr,
    pub(super) authority: Authority,
}

impl Traced {
    pub(super) fn start(folder: &Path, program: &Path, trace: &str) -> anyhow::Result<Self> {
        let authority = Authority::new(folder, "authority")?;
        Traced::with(folder, program, trace, authority)
    }

    pub(super) fn with(
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

    pub(super) fn ask(&self, name: &str, rtype: &str, transport: Transport) -> anyhow::Result<()> {
        dns::ask(self.at, &dns::query(name, rtype, None)?, transport).map(drop)
    }

    /// Asks for something over HTTPS with these header fields.
    pub(super) fn ask_with(&self, fields: &[(&str, String)]) -> anyhow::Result<()> {
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

/// The spans that came, once `count` of them are whole queries, in the order in which they began: a server
/// may end and send them in another, since it answers before it ends them.
pub(super) fn collected(
    collector: &Collector,
    count: usize,
    read: fn(&[Posted]) -> anyhow::Result<Vec<Span>>,
) -> anyhow::Result<Vec<Span>> {
    retried(|| {
        // Datadog's library for Go also asks and tells other things.
        let mut posted = collector.posted();
        posted.retain(|posted| !posted.path.contains("telemetry") && posted.path != "/info");
        let mut spans = read(&posted)?;
        spans.sort_by_key(|span| span.begin);
        let whole = spans.iter().filter(|span| span.name == "servedns").count();
        ensure!(whole >= count, "{whole} of {count}");
        Ok(spans)
    })
}
