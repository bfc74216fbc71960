//! DNS over TLS against a server with a certificate of our own authority.

use std::{path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

use super::{
    scripted::{Scripted, Seen, answer},
    setup::Setup,
};

/// A folder with `ca.pem`, `client.pem` and `client.key`, and a server certificate for
/// `dns.example` and 127.0.0.1.
struct Authority {
    folder: PathBuf,
    certificate: CertificateDer<'static>,
    server: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Authority {
    fn new(test: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let leaf = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let key = KeyPair::generate().unwrap();
            (CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap(), key)
        };
        let folder = std::env::temp_dir().join(format!("daymark-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (client, client_key) = leaf(&["client.example"]);
        for (name, text) in [
            ("ca.pem", ca.pem()),
            ("client.pem", client.pem()),
            ("client.key", client_key.serialize_pem()),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let (server, key) = leaf(&["dns.example", "127.0.0.1"]);
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        Authority { folder, certificate: ca.der().clone(), server: (server.der().clone(), key) }
    }

    /// An upstream with the server certificate, which may want one of the client.
    async fn upstream(&self, wants_client: bool) -> Scripted {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if wants_client {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = &self.server;
        let config = builder.with_single_cert(vec![certificate.clone()], key.clone_key()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let well = |seen: &Seen| Some(vec![answer(&seen.query)]);
        Scripted::at("127.0.0.1:0", Some(acceptor), well).await
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

#[tokio::test]
async fn a_trusted_upstream_is_asked_over_one_connection() {
    let authority = Authority::new("dot-reuse");
    let upstream = authority.upstream(false).await;
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
    let upstream = authority.upstream(false).await;
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
    let upstream = authority.upstream(true).await;
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|n| authority.file(n));
    for (tls, want) in [(format!("{certificate} {key} {ca}"), true), (ca.clone(), false)] {
        let to = upstream.address;
        let setup = Setup::new(&format!("forward . tls://{to} {{\ntls {tls}\n}}")).await;
        assert_eq!(setup.ask("www.example.org.").await.is_ok(), want, "{tls}");
    }
}
