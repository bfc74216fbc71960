//! `forward` to encrypted upstreams, between the two: Daymark asks CoreDNS's listeners and its own,
//! CoreDNS asks Daymark's.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use daymark_tests::{
    dns::{self, Transport},
    pages, peers, ports,
    process::{self, Program},
};

use super::served::{ADDRESSES, LARGE, NAME, Served, Setting};

/// Queries over each transport.
const QUERIES: usize = 50;

fn check(server: (PathBuf, &[&str]), client: (PathBuf, &[&str])) {
    let is_daymark = server.0 == peers::daymark();
    let served = Setting { program: server, ..Setting::default() }.start();
    let [tls, https, get, quic] = std::array::from_fn(|_| local());
    let metrics = local();
    let ca = served.authority.certificate();
    let block = |at: SocketAddr, to: String, more: &str| {
        format!(
            ".:{} {{\n    bind 127.0.0.1\n    prometheus {metrics}\n    forward . {to} {{\n        \
             tls {}\n        tls_servername localhost\n        {more}\n    }}\n}}\n",
            at.port(),
            ca.display()
        )
    };
    let corefile = [
        block(tls, format!("tls://{}", served.tls), ""),
        block(https, format!("https://{}", served.https), ""),
        block(get, format!("https://{}", served.https), "doh_method GET"),
        block(quic, format!("quic://{}", served.quic), ""),
    ];
    let conf = served.folder.path().join("Corefile.client");
    std::fs::write(&conf, corefile.concat()).unwrap();
    let (path, before) = client;
    let arguments = before.iter().map(ToString::to_string);
    let arguments = arguments.chain(["-conf".to_owned(), conf.display().to_string()]);
    let log = served.folder.path().join("log.client");
    let mut program = Program::start(&path, arguments, &log).unwrap();
    for (what, address) in [("tls", tls), ("https", https), ("get", get), ("quic", quic)] {
        program.wait_until_listening(address).unwrap();
        let asked = |name: &str, transport: Transport| {
            let reply = dns::ask(address, &dns::query(name, "A", None)?, transport)?;
            Ok::<_, anyhow::Error>(reply.answers.len())
        };
        // QUIC's listener may open a little later.
        assert_eq!(process::retried(|| asked(NAME, Transport::Udp)).unwrap(), 1, "{what}");
        for _ in 0..QUERIES {
            assert_eq!(asked(NAME, Transport::Udp).unwrap(), 1, "{what}");
        }
        // CoreDNS cuts replies over QUIC as if they were datagrams.
        if what != "quic" || is_daymark {
            assert_eq!(asked(LARGE, Transport::Tcp).unwrap(), ADDRESSES, "{what}");
        }
    }
    assert_reused(&served, metrics, &path);
}

/// Daymark tells how many queries found a connection.
fn assert_reused(served: &Served, metrics: SocketAddr, client: &Path) {
    if *client != peers::daymark() {
        return;
    }
    for (proto, to, queries) in [
        ("tcp-tls", served.tls, QUERIES),
        ("https", served.https, 2 * QUERIES),
        ("quic", served.quic, QUERIES),
    ] {
        let label = format!("proto=\"{proto}\",proxy_name=\"forward\",to=\"{to}\"");
        let hits = pages::metric(metrics, "coredns_proxy_conn_cache_hits_total", &label).unwrap();
        assert!(hits as usize >= queries, "{proto}: {hits}");
    }
}

fn local() -> SocketAddr {
    ([127, 0, 0, 1], ports::free()).into()
}

fn daymark() -> (PathBuf, &'static [&'static str]) {
    (peers::daymark(), &["dns"])
}

#[test]
fn daymark_asks_daymark() {
    check(daymark(), daymark());
}

#[test]
fn daymark_asks_coredns_and_is_asked_by_it() {
    match peers::program("coredns") {
        Err(reason) => println!("skipped: {reason}"),
        Ok(coredns) => {
            check((coredns.clone(), &[]), daymark());
            check(daymark(), (coredns, &[]));
        }
    }
}
