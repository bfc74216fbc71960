//! A receiver that we connect to: again and again if need be, while what is to be sent waits.

use std::{io, sync::Arc, time::Duration};

use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, interval, sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    config::Endpoint,
    frames,
    queue::Queue,
    sending::{self, Stream},
};
use crate::corefile::values::{Host, HostPort};

/// A connection and its handshakes are there within this time, as in CoreDNS.
const DIAL: Duration = Duration::from_secs(4);
/// Between tries, at first and at most: each time twice as long.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How often drops are logged, as in CoreDNS.
const TELL: Duration = Duration::from_secs(10);

/// Where, and how.
pub(super) struct Dial {
    pub(super) to: Endpoint,
    /// How TLS is spoken, and the name to ask for; if it is.
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Octets.
    pub(super) write_buffer: usize,
}

/// Sends what comes through the queue until that is closed, over one connection after the other. What
/// waits when the queue is closed is sent if the receiver can be reached at once.
pub(super) async fn run(dial: Dial, queue: Arc<Queue>) {
    let telling = tell_drops(&queue);
    tokio::select! {
        () = telling => {}
        () = deliver(&dial, &queue) => {}
    }
    queue.clear();
    log_drops(&queue);
}

async fn deliver(dial: &Dial, queue: &Queue) {
    let mut pause = BACKOFF.0;
    let mut told = false;
    loop {
        let connected = timeout(DIAL, dial.connect()).await;
        let ended = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(mut stream) => {
                let begun = Instant::now();
                let Err(error) = sending::deliver(&mut *stream, queue).await else { return };
                // One that ends again and again is like one that is not there.
                if begun.elapsed() >= BACKOFF.1 {
                    (pause, told) = (BACKOFF.0, false);
                }
                format!("Lost the connection to dnstap endpoint: {error}")
            }
            Err(error) => format!("No connection to dnstap endpoint: {error}"),
        };
        // Once for each time that it is away, not for each try.
        if !std::mem::replace(&mut told, true) {
            tracing::error!(target: "plugin/dnstap", "{ended}");
        }
        if queue.is_closed() {
            return;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = queue.closed() => {}
        }
        pause = (pause * 2).min(BACKOFF.1);
    }
}

async fn tell_drops(queue: &Queue) {
    let mut ticks = interval(TELL);
    loop {
        ticks.tick().await;
        log_drops(queue);
    }
}

pub(super) fn log_drops(queue: &Queue) {
    let drops = queue.drops();
    if drops > 0 {
        tracing::warn!(target: "plugin/dnstap", "Dropped dnstap messages: {drops}");
    }
}

impl Dial {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let mut stream: Box<dyn Stream> = match &self.to {
            Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Endpoint::Tcp(address) | Endpoint::Tls(address) => {
                let stream = self.tcp(address).await?;
                match &self.tls {
                    None => Box::new(stream),
                    Some((tls, name)) => Box::new(tls.connect(name.clone(), stream).await?),
                }
            }
        };
        frames::begin(&mut stream).await?;
        Ok(stream)
    }

    async fn tcp(&self, address: &HostPort) -> io::Result<TcpStream> {
        let stream = match &address.host {
            // As in Go, no host is this one.
            Host::Any => TcpStream::connect(("localhost", address.port)).await?,
            Host::Ip(ip) => TcpStream::connect((*ip, address.port)).await?,
            Host::Name(name) => TcpStream::connect((&**name, address.port)).await?,
        };
        // The kernel gives as much of it as it may.
        SockRef::from(&stream).set_send_buffer_size(self.write_buffer)?;
        Ok(stream)
    }
}
