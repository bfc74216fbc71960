//! DNS over TLS against a server with a certificate of our own authority.

use std::sync::Arc;

use hickory_proto::op::Message;
use parking_lot::Mutex;
use tokio_rustls::TlsAcceptor;

use super::{
    authority::Authority,
    scripted::{Scripted, Seen, answer},
    setup::Setup,
};

/// An upstream that answers, and may want a certificate of the client.
async fn upstream(authority: &Authority, wants_client: bool) -> Scripted {
    let well = |seen: &Seen| Some(vec![answer(&seen.query)]);
    let acceptor = TlsAcceptor::from(Arc::new(authority.server(wants_client, &[])));
    Scripted::at("127.0.0.1:0", Some(acceptor), well).await
}

#[tokio::test]
async fn a_trusted_upstream_is_asked_over_one_connection() {
    let authority = Authority::new("dot-reuse");
    let upstream = upstream(&authority, false).await;
    let ca = authority.file("ca.pem");
    let port = upstream.address.port();
    for (to, more) in [
        (format!("tls://127.0.0.1:{port}"), "tls_servername dns.example"),
        (format!("tls://127.0.0.1%dns.example:{port}"), ""),
        // Without a name the address must be in the certificate, as with Go's TLS.
        (format!("tls://127.0.0.1:{port}"), ""),
    ] {
        let before = upstream.accepted();
        let setup = Setup::new(&format!("forward . {to} {{\ntls {ca}\n{more}\n}}")).await;
        for _ in 0..5 {
            setup.ask("www.example.org.").await.unwrap();
        }
        assert_eq!(upstream.accepted(), before + 1, "{to} {more}");
        let hits = &setup.metrics.forward.hits;
        let to = upstream.address.to_string();
        assert_eq!(hits.with_label_values(&["forward", &*to, "tcp-tls"]).get(), 4);
    }
}

#[tokio::test]
async fn an_upstream_with_another_name_is_not_asked() {
    let authority = Authority::new("dot-name");
    let upstream = upstream(&authority, false).await;
    let ca = authority.file("ca.pem");
    let setup = Setup::new(&format!(
        "forward . tls://{} {{\ntls {ca}\ntls_servername other.example\n}}",
        upstream.address
    ))
    .await;
    let failure = setup.ask("www.example.org.").await.unwrap_err();
    let text = failure.reason.to_string();
    assert!(text.contains("dial: ") && text.contains("certificate"), "{text}");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn our_certificate_is_shown_to_an_upstream_that_asks_for_it() {
    let authority = Authority::new("dot-client");
    let upstream = upstream(&authority, true).await;
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|n| authority.file(n));
    for (tls, want) in [(format!("{certificate} {key} {ca}"), true), (ca.clone(), false)] {
        let to = upstream.address;
        let setup = Setup::new(&format!("forward . tls://{to} {{\ntls {tls}\n}}")).await;
        assert_eq!(setup.ask("www.example.org.").await.is_ok(), want, "{tls}");
    }
}

#[tokio::test]
async fn many_queries_at_once_share_connections_and_replies_come_in_any_order() {
    let authority = Authority::new("dot-pipelined");
    // Holds every first query back until the second one came, then answers both in reverse.
    let held: Mutex<Option<Message>> = Mutex::new(None);
    let acceptor = TlsAcceptor::from(Arc::new(authority.server(false, &[])));
    let upstream = Scripted::at("127.0.0.1:0", Some(acceptor), move |seen| {
        let mut held = held.lock();
        match held.take() {
            None => {
                *held = Some(seen.query.clone());
                Some(Vec::new())
            }
            Some(first) => Some(vec![answer(&seen.query), answer(&first)]),
        }
    })
    .await;
    let (to, ca) = (upstream.address, authority.file("ca.pem"));
    let setup = Setup::new(&format!("forward . tls://{to} {{\ntls {ca}\n}}")).await;
    let names: Vec<String> = (0..16).map(|n| format!("n{n}.example.org.")).collect();
    let asked = futures::future::join_all(names.iter().map(|name| setup.ask(name))).await;
    for (name, outcome) in names.iter().zip(asked) {
        assert_eq!(outcome.unwrap().message.queries[0].name.to_ascii(), *name);
    }
    assert_eq!(upstream.accepted(), 8);
}
