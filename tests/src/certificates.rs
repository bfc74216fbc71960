//! Certificates of an authority of the test's own, good or expired.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

/// An authority, with the files that it makes in a folder.
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// How long a certificate is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// Until long after the test.
    Good,
    /// Until the start of [`EXPIRED_ON`].
    Expired,
}

/// The day on which expired certificates did.
pub const EXPIRED_ON: &str = "2020-01-02";

/// Files with a certificate and its key, in PEM.
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one, with its certificate in `folder` under this name.
    ///
    /// # Errors
    /// If a file can't be written.
    pub fn new(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = Authority { folder: folder.join(name), issuer };
        fs::create_dir(&authority.folder)?;
        fs::write(authority.certificate(), authority.issuer.pem())?;
        Ok(authority)
    }

    /// File of its own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A certificate for a host or a user.
    ///
    /// # Errors
    /// If a file can't be written.
    pub fn issue(&self, name: &str, validity: Validity) -> anyhow::Result<Identity> {
        self.issue_for(name, &[name], validity)
    }

    /// A certificate for several names and addresses, in files called after `name`.
    ///
    /// # Errors
    /// If a file can't be written.
    pub fn issue_for(
        &self,
        name: &str,
        all: &[&str],
        validity: Validity,
    ) -> anyhow::Result<Identity> {
        let all: Vec<String> = all.iter().map(|one| (*one).to_owned()).collect();
        let mut params = CertificateParams::new(all)?;
        params.distinguished_name.push(DnType::CommonName, name);
        if validity == Validity::Expired {
            params.not_before = date_time_ymd(2019, 1, 2);
            params.not_after = date_time_ymd(2020, 1, 2);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let file = |end: &str| self.folder.join(format!("{name}.{end}"));
        let identity = Identity { certificate: file("crt"), key: file("key") };
        fs::write(&identity.certificate, certificate.pem()).context("writing a certificate")?;
        fs::write(&identity.key, key.serialize_pem()).context("writing a key")?;
        Ok(identity)
    }
}
