//! What is kept on disk: the account, and each domain's certificate with its key.
//!
//! `STORAGE/AUTHORITY/DOMAIN.crt` and `.key` in PEM, `account.json` beside them; a `*` is written `_`.
//! Only the server's user may read it. Files come into their places whole.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A folder for what one authority gave.
pub(super) struct Storage(PathBuf);

impl Storage {
    pub(super) fn new(folder: &Path, directory: &str, email: Option<&str>) -> Self {
        let authority = directory.split_once("://").map_or(directory, |(_, rest)| rest);
        let name = match email {
            None => authority.to_owned(),
            Some(email) => format!("{authority}-{email}"),
        };
        Storage(folder.join(safe(&name)))
    }

    /// Whether something can be kept, before it is asked for: authorities count what they give.
    pub(super) fn check(&self) -> io::Result<()> {
        self.write("writable", b"")
    }

    /// The account's credentials, if there are some.
    pub(super) fn account(&self) -> Option<Vec<u8>> {
        fs::read(self.0.join("account.json")).ok()
    }

    pub(super) fn keep_account(&self, credentials: &[u8]) -> io::Result<()> {
        self.write("account.json", credentials)
    }

    /// A domain's certificate and key, if it has them.
    pub(super) fn certificate(&self, domain: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let read = |end: &str| fs::read(self.0.join(safe(domain) + end)).ok();
        read(".crt").zip(read(".key"))
    }

    pub(super) fn keep(&self, domain: &str, certificate: &str, key: &str) -> io::Result<()> {
        self.write(&(safe(domain) + ".key"), key.as_bytes())?;
        self.write(&(safe(domain) + ".crt"), certificate.as_bytes())
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let beside = self.0.join(format!("{name}.new"));
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(beside, self.0.join(name))
    }
}

/// A name for a file.
fn safe(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '@');
    let letter = |letter: char| match letter {
        '/' | ':' => '-',
        other if plain(other) => other,
        _ => '_',
    };
    name.trim_start_matches('.').chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_is_for_the_server_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("acme");
        let storage = Storage::new(&at, "https://ca.test:14000/dir", None);
        assert!(storage.account().is_none() && storage.certificate("*.a.test").is_none());
        storage.keep("*.a.test", "one", "two").unwrap();
        storage.keep("*.a.test", "three", "four").unwrap();
        storage.keep_account(b"{}").unwrap();
        let found = storage.certificate("*.a.test").unwrap();
        assert_eq!(found, (b"three".to_vec(), b"four".to_vec()));
        assert_eq!(storage.account().unwrap(), b"{}");
        let file = at.join("ca.test-14000-dir/_.a.test.key");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        storage.check().unwrap();
        let blocked = Storage::new(&file, "https://ca.test/dir", None);
        assert!(blocked.check().is_err(), "a file is no folder");
        let other = Storage::new(&at, "https://ca.test:14000/dir", Some("me@a.test"));
        assert!(other.account().is_none(), "accounts have addresses");
    }
}
