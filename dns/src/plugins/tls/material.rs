//! What the files of `tls` hold: a certificate with its key, and who may have issued those of clients.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};

use super::config::{ClientAuth, Files};

/// What a listener shows and whom it believes.
#[derive(Debug, Clone)]
pub struct Material {
    /// Certificate and key.
    pub key: Arc<CertifiedKey>,
    /// Judges certificates of clients; `None` where none is asked for.
    pub clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// Which file is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The certificate.
    Certificate,
    /// The key.
    Key,
    /// The authorities.
    Authorities,
}

impl Part {
    /// What the file should be.
    pub const fn wanted(self) -> &'static str {
        match self {
            Part::Certificate => "a file with a certificate",
            Part::Key => "a file with the certificate's key",
            Part::Authorities => "a file with certificates of authorities",
        }
    }
}

/// Files that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct MaterialError {
    /// Which of them.
    pub part: Part,
    path: PathBuf,
    what: String,
}

/// Loads what `config` names, with `read` for its files.
///
/// # Errors
/// The first file that can't be used.
pub fn load(
    config: &Files,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Material, MaterialError> {
    let provider = ring::default_provider();
    let wrong =
        |part: Part, path: &Path, what: String| MaterialError { part, path: path.to_owned(), what };
    let bytes =
        |part: Part, path: &Path| read(path).map_err(|error| wrong(part, path, error.to_string()));
    let certificates = |part: Part, path: &Path| {
        let found = CertificateDer::pem_slice_iter(&bytes(part, path)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(part, path, error.to_string()))?;
        match found.is_empty() {
            true => Err(wrong(part, path, "there is no certificate in it".to_owned())),
            false => Ok(found),
        }
    };
    let chain = certificates(Part::Certificate, &config.certificate)?;
    let not_a_key = |what: String| wrong(Part::Key, &config.key, what);
    let key = PrivateKeyDer::from_pem_slice(&bytes(Part::Key, &config.key)?)
        .map_err(|error| not_a_key(error.to_string()))?;
    let key = CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| not_a_key(error.to_string()))?;
    let roots = || {
        let mut roots = RootCertStore::empty();
        let Some(path) = &config.ca else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(roots);
        };
        for certificate in certificates(Part::Authorities, path)? {
            let added = roots.add(certificate);
            added.map_err(|error| wrong(Part::Authorities, path, error.to_string()))?;
        }
        Ok(roots)
    };
    // The file is looked at even where no certificate is asked for: its place is in the Corefile.
    let roots = roots()?;
    let provider = Arc::new(provider);
    let clients: Option<Arc<dyn ClientCertVerifier>> = match config.client_auth {
        ClientAuth::NoCert => None,
        ClientAuth::Request => Some(Arc::new(AnyClient { provider, mandatory: false })),
        ClientAuth::Require => Some(Arc::new(AnyClient { provider, mandatory: true })),
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify => {
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let builder = match config.client_auth {
                ClientAuth::VerifyIfGiven => builder.allow_unauthenticated(),
                _ => builder,
            };
            let path = config.ca.as_deref().unwrap_or(&config.certificate);
            let built = builder.build();
            Some(built.map_err(|error| wrong(Part::Authorities, path, error.to_string()))?)
        }
    };
    Ok(Material { key: Arc::new(key), clients })
}

/// Takes any certificate whose key the client holds.
#[derive(Debug)]
struct AnyClient {
    provider: Arc<CryptoProvider>,
    mandatory: bool,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
