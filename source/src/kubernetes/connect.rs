//! From a configuration to a client: where the API server is, and who we are to it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use http::{HeaderValue, Uri, header::USER_AGENT};
use kube::{
    Config,
    config::{Kubeconfig, KubeconfigError},
};
use miette::Diagnostic;
use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, pem, pem::PemObject};
use thiserror::Error;

use super::{Access, ApiConfig, CONNECT_TIMEOUT, TlsFiles};

/// Where a pod finds its account's token and the cluster's CA.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The API cannot even be tried.
#[derive(Debug, Error, Diagnostic)]
pub enum ConnectError {
    /// The environment says nothing of a cluster.
    #[error("not in a cluster: the environment has no {variable}")]
    #[diagnostic(
        code(api::not_in_cluster),
        help(
            "outside a cluster, give `kubeconfig FILE` or `endpoint URL`, or a folder of manifests"
        )
    )]
    NotInCluster {
        /// What is missing or odd.
        variable: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {what} `{}`: {source}", path.display())]
    #[diagnostic(code(api::unreadable), help("check the path and that this user may read it"))]
    Unreadable {
        /// What it is for.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold certificates.
    #[error("`{}` holds no certificate: {source}", path.display())]
    #[diagnostic(code(api::certificate), help("give a PEM file with BEGIN CERTIFICATE in it"))]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A kubeconfig that cannot be used.
    #[error("cannot use kubeconfig `{}`: {source}", path.display())]
    #[diagnostic(code(api::kubeconfig), help("`kubectl config view --kubeconfig FILE` checks it"))]
    Kubeconfig {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// An endpoint that is not a URL.
    #[error("`{url}` is not the URL of an API server")]
    #[diagnostic(code(api::url), help("write http://HOST:PORT or https://HOST:PORT"))]
    Url {
        /// As given.
        url: String,
    },
    /// Credentials that the client refuses.
    #[error("cannot use the credentials for {endpoint}: {source}")]
    #[diagnostic(
        code(api::credentials),
        help("certificate and key must be PEM and belong together; see the cause")
    )]
    Credentials {
        /// For which endpoint.
        endpoint: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// Called outside a tokio runtime.
    #[error("the API is followed by tasks, and there is no tokio runtime here")]
    #[diagnostic(code(api::runtime), help("call within a runtime: `runtime.enter()`"))]
    NoRuntime,
}

/// A client, and what to send with each request.
pub(super) struct Connection {
    pub(super) client: kube::Client,
    /// The URL without its path.
    pub(super) endpoint: String,
    /// Host and port.
    pub(super) host: String,
    pub(super) token: Option<TokenFile>,
}

/// A token that is rotated in its file: read for each request, which are few. (kube's own reader
/// goes on with the old one for up to a minute, which a 401 would not shorten.)
pub(super) struct TokenFile {
    path: PathBuf,
    last: Mutex<String>,
}

impl Connection {
    pub(super) fn new(config: &ApiConfig) -> Result<Self, ConnectError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(ConnectError::NoRuntime);
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Somebody else may have installed one in between, which is as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut kube = match &config.access {
            Access::InCluster => {
                let variable = |name| {
                    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
                    value.ok_or(ConnectError::NotInCluster { variable: name })
                };
                let host = variable("KUBERNETES_SERVICE_HOST")?;
                let port = variable("KUBERNETES_SERVICE_PORT")?;
                in_cluster(&host, &port, Path::new(SERVICE_ACCOUNT))?
            }
            Access::Kubeconfig { path, context } => kubeconfig(path, context.as_deref())?,
            Access::Endpoint { url, tls } => endpoint(url, tls.as_ref())?,
        };
        kube.connect_timeout = Some(CONNECT_TIMEOUT);
        // Retries are ours to pace, to count and to tell of.
        kube.default_retry = false;
        if let Ok(agent) = HeaderValue::from_str(&config.user_agent) {
            kube.headers.push((USER_AGENT, agent));
        }
        let token = match kube.auth_info.token_file.take() {
            // An inline token goes before a file, as in client-go.
            Some(path) if kube.auth_info.token.is_none() => Some(TokenFile::open(path.into())?),
            _ => None,
        };
        let url = &kube.cluster_url;
        let host = url.authority().map(ToString::to_string).unwrap_or_default();
        let endpoint = format!("{}://{host}", url.scheme_str().unwrap_or("https"));
        let client = kube::Client::try_from(kube).map_err(|source| ConnectError::Credentials {
            endpoint: endpoint.clone(),
            source: Box::new(source),
        })?;
        Ok(Connection { client, endpoint, host, token })
    }
}

