//! Certificates of an authority of the suite's own: for servers, and for clients that show one.

use std::path::Path;

use anyhow::bail;
use daymark_tests::{
    certificates::{Authority, Identity, Validity},
    encrypted::Client,
};

use super::CERTIFIED;

/// The files, and what a client makes of them.
pub(super) struct Certificates {
    authority: Authority,
    server: Identity,
    client: Identity,
    /// A client's, of an authority that no server knows.
    other: Identity,
}

impl Certificates {
    /// New ones, in a folder.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let authority = Authority::new(folder, "authority")?;
        let names = [CERTIFIED, "localhost", "127.0.0.1"];
        Ok(Certificates {
            server: authority.issue_for("server", &names, Validity::Good)?,
            client: authority.issue("client", Validity::Good)?,
            other: Authority::new(folder, "other")?.issue("client", Validity::Good)?,
            authority,
        })
    }

    /// The files as placeholders.
    pub(super) fn placeholders(&self) -> Vec<(String, String)> {
        [
            ("@CERT@", &self.server.certificate),
            ("@KEY@", &self.server.key),
            ("@CLIENT_CERT@", &self.client.certificate),
            ("@CLIENT_KEY@", &self.client.key),
            ("@CA@", &self.authority.certificate()),
        ]
        .map(|(name, path)| (name.to_owned(), path.display().to_string()))
        .into()
    }

    /// A client that shows a certificate: `client`, `other`, or none.
    pub(super) fn client(&self, shows: Option<&str>) -> anyhow::Result<Client> {
        let identity = match shows {
            None => None,
            Some("client") => Some(&self.client),
            Some("other") => Some(&self.other),
            Some(unknown) => bail!("`{unknown}` is no certificate of a client"),
        };
        Client::new(&self.authority.certificate(), identity)
    }
}
