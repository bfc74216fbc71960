//! `/metrics` over TLS, by the web configuration file that CoreDNS reads too.
#![expect(clippy::unwrap_used, reason = "a test stops where it can go no further")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use daymark_tests::{
    certificates::{Authority, Identity, Validity},
    encrypted::{Client, Response},
    pages, peers, ports,
    process::{Program, eventually, retried},
};
use http::Request;

/// The name that is asked for.
const NAME: &str = "localhost";

/// A server with `/metrics` over TLS.
struct Served {
    _program: Program,
    metrics: SocketAddr,
}

fn served(folder: &Path, program: &Path, web: &str) -> Served {
    let [dns, metrics] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free())));
    let file = folder.join("web.yml");
    std::fs::write(&file, web).unwrap();
    let corefile = folder.join("Corefile");
    let text = format!(
        ".:{} {{\n bind 127.0.0.1\n prometheus {metrics} {{\n tls {}\n }}\n whoami\n}}\n",
        dns.port(),
        file.display()
    );
    std::fs::write(&corefile, text).unwrap();
    let ours = program == peers::daymark();
    let verb = if ours { vec!["dns".to_owned()] } else { Vec::new() };
    let arguments = [verb, vec!["-conf".to_owned(), corefile.display().to_string()]].concat();
    let mut program = Program::start(program, arguments, &folder.join("log")).unwrap();
    program.wait_until_listening(dns).unwrap();
    Served { _program: program, metrics }
}

impl Served {
    fn page(&self, client: &Client) -> anyhow::Result<Response> {
        client.https(self.metrics, NAME, &Request::get("/metrics").body(Vec::new())?)
    }
}

/// Runs a test with a folder of its own for each server.
fn on_both(test: impl Fn(&Path, &Path)) {
    let mut programs: Vec<PathBuf> = vec![peers::daymark()];
    match peers::program("coredns") {
        Ok(program) => programs.push(program),
        Err(reason) => println!("without CoreDNS: {reason}"),
    }
    for program in programs {
        let folder = tempfile::tempdir().unwrap();
        test(folder.path(), &program);
    }
}

#[test]
fn metrics_have_a_certificate_and_what_else_the_file_says() {
    on_both(|folder, program| {
        let authority = Authority::new(folder, "authority").unwrap();
        authority.issue(NAME, Validity::Good).unwrap();
        // Paths begin in the folder of the file.
        let web = "tls_server_config:\n  cert_file: authority/localhost.crt\n  key_file: \
                   authority/localhost.key\n  min_version: TLS13\nhttp_server_config:\n  headers:\n    \
                   X-Frame-Options: deny\n    Strict-Transport-Security: max-age=60\n";
        let served = served(folder, program, web);
        let client = Client::new(&authority.certificate(), None).unwrap();
        let response = retried(|| served.page(&client)).unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.headers["x-frame-options"], "deny");
        assert_eq!(response.headers["strict-transport-security"], "max-age=60");
        let text = String::from_utf8(response.body).unwrap();
        assert!(text.contains("coredns_build_info{"), "{text}");
        // In the clear there is nothing.
        let plain = pages::page(served.metrics, "/metrics");
        assert!(plain.map_or(true, |(status, _)| status == 400));
        let stranger = Authority::new(folder, "stranger").unwrap();
        let stranger = Client::new(&stranger.certificate(), None).unwrap();
        assert!(served.page(&stranger).is_err());
    });
}

#[test]
fn metrics_ask_clients_for_certificates() {
    on_both(|folder, program| {
        let authority = Authority::new(folder, "authority").unwrap();
        authority.issue(NAME, Validity::Good).unwrap();
        let own = authority.issue("client", Validity::Good).unwrap();
        let other = Authority::new(folder, "other").unwrap();
        let others = other.issue("client", Validity::Good).unwrap();
        for (kind, nobody, unknown) in [
            ("RequestClientCert", true, true),
            ("RequireAnyClientCert", false, true),
            ("VerifyClientCertIfGiven", true, false),
            ("RequireAndVerifyClientCert", false, false),
        ] {
            let web = format!(
                "tls_server_config:\n  cert_file: authority/localhost.crt\n  key_file: \
                 authority/localhost.key\n  client_auth_type: {kind}\n  client_ca_file: \
                 authority/ca.crt\n"
            );
            let served = served(folder, program, &web);
            let welcome = |identity: Option<&Identity>| {
                let client = Client::new(&authority.certificate(), identity).unwrap();
                served.page(&client).is_ok_and(|response| response.status == 200)
            };
            eventually("served", || welcome(Some(&own))).unwrap();
            assert_eq!((welcome(None), welcome(Some(&others))), (nobody, unknown), "{kind}");
        }
    });
}

#[test]
fn metrics_take_up_a_changed_certificate() {
    on_both(|folder, program| {
        let before = Authority::new(folder, "authority").unwrap();
        let shown = before.issue(NAME, Validity::Good).unwrap();
        let web = "tls_server_config:\n  cert_file: authority/localhost.crt\n  key_file: \
                   authority/localhost.key\n";
        let served = served(folder, program, web);
        let client = Client::new(&before.certificate(), None).unwrap();
        retried(|| served.page(&client)).unwrap();
        let after = Authority::new(folder, "after").unwrap();
        let new = after.issue(NAME, Validity::Good).unwrap();
        std::fs::copy(&new.key, &shown.key).unwrap();
        std::fs::copy(&new.certificate, &shown.certificate).unwrap();
        let client = Client::new(&after.certificate(), None).unwrap();
        retried(|| served.page(&client)).unwrap();
    });
}