impl TokenFile {
    fn open(path: PathBuf) -> Result<Self, ConnectError> {
        let token = fs::read_to_string(&path).map_err(|source| ConnectError::Unreadable {
            what: "the token file",
            path: path.clone(),
            source,
        })?;
        Ok(TokenFile { path, last: Mutex::new(token.trim().to_owned()) })
    }

    /// The `Authorization` header as of now; of the last token that could be read, if none can.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let mut last = self.last.lock();
        if let Ok(token) = fs::read_to_string(&self.path)
            && !token.trim().is_empty()
        {
            *last = token.trim().to_owned();
        }
        let mut value = HeaderValue::try_from(format!("Bearer {last}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// What a pod is given: host and port by environment, the rest in `account`.
fn in_cluster(host: &str, port: &str, account: &Path) -> Result<Config, ConnectError> {
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let url = format!("https://{bracketed}:{port}");
    let url = url.parse().map_err(|_| ConnectError::Url { url })?;
    let mut config = Config::new(url);
    with_ca(&mut config, &account.join("ca.crt"))?;
    config.auth_info.token_file = Some(account.join("token").display().to_string());
    Ok(config)
}

fn kubeconfig(path: &Path, context: Option<&str>) -> Result<Config, ConnectError> {
    let failed =
        |source| ConnectError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let mut file = Kubeconfig::read_from(path).map_err(failed)?;
    if let Some(context) = context {
        file.current_context = Some(context.to_owned());
    }
    Config::try_from(file).map_err(failed)
}

fn endpoint(url: &str, tls: Option<&TlsFiles>) -> Result<Config, ConnectError> {
    let odd = || ConnectError::Url { url: url.to_owned() };
    let uri: Uri = url.parse().map_err(|_| odd())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(odd());
    }
    let mut config = Config::new(uri);
    if let Some(tls) = tls {
        with_ca(&mut config, &tls.ca)?;
        for (what, path) in [("the client certificate", &tls.cert), ("the client key", &tls.key)] {
            fs::metadata(path).map_err(|source| ConnectError::Unreadable {
                what,
                path: path.clone(),
                source,
            })?;
        }
        config.auth_info.client_certificate = Some(tls.cert.display().to_string());
        config.auth_info.client_key = Some(tls.key.display().to_string());
    }
    Ok(config)
}

/// Trusts the certificates in `path`, which is read again now and then.
fn with_ca(config: &mut Config, path: &Path) -> Result<(), ConnectError> {
    let bytes = fs::read(path).map_err(|source| ConnectError::Unreadable {
        what: "the CA file",
        path: path.to_owned(),
        source,
    })?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates
        .and_then(|all| if all.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(all) })
        .map_err(|source| ConnectError::Certificate { path: path.to_owned(), source })?;
    config.root_cert = Some(certificates.into_iter().map(|der| der.to_vec()).collect());
    config.root_cert_file = Some(path.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let nowhere = Path::new("/nonexistent");
        let error = in_cluster("10.96.0.1", "443", nowhere).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/ca.crt"), "{error}");
        for url in ["10.0.0.1:6443", "ftp://x", "https://", ""] {
            assert!(matches!(endpoint(url, None), Err(ConnectError::Url { .. })), "{url}");
        }
        let error = kubeconfig(nowhere, None).unwrap_err().to_string();
        assert!(error.contains("/nonexistent"), "{error}");
    }

    #[test]
    fn a_kubeconfig_is_read_with_its_context() {
        let path = std::env::temp_dir().join(format!("daymark-kubeconfig-{}", std::process::id()));
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
            clusters: [{name: a, cluster: {server: 'http://a:1'}}, {name: b, cluster: {server: 'http://b:2'}}]\n\
            users: [{name: u, user: {}}]\n\
            contexts: [{name: a, context: {cluster: a, user: u}}, {name: b, context: {cluster: b, user: u}}]\n";
        fs::write(&path, text).unwrap();
        for (context, want) in [(None, "http://a:1/"), (Some("b"), "http://b:2/")] {
            assert_eq!(kubeconfig(&path, context).unwrap().cluster_url.to_string(), want);
        }
        assert!(kubeconfig(&path, Some("c")).is_err());
        fs::remove_file(&path).unwrap();
    }
}
