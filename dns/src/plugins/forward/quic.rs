//! DNS over QUIC to an upstream (RFC 9250): every query is a stream of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::op::Message;
use quinn::{ClientConfig, Connection, Endpoint, VarInt};

use super::{
    config::Connections,
    failure::{AskError, words},
    message::{self, Outgoing},
};
use crate::wire::MAX_MESSAGE;

/// The protocol's name in TLS (RFC 9250 §4.1.1).
pub const PROTOCOL: &[u8] = b"doq";

/// The upstream did what the protocol does not allow (RFC 9250 §4.3).
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);

/// How to reach an upstream.
#[derive(Clone)]
pub struct Dial {
    /// Where it is.
    pub upstream: SocketAddr,
    /// TLS that offers [`PROTOCOL`].
    pub client: ClientConfig,
    /// The name that its certificate must have; an address as text.
    pub name: String,
    /// The source address.
    pub settings: Connections,
}

/// An open connection.
#[derive(Clone)]
pub struct Session {
    connection: Connection,
    local: Option<SocketAddr>,
}

impl Dial {
    /// Connects, from a socket of its own. The future ends with the connection.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn connect(&self) -> Result<(Session, BoxFuture<'static, ()>), AskError> {
        let any: IpAddr = match self.upstream {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let from = SocketAddr::new(self.settings.source.unwrap_or(any), 0);
        let endpoint = Endpoint::client(from).map_err(|error| AskError::Local(words(&error)))?;
        let connecting = endpoint.connect_with(self.client.clone(), self.upstream, &self.name);
        let connecting = connecting.map_err(|error| AskError::Connect(error.to_string()))?;
        let connection = connecting.await.map_err(|error| AskError::Connect(error.to_string()))?;
        let (watched, local) = (connection.clone(), endpoint.local_addr().ok());
        let local = local.map(|local| match connection.local_ip() {
            Some(ip) => SocketAddr::new(ip, local.port()),
            None => local,
        });
        Ok((Session { connection, local }, async move { watched.closed().await }.map(drop).boxed()))
    }
}

impl Session {
    /// Asks and waits for the reply.
    ///
    /// # Errors
    /// [`AskError`]; [`AskError::Closed`] if the connection broke.
    pub async fn ask(&self, query: &Outgoing) -> Result<Message, AskError> {
        let (mut send, mut receive) =
            self.connection.open_bi().await.map_err(|_| AskError::Closed)?;
        // A query was read from a DNS message and is no longer than that.
        let mut framed = (query.size() as u16).to_be_bytes().to_vec();
        // RFC 9250 §4.2.1.
        query.write(0, &mut framed);
        send.write_all(&framed).await.map_err(|_| AskError::Closed)?;
        send.finish().map_err(|_| AskError::Closed)?;
        let reply = receive.read_to_end(2 + MAX_MESSAGE).await;
        let reply = reply.map_err(|_| AskError::Closed)?;
        match message_of(&reply).filter(|reply| query.is_answered_by(0, reply)) {
            Some(reply) => message::read(reply, false),
            None => self.refuse(),
        }
    }

    /// Whether it can't be used any more.
    pub fn is_closed(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    /// Our end of it.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Ends the connection: a reply without its length, to another query or under an id is an error
    /// of the whole connection (RFC 9250 §4.3.3).
    fn refuse(&self) -> Result<Message, AskError> {
        self.connection.close(PROTOCOL_ERROR, b"");
        Err(AskError::Malformed)
    }
}

/// The message of a stream: behind its length, and nothing behind it (RFC 9250 §4.2).
pub fn message_of(stream: &[u8]) -> Option<&[u8]> {
    let (length, message) = stream.split_first_chunk()?;
    (usize::from(u16::from_be_bytes(*length)) == message.len()).then_some(message)
}
