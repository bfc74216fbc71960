//! How upstreams over TLS, HTTPS and QUIC are trusted (RFC 7858, RFC 8310).

use std::{path::Path, sync::Arc};

use super::config::Tls;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};

/// Why TLS can't be set up, in words for people.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or is no PEM.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        source: rustls_pki_types::pem::Error,
    },
    /// There is no certificate where one is needed.
    #[error("{0} has no certificate")]
    Empty(String),
    /// The machine knows no authority.
    #[error("this machine has no certificate authorities; name a file of them with `tls`")]
    NoAuthorities,
    /// Certificate or key don't fit.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The server's name is none.
    #[error("`{0}` is no name for a TLS server")]
    Name(String),
    /// QUIC can't be had.
    #[error(transparent)]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// A client that trusts and shows what `config` says. Reads its files now.
///
/// # Errors
/// [`TlsError`].
pub fn client(config: &Tls) -> Result<ClientConfig, TlsError> {
    let roots = roots(config.ca.as_deref())?;
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match &config.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key =
                PrivateKeyDer::from_pem_file(key).map_err(|source| unreadable(key, source))?;
            builder.with_client_auth_cert(certificates(certificate)?, key)?
        }
    })
}

/// The name that a certificate must have: as configured, else the address.
///
/// # Errors
/// [`TlsError::Name`].
pub fn server_name(
    name: Option<&str>,
    address: std::net::IpAddr,
) -> Result<ServerName<'static>, TlsError> {
    match name {
        None => Ok(ServerName::IpAddress(address.into())),
        Some(name) => {
            ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))
        }
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(target: "plugin/forward", %error, "reading the machine's certificate authorities");
        }
        // Some of a machine's old certificates are none by today's rules.
        roots.add_parsable_certificates(found.certs);
        return if roots.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(roots) };
    };
    for certificate in certificates(path)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let all: Vec<_> = read.map_err(|source| unreadable(path, source))?;
    match all.is_empty() {
        true => Err(TlsError::Empty(path.display().to_string())),
        false => Ok(all),
    }
}

fn unreadable(path: &Path, source: rustls_pki_types::pem::Error) -> TlsError {
    TlsError::File { path: path.display().to_string(), source }
}
