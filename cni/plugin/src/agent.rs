//! Asking the agent.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    mem::MaybeUninit,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use daymark_cni_spec::{
    CniError, code,
    protocol::{self, Reply, Request},
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::Value;

/// How long an answer may take: less than a runtime's patience (kubelet's is minutes), far more than
/// an agent with a queue of pods needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks once; gives what is to be printed. The namespace goes along as a file descriptor.
///
/// # Errors
/// Code 11 if there is no agent, or if it goes away without an answer; or what the agent says.
pub(crate) fn ask(
    socket: &Path,
    request: &Request,
    netns: Option<&File>,
) -> Result<Option<Value>, CniError> {
    let message = protocol::encode(request).map_err(|error| {
        CniError::new(code::CONFIGURATION, "the request is too long").because(error)
    })?;
    let reply = exchange(socket, &message, netns).map_err(|error| {
        let message = format!("the agent does not answer at {}", socket.display());
        CniError::new(code::TRY_AGAIN, message).because(error)
    })?;
    match reply.error {
        Some(error) => Err(error),
        None => Ok(reply.result),
    }
}

fn exchange(socket: &Path, message: &[u8], netns: Option<&File>) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let sent = match netns {
        Some(netns) => send_with(&stream, message, netns)?,
        None => 0,
    };
    stream.write_all(&message[sent..])?;
    Ok(serde_json::from_slice(&protocol::read(&stream)?)?)
}

/// Sends the beginning of a message together with a file descriptor; gives how much that was.
fn send_with(stream: &UnixStream, message: &[u8], netns: &File) -> io::Result<usize> {
    let descriptors = [netns.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    Ok(sendmsg(stream, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL)?)
}
