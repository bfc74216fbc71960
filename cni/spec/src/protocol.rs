//! What the plugin and the agent say to each other over a unix socket: one request, one reply, and
//! the connection is done.
//!
//! A message is its length (four octets, network order) and so many octets of JSON. A request for ADD
//! or CHECK carries the pod's network namespace as a file descriptor (SCM_RIGHTS, unix(7)) with its
//! first octet: the agent need not see the path, which it may not if it runs in a container.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AttachmentId, CniError, MAX_CONFIGURATION, Verb};

/// Most octets of a message: a configuration, and as much again for what an IPAM plugin said.
pub const MAX_MESSAGE: usize = 2 * MAX_CONFIGURATION + 4096;

/// What the plugin asks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// What to do.
    pub verb: Verb,
    /// With what, for ADD, DEL and CHECK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<AttachmentId>,
    /// `CNI_NETNS`: only for results and messages.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub netns: String,
    /// `CNI_ARGS`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arguments: String,
    /// The configuration as the plugin read it.
    pub configuration: Value,
    /// What the IPAM plugin of the configuration gave, for ADD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<Value>,
}

/// What the agent replies: a result for ADD, an error, or nothing, which is success.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Reply {
    /// What the plugin prints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// What the plugin fails with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CniError>,
}

/// A message as it goes over the socket.
///
/// # Errors
/// If it is longer than [`MAX_MESSAGE`].
pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    let head = u32::try_from(length).ok().filter(|_| length <= MAX_MESSAGE);
    let head = head.ok_or_else(|| too_long(length))?;
    bytes[..4].copy_from_slice(&head.to_be_bytes());
    Ok(bytes)
}

/// Writes a message.
///
/// # Errors
/// Those of the socket, and of [`encode`].
pub fn write(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&encode(message)?)
}

/// Reads the octets of a message's JSON.
///
/// # Errors
/// Those of the socket; a message that is cut or too long.
pub fn read(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE {
        return Err(too_long(length));
    }
    // As much memory as really comes, not as is promised.
    let mut bytes = Vec::new();
    from.take(length as u64).read_to_end(&mut bytes)?;
    match bytes.len() == length {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn too_long(length: usize) -> io::Error {
    let what = format!("a message of {length} octets; {MAX_MESSAGE} are the most");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written_and_a_cut_one_is_refused() {
        let request = Request {
            verb: Verb::Add,
            attachment: AttachmentId::new("c0ffee", "eth0").ok(),
            netns: "/run/netns/blue".to_owned(),
            arguments: String::new(),
            configuration: json!({ "name": "pods" }),
            ipam: None,
        };
        let bytes = encode(&request).expect("short");
        let read_back: Request =
            serde_json::from_slice(&read(&bytes[..]).expect("whole")).expect("a request");
        assert_eq!(read_back, request);
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_before_it_is_read() {
        let error = read(&u32::MAX.to_be_bytes()[..]).expect_err("4 GiB");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(encode(&" ".repeat(MAX_MESSAGE + 1)).is_err());
    }
}
