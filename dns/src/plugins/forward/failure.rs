//! What can go wrong between us and an upstream.

use std::io;

/// Extended DNS Error: no authority could be reached (RFC 8914 §4.23).
pub const NO_REACHABLE_AUTHORITY: u16 = 22;
/// Extended DNS Error: an error on the way to another server (RFC 8914 §4.24).
pub const NETWORK_ERROR: u16 = 23;

/// What is said of an upstream that `loop` found to ask us.
pub const LEADS_BACK: &str = "leads back to this server, a forwarding loop";

/// Why an upstream gave no usable reply. The texts are those that CoreDNS's users filter logs by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No reply in time.
    #[error("i/o timeout")]
    Timeout,
    /// The network said no.
    #[error("{0}")]
    Network(String),
    /// This machine gave no socket: out of descriptors, or the source address is not ours. Says
    /// nothing about the upstream.
    #[error("no socket: {0}")]
    Local(String),
    /// No connection in time.
    #[error("dial: i/o timeout")]
    ConnectTimeout,
    /// No connection, or its TLS handshake failed.
    #[error("dial: {0}")]
    Connect(String),
    /// The connection ended before the reply.
    #[error("connection closed by the upstream")]
    Closed,
    /// The reply is no DNS message.
    #[error("malformed reply")]
    Malformed,
    /// An HTTP response without success.
    #[error("HTTP status {0}")]
    Http(u16),
    /// As many queries wait for this upstream as are allowed to.
    #[error("too many queries wait for this upstream")]
    Busy,
}

impl AskError {
    /// The Extended DNS Error that tells a client of this.
    pub fn extended(&self) -> u16 {
        match self {
            AskError::Timeout | AskError::ConnectTimeout | AskError::Busy => NO_REACHABLE_AUTHORITY,
            AskError::Network(_)
            | AskError::Local(_)
            | AskError::Connect(_)
            | AskError::Closed
            | AskError::Http(_)
            | AskError::Malformed => NETWORK_ERROR,
        }
    }
}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        AskError::Network(words(&error))
    }
}

/// The error as Go words it, which is what CoreDNS's users filter logs by: `connection refused`, not
/// `Connection refused (os error 111)`.
pub(super) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split_once(" (os error").map_or(&*text, |(text, _)| text);
    match error.raw_os_error() {
        Some(_) => text.to_ascii_lowercase(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_are_worded_as_in_go() {
        for (number, want) in [(111, "connection refused"), (24, "too many open files")] {
            assert_eq!(words(&io::Error::from_raw_os_error(number)), want);
        }
        let own = io::Error::other("invalid peer certificate: UnknownIssuer");
        assert_eq!(words(&own), "invalid peer certificate: UnknownIssuer");
    }
}
