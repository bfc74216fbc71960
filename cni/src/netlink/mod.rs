//! rtnetlink(7), as far as links of pods and routes of nodes need it: requests go to the kernel in
//! batches, many in one datagram, and each is answered. Calls block for as long as the kernel works,
//! and never wait for anything else.

mod foreign;
mod link;
pub(crate) mod message;
mod removal;

use std::io;

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE,
    NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

pub use self::link::Link;
pub(crate) use self::removal::remove_soon;

/// Octets of a netlink message's header, and what messages are aligned to.
const HEADER: usize = 16;
const ALIGNMENT: usize = 4;
/// `NLMSGERR_ATTR_MSG` (linux/netlink.h): why a request was refused, in words.
const ERROR_TEXT: u16 = 1;

/// The kernel refused something, or can't be asked.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}{}", if .details.is_empty() { String::new() } else { format!(" ({details})") })]
pub struct NetlinkError {
    /// What was tried.
    pub what: String,
    /// The error's number, in words.
    pub cause: io::Error,
    /// What the kernel said beyond it; may be empty.
    pub details: String,
}

impl NetlinkError {
    fn new(what: &str, cause: io::Error) -> Self {
        NetlinkError { what: what.to_owned(), cause, details: String::new() }
    }

    /// Whether it is one of these numbers of errno(3).
    pub(crate) fn is(&self, errors: &[rustix::io::Errno]) -> bool {
        let number = self.cause.raw_os_error();
        errors.iter().any(|error| Some(error.raw_os_error()) == number)
    }
}

/// Something to ask of the kernel.
#[derive(Debug)]
pub(crate) struct Step {
    what: String,
    message: RouteNetlinkMessage,
    flags: u16,
    /// Errors that are as good as success.
    tolerated: &'static [rustix::io::Errno],
}

impl Step {
    /// Makes something that must not be there yet.
    pub(crate) fn create(what: impl Into<String>, message: RouteNetlinkMessage) -> Self {
        Self::with(what, message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes something, or makes what is there so.
    pub(crate) fn replace(what: impl Into<String>, message: RouteNetlinkMessage) -> Self {
        Self::with(what, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Changes or removes what is there, or asks for it.
    pub(crate) fn plain(what: impl Into<String>, message: RouteNetlinkMessage) -> Self {
        Self::with(what, message, 0)
    }

    fn with(what: impl Into<String>, message: RouteNetlinkMessage, flags: u16) -> Self {
        Step { what: what.into(), message, flags: flags | NLM_F_ACK, tolerated: &[] }
    }

    /// The same, and these errors are none.
    pub(crate) fn tolerate(mut self, errors: &'static [rustix::io::Errno]) -> Self {
        self.tolerated = errors;
        self
    }
}

/// A socket to the kernel, in the network namespace in which it was opened.
pub struct Connection {
    socket: Socket,
}

impl Connection {
    /// Opens one in the namespace of the calling thread.
    ///
    /// # Errors
    /// If the kernel gives none.
    pub fn open() -> Result<Self, NetlinkError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_cap_ack(true)?;
            socket.set_ext_ack(true)?;
            // So that what is asked for can be narrowed down; where the kernel can't (before 4.20), it
            // tells more, which is passed over.
            let _ = socket.set_netlink_get_strict_chk(true);
            Ok(Connection { socket })
        };
        open().map_err(|error| NetlinkError::new("opening a netlink socket", error))
    }

    /// Asks for all steps at once. The kernel does them in their order, and goes on after one that
    /// fails; gives what it told of those that ask.
    ///
    /// # Errors
    /// That of the first step that failed.
    pub(crate) fn run(&self, steps: Vec<Step>) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut bytes = Vec::new();
        let mut names = Vec::with_capacity(steps.len());
        for (sequence, step) in (1..).zip(steps) {
            append(&mut bytes, step.message, step.flags, sequence);
            names.push((step.what, step.tolerated));
        }
        let Some((first, _)) = names.first() else { return Ok(Vec::new()) };
        self.socket.send(&bytes, 0).map_err(|error| NetlinkError::new(first, error))?;
        let (mut told, mut failed) = (Vec::new(), None);
        let mut open = names.len();
        while open > 0 {
            for message in self.receive(first)? {
                let at = (message.header.sequence_number as usize).wrapping_sub(1);
                let Some((what, tolerated)) = names.get(at) else { continue };
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => told.push(inner),
                    NetlinkPayload::Error(error) => {
                        open -= 1;
                        let failure = failure(what, &error, message.header.flags);
                        let failure = failure.filter(|failure| !failure.is(tolerated));
                        failed = failed.or(failure);
                    }
                    _ => {}
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(told),
        }
    }

    /// Asks for all there is of a kind.
    pub(crate) fn dump(
        &self,
        what: &str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut bytes = Vec::new();
        append(&mut bytes, message, NLM_F_DUMP, 1);
        self.socket.send(&bytes, 0).map_err(|error| NetlinkError::new(what, error))?;
        let mut told = Vec::new();
        loop {
            for message in self.receive(what)? {
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => told.push(inner),
                    NetlinkPayload::Done(_) => return Ok(told),
                    NetlinkPayload::Error(error) => {
                        let failure = failure(what, &error, message.header.flags);
                        return failure.map_or(Ok(told), Err);
                    }
                    _ => {}
                }
            }
        }
    }

    /// The messages of one datagram.
    fn receive(
        &self,
        what: &str,
    ) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>, NetlinkError> {
        let failed = |error| NetlinkError::new(what, error);
        let (bytes, _) = self.socket.recv_from_full().map_err(failed)?;
        let mut messages = Vec::new();
        let mut rest = &bytes[..];
        while rest.len() >= HEADER {
            let message = NetlinkMessage::deserialize(rest)
                .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
            let length = (message.header.length as usize).next_multiple_of(ALIGNMENT);
            rest = rest.get(length.max(HEADER)..).unwrap_or_default();
            messages.push(message);
        }
        Ok(messages)
    }
}

fn append(bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16, sequence: u32) {
    let mut header = NetlinkHeader::default();
    header.flags = flags | NLM_F_REQUEST;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len().next_multiple_of(ALIGNMENT), 0);
    message.serialize(&mut bytes[start..]);
}

/// What an answer says, if it is not that all is well.
fn failure(what: &str, error: &ErrorMessage, flags: u16) -> Option<NetlinkError> {
    error.code?;
    let attributes = error.header.get(HEADER..).filter(|_| flags & NLM_F_ACK_TLVS != 0);
    let mut attributes = NlasIterator::new(attributes.unwrap_or_default()).flatten();
    let text = attributes.find(|attribute| attribute.kind() == ERROR_TEXT);
    let text = text.map(|text| String::from_utf8_lossy(text.value()).into_owned());
    let details = text.unwrap_or_default().trim_end_matches('\0').to_owned();
    Some(NetlinkError { what: what.to_owned(), cause: error.to_io(), details })
}
