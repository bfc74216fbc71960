//! A certificate in use: shown by every handshake in its newest state, read again when its files change.

use std::{
    io,
    path::Path,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::IntCounterVec;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, KeyLog, NoKeyLog, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::ring,
    server::{
        ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{
    acme::{Managed, challenges::Challenges},
    config::{Config, Files},
    keylog::KeyLogFile,
    material::{self, Material},
};
use crate::metrics::{Metrics, counters};

/// How often the files are looked at. Kubernetes takes up to a minute to bring a changed Secret.
const LOOK: Duration = Duration::from_secs(5);

/// Certificates in use.
pub enum Identity {
    /// One from files.
    Files(Watched),
    /// Those of an authority.
    Acme(Managed),
}

/// A certificate from files.
pub struct Watched {
    config: Files,
    current: Arc<Current>,
    key_log: Arc<dyn KeyLog>,
    stamps: Mutex<Vec<Option<SystemTime>>>,
    reloads: IntCounterVec,
}

/// What handshakes show and believe now.
#[derive(Debug)]
struct Current(ArcSwap<Material>);

impl Identity {
    /// Loads what `config` names now, and whenever it changes; or gets it, with proofs in `challenges`.
    ///
    /// # Errors
    /// In words for people.
    pub fn start(
        config: &Config,
        metrics: &Metrics,
        challenges: &Arc<Challenges>,
    ) -> Result<Arc<Self>, String> {
        match config {
            Config::Files(files) => Identity::of_files(files, metrics),
            Config::Acme(config) => {
                Ok(Arc::new(Identity::Acme(Managed::start(config, Arc::clone(challenges))?)))
            }
        }
    }

    /// Loads these files now, and whenever they change.
    ///
    /// # Errors
    /// In words for people.
    pub fn of_files(files: &Files, metrics: &Metrics) -> Result<Arc<Self>, String> {
        let identity = Arc::new(Identity::Files(Watched::new(files, metrics)?));
        tokio::spawn(follow(Arc::downgrade(&identity)));
        Ok(identity)
    }

    /// TLS for listeners that speak these protocols (ALPN); the certificate is always the newest.
    ///
    /// # Errors
    /// If the library takes none of its own versions; never seen.
    pub fn server_config(&self, protocols: &[&[u8]]) -> Result<ServerConfig, Error> {
        self.server_config_of(rustls::DEFAULT_VERSIONS, protocols)
    }

    /// As [`Identity::server_config`], for these versions of TLS.
    ///
    /// # Errors
    /// If the library takes none of them.
    pub fn server_config_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&[u8]],
    ) -> Result<ServerConfig, Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)?;
        let mut server = match self {
            Identity::Acme(managed) => {
                builder.with_no_client_auth().with_cert_resolver(managed.resolver())
            }
            Identity::Files(files) => {
                let builder = match files.current.0.load().clients {
                    None => builder.with_no_client_auth(),
                    Some(_) => builder.with_client_cert_verifier(Arc::clone(&files.current) as _),
                };
                let mut server = builder.with_cert_resolver(Arc::clone(&files.current) as _);
                server.key_log = Arc::clone(&files.key_log);
                server
            }
        };
        server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        server.ticketer = ring::Ticketer::new()?;
        Ok(server)
    }
}

impl Watched {
    fn new(config: &Files, metrics: &Metrics) -> Result<Self, String> {
        let stamps = stamps(config);
        let material = material::load(config, |path| std::fs::read(path));
        let material = material.map_err(|error| error.to_string())?;
        let key_log: Arc<dyn KeyLog> = match &config.keylog {
            None => Arc::new(NoKeyLog),
            Some(path) => {
                tracing::warn!(target: "plugin/tls", "writing the secrets of TLS sessions to {}", path.display());
                Arc::new(opened(path).map_err(|error| format!("{}: {error}", path.display()))?)
            }
        };
        let reloads = counters(
            "daymark_tls_reloads_total",
            "Times that changed files of `tls` were read, by what came of it.",
            &["outcome"],
        );
        Ok(Watched {
            config: config.clone(),
            current: Arc::new(Current(ArcSwap::from_pointee(material))),
            key_log,
            stamps: Mutex::new(stamps),
            reloads: metrics.shared(reloads),
        })
    }

    /// Reads the files if one changed. Some that can't be used leave what is shown as it is.
    fn look(&self) {
        let found = stamps(&self.config);
        if *self.stamps.lock() == found {
            return;
        }
        let certificate = self.config.certificate.display();
        let outcome = match material::load(&self.config, |path| std::fs::read(path)) {
            Ok(material) => {
                self.current.0.store(Arc::new(material));
                tracing::info!(target: "plugin/tls", "{certificate} was read again");
                "success"
            }
            Err(error) => {
                tracing::error!(target: "plugin/tls", "{error}; the last good certificate is still shown");
                "failure"
            }
        };
        self.reloads.with_label_values(&[outcome]).inc();
        *self.stamps.lock() = found;
    }
}

fn opened(path: &Path) -> io::Result<KeyLogFile> {
    KeyLogFile::open(path)
}

fn stamps(config: &Files) -> Vec<Option<SystemTime>> {
    let paths = [Some(&config.certificate), Some(&config.key), config.ca.as_ref()];
    let stamp = |path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    paths.into_iter().flatten().map(stamp).collect()
}

async fn follow(identity: Weak<Identity>) {
    loop {
        tokio::time::sleep(LOOK).await;
        match identity.upgrade().as_deref() {
            Some(Identity::Files(files)) => files.look(),
            Some(Identity::Acme(_)) | None => return,
        }
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

impl Current {
    /// Whether a certificate is asked for does not change while the settings stay.
    fn clients(&self) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let none = || Error::General("no certificate was asked for".to_owned());
        self.0.load().clients.clone().ok_or_else(none)
    }
}

impl ClientCertVerifier for Current {
    fn client_auth_mandatory(&self) -> bool {
        self.clients().is_ok_and(|clients| clients.client_auth_mandatory())
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.clients()?.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients()?.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients()?.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients().map(|clients| clients.supported_verify_schemes()).unwrap_or_default()
    }
}
