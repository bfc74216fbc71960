//! kdig and curl, as people use them; where CoreDNS has been built, it is asked the same.

use std::process::{Command, Stdio};

use daymark_tests::{namespace::tool_path, peers};

use super::served::{NAME, Served, Setting, query};

fn run(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(tool_path(program).unwrap()).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn kdig_is_answered_over_every_transport() {
    if tool_path("kdig").is_none() {
        return println!("skipped: there is no kdig (Debian's knot-dnsutils)");
    }
    let served = Setting::default().start();
    let ca = format!("+tls-ca={}", served.authority.certificate().display());
    let kdig = |port: u16, ways: &[&str]| {
        let port = port.to_string();
        // The way comes last: `+tls-ca` alone means TLS.
        let common = ["@127.0.0.1", "-p", &port, "+short", "+tls-hostname=localhost", &ca, NAME];
        run("kdig", &[&common, ways].concat())
    };
    assert_eq!(kdig(served.tls.port(), &["+tls"]), "10.0.0.1\n");
    assert_eq!(kdig(served.https.port(), &["+https"]), "10.0.0.1\n");
    assert_eq!(kdig(served.https.port(), &["+https", "+https-get"]), "10.0.0.1\n");
    if run("kdig", &["--help"]).contains("+[no]quic ") {
        assert_eq!(kdig(served.quic.port(), &["+quic"]), "10.0.0.1\n");
    }
}

/// What curl is told: the status, content type and caching of the response.
fn curl(served: &Served, arguments: &[&str], path: &str) -> String {
    let url = format!("https://localhost:{}{path}", served.https.port());
    let resolve = format!("localhost:{}:127.0.0.1", served.https.port());
    let ca = served.authority.certificate().display().to_string();
    let format = "%{http_code} %{http_version} %header{content-type} %header{cache-control}";
    let common =
        ["-sS", "-o", "/dev/null", "-w", format, "--cacert", &ca, "--resolve", &resolve, &url];
    run("curl", &[arguments, &common].concat())
}

#[test]
fn curl_gets_the_responses_that_coredns_gives() {
    let with_peer = peers::program("coredns")
        .ok()
        .map(|program| Setting { program: (program, &[]), ..Setting::default() });
    let ours = Setting::default().start();
    let theirs = with_peer.map(|setting| setting.start());
    let message = ours.folder.path().join("query");
    std::fs::write(&message, query(NAME)).unwrap();
    let post = format!("@{}", message.display());
    let post = ["-H", "content-type: application/dns-message", "--data-binary", &post];
    let encoded = data_encoding::BASE64URL_NOPAD.encode(&query(NAME));
    let get = format!("/dns-query?dns={encoded}");
    let twice = format!("{get}&dns={encoded}");
    let cases: [(&str, &[&str], &str, &str); 9] = [
        ("POST", &post, "/dns-query", "200 2 application/dns-message max-age=3600"),
        ("GET", &[], &get, "200 2 application/dns-message max-age=3600"),
        ("HTTP/1.1", &["--http1.1"], &get, "200 1.1 application/dns-message max-age=3600"),
        ("another path", &[], "/", "404 2"),
        ("GET without a message", &[], "/dns-query", "400 2"),
        ("GET with two", &[], &twice, "400 2"),
        ("GET with what is no base64", &[], "/dns-query?dns=*", "400 2"),
        ("GET with what is no message", &[], "/dns-query?dns=AAAA", "400 2"),
        ("PUT", &["-X", "PUT"], &get, "400 2"),
    ];
    for (what, arguments, path, expected) in cases {
        for served in [Some(&ours), theirs.as_ref()].into_iter().flatten() {
            let found = curl(served, arguments, path);
            let server = if std::ptr::eq(served, &raw const ours) { "Daymark" } else { "CoreDNS" };
            // CoreDNS describes its error texts too, which nobody reads.
            let found = found.replace(" text/plain; charset=utf-8", "");
            assert_eq!(found.trim_end(), expected, "{what} by {server}");
        }
    }
}
