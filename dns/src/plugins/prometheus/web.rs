//! The web configuration file of Prometheus's exporters, as exporter-toolkit reads it: which certificate
//! `/metrics` is served with, and some fields of its responses.

use std::{collections::BTreeMap, path::Path};

use rustls::{SupportedProtocolVersion, version};
use serde::{Deserialize, de::IgnoredAny};

use crate::plugins::tls::config::{self, ClientAuth};

/// Octets of the longest file.
const MAX: usize = 1 << 20;

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Web {
    /// Without one `/metrics` is served in the clear.
    pub certificate: Option<config::Files>,
    /// Versions of TLS that are spoken.
    pub versions: Versions,
    /// Fields of each response.
    pub headers: BTreeMap<String, String>,
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versions {
    /// 1.2 and 1.3.
    #[default]
    Both,
    /// 1.2.
    Old,
    /// 1.3.
    New,
}

impl Versions {
    /// For the library.
    pub fn all(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Versions::Both => vec![&version::TLS13, &version::TLS12],
            Versions::Old => vec![&version::TLS12],
            Versions::New => vec![&version::TLS13],
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    tls_server_config: Option<TlsServer>,
    http_server_config: Option<HttpServer>,
    rate_limit: Option<RateLimit>,
    basic_auth_users: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TlsServer {
    cert: Option<IgnoredAny>,
    key: Option<IgnoredAny>,
    client_ca: Option<IgnoredAny>,
    cert_file: String,
    key_file: String,
    client_auth_type: String,
    client_ca_file: String,
    cipher_suites: Option<Vec<IgnoredAny>>,
    curve_preferences: Option<Vec<IgnoredAny>>,
    min_version: Option<String>,
    max_version: Option<String>,
    /// Has no effect there either.
    #[serde(rename = "prefer_server_cipher_suites")]
    _prefer_server_cipher_suites: Option<bool>,
    client_allowed_sans: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct HttpServer {
    /// One request on a connection needs no HTTP/2; clients do without it.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RateLimit {
    #[serde(rename = "burst")]
    _burst: Option<IgnoredAny>,
    interval: Option<IgnoredAny>,
}

/// Reads a file, whose relative paths begin in `folder`.
///
/// # Errors
/// In words for people: the first mistake, or what of it is not there yet.
pub fn parse(bytes: &[u8], folder: &Path) -> Result<Web, String> {
    if bytes.len() > MAX {
        return Err(format!("it is longer than {MAX} octets"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text in UTF-8".to_owned())?;
    let file: Option<File> = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let file = file.unwrap_or_default();
    let not_yet = |what: &str| Err(format!("`{what}` is not available in Daymark yet"));
    if file.basic_auth_users.is_some_and(|users| !users.is_empty()) {
        return not_yet("basic_auth_users");
    }
    if file.rate_limit.is_some_and(|limit| limit.interval.is_some()) {
        return not_yet("rate_limit");
    }
    let headers = file.http_server_config.unwrap_or_default().headers;
    for (name, value) in &headers {
        check_header(name, value)?;
    }
    let Some(tls) = file.tls_server_config else {
        return Ok(Web { headers, ..Web::default() });
    };
    for (what, there) in [
        ("cert", tls.cert.is_some()),
        ("key", tls.key.is_some()),
        ("client_ca", tls.client_ca.is_some()),
        ("cipher_suites", tls.cipher_suites.as_ref().is_some_and(|all| !all.is_empty())),
        ("curve_preferences", tls.curve_preferences.as_ref().is_some_and(|all| !all.is_empty())),
        ("client_allowed_sans", tls.client_allowed_sans.is_some()),
    ] {
        if there {
            return not_yet(what);
        }
    }
    let versions = versions(tls.min_version.as_deref(), tls.max_version.as_deref())?;
    Ok(Web { certificate: certificate(&tls, folder)?, versions, headers })
}

fn certificate(tls: &TlsServer, folder: &Path) -> Result<Option<config::Files>, String> {
    let TlsServer { cert_file, key_file, client_auth_type, client_ca_file, .. } = tls;
    if [cert_file, key_file, client_auth_type, client_ca_file].iter().all(|text| text.is_empty()) {
        return Ok(None);
    }
    for (what, text) in [("cert_file", cert_file), ("key_file", key_file)] {
        if text.is_empty() {
            return Err(format!("`{what}` is missing in `tls_server_config`"));
        }
    }
    let client_auth = match &**client_auth_type {
        "" | "NoClientCert" => ClientAuth::NoCert,
        "RequestClientCert" => ClientAuth::Request,
        "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::Require,
        "VerifyClientCertIfGiven" => ClientAuth::VerifyIfGiven,
        "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerify,
        other => return Err(format!("`{other}` is no `client_auth_type`")),
    };
    if client_auth == ClientAuth::NoCert && !client_ca_file.is_empty() {
        return Err("`client_ca_file` needs a `client_auth_type` that asks for certificates".into());
    }
    Ok(Some(config::Files {
        certificate: folder.join(cert_file),
        key: folder.join(key_file),
        ca: (!client_ca_file.is_empty()).then(|| folder.join(client_ca_file)),
        client_auth,
        keylog: None,
    }))
}

fn versions(min: Option<&str>, max: Option<&str>) -> Result<Versions, String> {
    match (min.unwrap_or("TLS12"), max.unwrap_or("TLS13")) {
        ("TLS12", "TLS13") => Ok(Versions::Both),
        ("TLS12", "TLS12") => Ok(Versions::Old),
        ("TLS13", "TLS13") => Ok(Versions::New),
        (min @ ("TLS10" | "TLS11"), _) => {
            Err(format!("`min_version: {min}` can't be had: TLS12 is the oldest that is spoken"))
        }
        (min, max) => Err(format!("there is no version of TLS from `{min}` to `{max}`")),
    }
}

/// The fields that the file may have, and their values where not any will do.
fn check_header(name: &str, value: &str) -> Result<(), String> {
    let values: &[&str] = match name {
        "Strict-Transport-Security" | "X-XSS-Protection" | "Content-Security-Policy" => &[],
        "X-Content-Type-Options" => &["nosniff"],
        "X-Frame-Options" => &["deny", "sameorigin"],
        _ => return Err(format!("the header field `{name}` can't be set")),
    };
    let fits = values.is_empty() || values.contains(&value);
    if !fits || http::HeaderValue::from_str(value).is_err() {
        return Err(format!("`{value}` is no value of the header field `{name}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_is_a_file_or_an_error(text in "[a-z_:{}&*!\\[\\]\"' \n-]{0,80}", octets: Vec<u8>) {
            drop(read(&text));
            drop(parse(&octets, Path::new("/")));
        }
    }

    const CERTIFICATE: &str = "tls_server_config:\n  cert_file: a.crt\n  key_file: /k/a.key\n";

    fn read(text: &str) -> Result<Web, String> {
        parse(text.as_bytes(), Path::new("/etc/web"))
    }

    #[test]
    fn a_file_names_a_certificate_and_whom_it_is_for() {
        let web = read(&format!(
            "{CERTIFICATE}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  \
             min_version: TLS13\n  prefer_server_cipher_suites: false\nhttp_server_config:\n  \
             http2: true\n  headers:\n    X-Frame-Options: deny\n"
        ));
        let web = web.unwrap();
        let certificate = web.certificate.unwrap();
        assert_eq!(certificate.certificate, Path::new("/etc/web/a.crt"));
        assert_eq!(certificate.key, Path::new("/k/a.key"));
        assert_eq!(certificate.ca.as_deref(), Some(Path::new("/etc/web/ca.crt")));
        assert_eq!(certificate.client_auth, ClientAuth::RequireAndVerify);
        assert_eq!((web.versions, web.headers.len()), (Versions::New, 1));
    }

    #[test]
    fn a_file_without_a_certificate_leaves_metrics_in_the_clear() {
        for text in [
            "",
            "# nothing\n",
            "tls_server_config: {}\n",
            "basic_auth_users: {}\n",
            "rate_limit:\n  burst: 1\n",
        ] {
            assert_eq!(read(text), Ok(Web::default()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_or_not_there_is_told() {
        for (text, said) in [
            ("basic_auth_users:\n  me: $2y$10$a\n", "`basic_auth_users` is not available"),
            ("rate_limit:\n  interval: 1s\n", "`rate_limit` is not available"),
            ("tls_server_config:\n  cert: text\n", "`cert` is not available"),
            ("tls_server_config:\n  cert_file: a.crt\n", "`key_file` is missing"),
            ("tls_server_config:\n  client_auth_type: NoClientCert\n", "`cert_file` is missing"),
            ("tls_server_config:\n  certfile: a.crt\n", "certfile"),
            ("tls: yes\n", "tls"),
            ("http_server_config:\n  headers:\n    Server: me\n", "`Server` can't be set"),
            ("http_server_config:\n  headers:\n    X-Frame-Options: no\n", "`no` is no value"),
            ("[", ""),
            ("\u{0}", ""),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        for (more, said) in [
            ("  client_auth_type: Some\n", "`Some` is no `client_auth_type`"),
            ("  client_ca_file: ca.crt\n", "needs a `client_auth_type`"),
            ("  min_version: TLS10\n", "TLS12 is the oldest"),
            ("  max_version: TLS11\n", "no version of TLS"),
            ("  min_version: TLS13\n  max_version: TLS12\n", "no version of TLS"),
            ("  cipher_suites: [TLS_AES_128_GCM_SHA256]\n", "`cipher_suites` is not available"),
            ("  curve_preferences: [X25519]\n", "`curve_preferences` is not available"),
            ("  client_allowed_sans: [a]\n", "`client_allowed_sans` is not available"),
        ] {
            let error = read(&format!("{CERTIFICATE}{more}")).unwrap_err();
            assert!(error.contains(said), "{more}: {error}");
        }
        assert!(parse(&[0xff], Path::new("/")).is_err());
        assert!(parse(&vec![b' '; MAX + 1], Path::new("/")).is_err());
    }
}
