//! `keylog`: the secrets of sessions in NSS's format, for a program that decrypts captures.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use parking_lot::Mutex;
use rustls::KeyLog;

/// A file that secrets are appended to. Nobody but its owner may read it.
#[derive(Debug)]
pub(super) struct KeyLogFile(Mutex<File>);

impl KeyLogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(KeyLogFile(Mutex::new(file)))
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = format!("{label} ");
        for (octets, end) in [(client_random, ' '), (secret, '\n')] {
            for octet in octets {
                // Writing to a string can't fail.
                let _ = write!(line, "{octet:02x}");
            }
            line.push(end);
        }
        if let Err(error) = self.0.lock().write_all(line.as_bytes()) {
            tracing::warn!(target: "plugin/tls", %error, "writing the key log");
        }
    }
}
