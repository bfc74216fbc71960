//! Telling secondaries of a change (RFC 1996).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use tokio::{net::UdpSocket, sync::Semaphore, time::timeout};

/// How often a secondary is told, and how long its answer may take each time.
const TRIES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(2);
/// Zones that are told of at once.
const AT_ONCE: usize = 16;

/// Tells of changes, a bounded number at a time.
pub(super) struct Notifier(Arc<Semaphore>);

impl Default for Notifier {
    fn default() -> Self {
        Notifier(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Notifier {
    /// Tells each of `to` that `zone` has changed, one after the other.
    pub(super) fn notify(&self, zone: &Name, to: &[SocketAddr], source: Option<IpAddr>) {
        if to.is_empty() {
            return;
        }
        let (zone, to, places) = (zone.clone(), to.to_vec(), Arc::clone(&self.0));
        tokio::spawn(async move {
            let Ok(_place) = places.acquire().await else { return };
            for secondary in to {
                match tell(&zone, secondary, source).await {
                    Ok(()) => {
                        let told = format_args!("told {secondary} of the zone {zone}");
                        tracing::debug!(target: "plugin/transfer", "{told}");
                    }
                    Err(what) => tracing::warn!(
                        target: "plugin/transfer",
                        "{secondary} could not be told of the zone {zone}: {what}"
                    ),
                }
            }
        });
    }
}

async fn tell(zone: &Name, to: SocketAddr, source: Option<IpAddr>) -> Result<(), String> {
    let mut what = "it does not answer".to_owned();
    for _ in 0..TRIES {
        match timeout(PATIENCE, exchange(zone, to, source)).await {
            Ok(Ok(ResponseCode::NoError)) => return Ok(()),
            Ok(Ok(code)) => what = format!("it says {code}"),
            Ok(Err(error)) => {
                what = error.to_string();
                // A refused connection comes at once.
                tokio::time::sleep(PATIENCE / 4).await;
            }
            Err(_) => "it does not answer".clone_into(&mut what),
        }
    }
    Err(what)
}

async fn exchange(zone: &Name, to: SocketAddr, source: Option<IpAddr>) -> io::Result<ResponseCode> {
    let any = match to {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((source.unwrap_or(any), 0)).await?;
    socket.connect(to).await?;
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Notify);
    message.metadata.authoritative = true;
    message.add_query(Query::query(zone.clone(), RecordType::SOA));
    let wrong = |error: hickory_proto::ProtoError| io::Error::other(error);
    socket.send(&message.to_vec().map_err(wrong)?).await?;
    let mut buffer = [0; 512];
    loop {
        let octets = socket.recv(&mut buffer).await?;
        let Ok(reply) = Message::from_vec(&buffer[..octets]) else { continue };
        let metadata = reply.metadata;
        if metadata.id == message.metadata.id && metadata.message_type == MessageType::Response {
            return Ok(metadata.response_code);
        }
    }
}
