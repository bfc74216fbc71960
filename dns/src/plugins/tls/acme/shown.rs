//! The certificates that handshakes show.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::{
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::validity::Validity;

/// A certificate for each domain, once it has come.
#[derive(Debug)]
pub(super) struct Certificates(Vec<(Box<str>, ArcSwapOption<CertifiedKey>)>);

impl Certificates {
    pub(super) fn new(domains: &[Box<str>]) -> Self {
        Certificates(domains.iter().map(|domain| (domain.clone(), None.into())).collect())
    }

    /// Shows a certificate from now on, and tells how long it is good.
    ///
    /// # Errors
    /// What is wrong with it or its key; nothing changes then.
    pub(super) fn show(
        &self,
        domain: &str,
        certificate: &[u8],
        key: &[u8],
    ) -> Result<Validity, String> {
        let text = |error: rustls_pki_types::pem::Error| error.to_string();
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().map_err(text)?;
        let validity = chain.first().and_then(|first| Validity::of(first));
        let validity = validity.ok_or("there is no certificate in it that can be read")?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(text)?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider());
        let key = key.map_err(|error| error.to_string())?;
        if let Some((_, shown)) = self.0.iter().find(|(name, _)| **name == *domain) {
            shown.store(Some(Arc::new(key)));
        }
        Ok(validity)
    }

    /// The certificate for a name, or the first domain's for none.
    fn of(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = name else { return self.0.first()?.1.load_full() };
        let name = name.to_ascii_lowercase();
        let exact = self.0.iter().find(|(domain, _)| **domain == *name);
        let wild = || {
            let (_, rest) = name.split_once('.')?;
            self.0.iter().find(|(domain, _)| domain.strip_prefix("*.") == Some(rest))
        };
        exact.or_else(wild)?.1.load_full()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.of(hello.server_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_shown_the_certificate_of_the_name_that_it_says() {
        let shown = Certificates::new(&["a.test", "*.b.test"].map(Into::into));
        assert!(shown.of(None).is_none(), "it has not come yet");
        let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (a, b) = (made("a.test"), made("*.b.test"));
        for (domain, made) in [("a.test", &a), ("*.b.test", &b)] {
            let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
            shown.show(domain, certificate.as_bytes(), key.as_bytes()).unwrap();
        }
        let of = |name: Option<&str>| Some(shown.of(name)?.cert[0].clone());
        let (a_der, b_der) = (Some(a.cert.der().clone()), Some(b.cert.der().clone()));
        assert_eq!(of(None), a_der);
        assert_eq!(of(Some("A.test")), a_der);
        assert_eq!(of(Some("x.B.test")), b_der);
        for other in ["b.test", "x.y.b.test", "c.test", "x.a.test"] {
            assert_eq!(of(Some(other)), None, "{other}");
        }
        let key = b.signing_key.serialize_pem();
        assert!(shown.show("a.test", a.cert.pem().as_bytes(), key.as_bytes()).is_err());
        assert_eq!(of(None), a_der, "one with another's key is not shown");
    }
}
