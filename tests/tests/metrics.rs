//! `/metrics` beside CoreDNS's own: the same families, types, labels and, where they are counts of
//! the same questions, values; and a real Prometheus parser reads it.
#![expect(clippy::unwrap_used, reason = "a test stops where it can go no further")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
};

use daymark_tests::{
    control_plane::ControlPlane,
    dns::{self, EdnsOptions, Transport},
    folder, pages, peers, ports,
    process::Program,
};

/// Families that CoreDNS has and Daymark has not, each for a reason that stands in DIFFERENCES.md.
const NOT_OURS: [&str; 2] = ["go_", "process_"];

/// What a family looks like: its type and every set of label names.
type Family = (String, BTreeSet<BTreeSet<String>>);

/// A server with both its ports.
struct Served {
    program: Program,
    dns: SocketAddr,
    metrics: u16,
}

#[test]
fn families_types_labels_and_counts_are_those_of_coredns() {
    let plane = match peers::program("coredns").and_then(|_| peers::program("kube-apiserver")) {
        Ok(_) => ControlPlane::start().unwrap(),
        Err(reason) => return println!("skipped: {reason}"),
    };
    folder::load_into(&plane).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let upstream = serve(&scratch, "upstream", &upstream_corefile);
    let kubeconfig = plane.kubeconfig().display().to_string();
    let corefile =
        |port: u16, metrics: u16| tested_corefile(port, metrics, &kubeconfig, upstream.dns);
    let mut ours = serve(&scratch, "daymark", &corefile);
    let mut theirs = serve(&scratch, "coredns", &corefile);
    for server in [&ours, &theirs] {
        ask_everything(server.dns);
    }
    for server in [&mut ours, &mut theirs] {
        let port = server.metrics;
        // Both ask their own health page once a second.
        let asked = || page(port).contains("coredns_health_request_duration_seconds_count");
        server.program.wait_until("asking its own health page", asked).unwrap();
    }
    let (our_text, their_text) = (page(ours.metrics), page(theirs.metrics));
    let (our_families, their_families) = (families(&our_text), families(&their_text));
    let mut wrong = Vec::new();
    for (name, theirs) in &their_families {
        if NOT_OURS.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        match our_families.get(name) {
            None => wrong.push(format!("{name} is missing")),
            Some(ours) if ours != theirs => wrong.push(format!("{name}: {ours:?}, not {theirs:?}")),
            Some(_) => {}
        }
    }
    for family in [
        "coredns_dns_requests_total",
        "coredns_dns_responses_total",
        "coredns_dns_do_requests_total",
        "coredns_dns_request_duration_seconds_count",
        "coredns_dns_request_size_bytes_count",
        "coredns_plugin_enabled",
    ] {
        let (ours, theirs) =
            (values(&our_text, family, ours.dns), values(&their_text, family, theirs.dns));
        if ours != theirs {
            wrong.push(format!("{family}:\n  daymark {ours:#?}\n  coredns {theirs:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop((ours.program, theirs.program, upstream.program));
    read_by_prometheus(&our_text);
}

fn upstream_corefile(port: u16, metrics: u16) -> String {
    format!(
        ".:{port} {{\n    bind 127.0.0.1\n    hosts {{\n        192.0.2.80 www.example.com\n    }}\n    \
         prometheus 127.0.0.1:{metrics}\n}}\n"
    )
}

fn tested_corefile(port: u16, metrics: u16, kubeconfig: &str, upstream: SocketAddr) -> String {
    format!(
        ".:{port} {{\n    bind 127.0.0.1\n    errors\n    health 127.0.0.1:{health}\n    kubernetes \
         cluster.local in-addr.arpa {{\n        kubeconfig {kubeconfig}\n        fallthrough \
         in-addr.arpa\n    }}\n    prometheus 127.0.0.1:{metrics}\n    forward . {upstream}\n    \
         hosts {{\n        192.0.2.81 own.example.com\n        fallthrough\n    }}\n    cache 30\n    \
         reload\n    loadbalance\n}}\n",
        health = ports::free(),
    )
}

/// The upstream and Daymark are our binary, CoreDNS is CoreDNS.
fn serve(scratch: &tempfile::TempDir, name: &str, corefile: &dyn Fn(u16, u16) -> String) -> Served {
    let (port, metrics) = (ports::free(), ports::free());
    let path = scratch.path().join(format!("{name}.corefile"));
    fs::write(&path, corefile(port, metrics)).unwrap();
    let path = path.display().to_string();
    let log = scratch.path().join(format!("{name}.log"));
    let mut program = match name {
        "coredns" => Program::start(&peers::program("coredns").unwrap(), ["-conf", &path], &log),
        _ => Program::start(&peers::daymark(), ["dns", "--conf", &path], &log),
    }
    .unwrap();
    let dns = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    program.wait_until_listening(dns).unwrap();
    program.wait_until("metrics", || !page(metrics).is_empty()).unwrap();
    Served { program, dns, metrics }
}

/// Questions of many kinds, the same for both.
fn ask_everything(server: SocketAddr) {
    let edns = EdnsOptions { size: 1232, dnssec_ok: true, options: Vec::new() };
    for (name, rtype, with_edns, transport) in [
        ("web.shop.svc.cluster.local.", "A", false, Transport::Udp),
        ("web.shop.svc.cluster.local.", "AAAA", true, Transport::Udp),
        ("web.shop.svc.cluster.local.", "A", false, Transport::Tcp),
        ("no-such.shop.svc.cluster.local.", "A", false, Transport::Udp),
        ("_http._tcp.web.shop.svc.cluster.local.", "SRV", false, Transport::Udp),
        ("cluster.local.", "SOA", false, Transport::Udp),
        ("www.example.com.", "A", false, Transport::Udp),
        ("www.example.com.", "A", false, Transport::Udp),
        ("own.example.com.", "A", false, Transport::Udp),
        ("web.shop.svc.cluster.local.", "TYPE65280", false, Transport::Udp),
    ] {
        let query = dns::query(name, rtype, with_edns.then_some(&edns)).unwrap();
        dns::ask(server, &query, transport).unwrap();
    }
}

fn page(port: u16) -> String {
    pages::body((Ipv4Addr::LOCALHOST, port).into(), "/metrics")
}

/// Name, labels and value of a line of the exposition.
fn sample(line: &str) -> Option<(&str, BTreeMap<String, String>, f64)> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = head.split_once('{').unwrap_or((head, "}"));
    let mut pairs = BTreeMap::new();
    // No label value of these families has a comma or a quote in it.
    for pair in labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty()) {
        let (label, value) = pair.split_once('=')?;
        pairs.insert(label.to_owned(), value.trim_matches('"').to_owned());
    }
    Some((name, pairs, value.parse().ok()?))
}

fn families(text: &str) -> BTreeMap<String, Family> {
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            current = name.to_owned();
            all.entry(current.clone()).or_insert((kind.to_owned(), BTreeSet::new()));
        } else if let Some((_, labels, _)) = sample(line).filter(|_| !line.starts_with('#'))
            && let Some((_, sets)) = all.get_mut(&current)
        {
            sets.insert(labels.into_keys().filter(|label| label != "le").collect());
        }
    }
    all
}

/// Samples of a family by their labels, the server's own port taken out.
fn values(text: &str, family: &str, server: SocketAddr) -> BTreeMap<String, f64> {
    text.lines()
        .filter_map(sample)
        .filter(|(name, ..)| *name == family)
        .map(|(_, labels, value)| {
            (format!("{labels:?}").replace(&server.port().to_string(), "PORT"), value)
        })
        .collect()
}

fn read_by_prometheus(text: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else { return println!("skipped: promtool is not installed") };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // 3 says that it was read, and that a name is not to promtool's taste: they are CoreDNS's.
    assert!(matches!(output.status.code(), Some(0 | 3)), "promtool: {said}");
}
