//! Who shows which certificate to whom.

use daymark_tests::{
    certificates::{Authority, Identity, Validity},
    encrypted, peers,
    process::retried,
};

use super::served::{NAME, Served, Setting, answers, query};

/// Whether a client with this certificate is answered over TLS and over QUIC.
fn is_answered(served: &Served, identity: Option<&Identity>) -> bool {
    let client = served.client(identity);
    let question = query(NAME);
    let over_tls = client
        .tls(served.tls, "localhost")
        .and_then(|mut stream| encrypted::ask(&mut stream, &question))
        .is_ok_and(|reply| answers(&reply) == 1);
    let over_quic = client.quic(served.quic, "localhost", std::slice::from_ref(&question));
    assert_eq!(over_quic.is_ok(), over_tls, "QUIC is as TLS is");
    over_tls
}

/// A mode; whether a client without a certificate, with a stranger's, and with one of the authority's
/// is answered.
const MODES: [(&str, [bool; 3]); 5] = [
    ("client_auth nocert", [true, true, true]),
    ("client_auth request", [true, true, true]),
    ("client_auth require", [false, true, true]),
    ("client_auth verify_if_given", [true, false, true]),
    ("client_auth require_and_verify", [false, false, true]),
];

#[test]
fn clients_need_the_certificates_that_are_asked_of_them() {
    let coredns = peers::program("coredns");
    let mut programs = vec![(peers::daymark(), ["dns"].as_slice())];
    programs.extend(coredns.ok().map(|program| (program, [].as_slice())));
    for program in programs {
        for (mode, expected) in MODES {
            let setting = Setting { program: program.clone(), tls: mode, ..Setting::default() };
            let served = setting.start();
            let strange = Authority::new(served.folder.path(), "stranger").unwrap();
            let stranger = strange.issue("stranger", Validity::Good).unwrap();
            let known = served.authority.issue("known", Validity::Good).unwrap();
            let clients = [None, Some(&stranger), Some(&known)];
            let found = clients.map(|identity| is_answered(&served, identity));
            assert_eq!(found, expected, "{mode} by {}", program.0.display());
        }
    }
}

#[test]
fn a_changed_certificate_is_shown_to_new_connections_and_a_bad_one_is_not() {
    let patient = "timeouts {\n idle 5m\n }";
    let mut served = Setting { more: patient, ..Setting::default() }.start();
    let question = query(NAME);
    let file = |name: &str| served.folder.path().join("authority").join(name);
    let (certificate, key) = (file("localhost.crt"), file("localhost.key"));
    let old = served.client(None);
    let mut held = old.tls(served.tls, "localhost").unwrap();
    let newer = Authority::new(served.folder.path(), "newer").unwrap();
    let issued = newer.issue("localhost", Validity::Good).unwrap();

    std::fs::write(&certificate, "no certificate").unwrap();
    served.program.wait_until_said("the last good certificate is still shown").unwrap();
    old.tls(served.tls, "localhost").unwrap();

    // As a Secret's volume does it: both at once, by renaming.
    std::fs::rename(&issued.key, &key).unwrap();
    std::fs::rename(&issued.certificate, &certificate).unwrap();
    let new = encrypted::Client::new(&newer.certificate(), None).unwrap();
    let mut stream = retried(|| new.tls(served.tls, "localhost")).unwrap();
    assert_eq!(answers(&encrypted::ask(&mut stream, &question).unwrap()), 1);
    assert_eq!(
        new.quic(served.quic, "localhost", std::slice::from_ref(&question)).unwrap().len(),
        1
    );
    assert!(old.tls(served.tls, "localhost").is_err(), "the old one is not shown any more");
    assert_eq!(answers(&encrypted::ask(&mut held, &question).unwrap()), 1, "connections stay");
}

#[test]
fn secrets_of_sessions_are_written_where_the_key_log_is() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("keys");
    let setting = format!("keylog {}", log.display());
    let served = Setting { tls: &setting, ..Setting::default() }.start();
    let mut stream = served.client(None).tls(served.tls, "localhost").unwrap();
    assert_eq!(answers(&encrypted::ask(&mut stream, &query(NAME)).unwrap()), 1);
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.lines().any(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0 ")), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&log.metadata().unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "nobody else may read it");
}
