//! Removing a link without waiting for its memory.
//!
//! RTM_DELLINK returns when the kernel has freed the link, for which it waits until no processor can
//! be reading it any more (`rcu_barrier`): some 20 ms, many times what the removal takes. But it tells
//! with NLM_F_ECHO when the link is off every list and its routes are gone, while it still holds the
//! lock that whoever makes or looks for links takes. That is what a DEL has to wait for; a thread waits
//! for the rest.

use std::{
    io::ErrorKind,
    sync::atomic::{AtomicUsize, Ordering},
    thread::JoinHandle,
    time::Duration,
};

use netlink_packet_core::{NLM_F_ACK, NLM_F_ECHO, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::{
    io::Errno,
    net::sockopt::{Timeout, set_socket_timeout},
};

use super::{Connection, NetlinkError, append, failure, message};

/// Most threads that wait for memory at once; beyond that each removal waits for its own.
const MAX_WAITING: usize = 64;
/// How often the thread is looked at for having failed to ask.
const LOOK: Duration = Duration::from_millis(100);

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Removes a link of the calling thread's namespace, and with a veth its other end. When this returns
/// nobody sees it any more. One that is not there is no error.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn remove_soon(name: &str) -> Result<(), NetlinkError> {
    let connection = Connection::open()?;
    if WAITING.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        return connection.delete_link(name);
    }
    let what = format!("removing {name}");
    let failed = |error| NetlinkError::new(&what, error);
    let started = Asking::start(&connection, name);
    let mut asking = Some(started.map_err(|error| {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        failed(error)
    })?);
    loop {
        let messages = match connection.receive(&what) {
            // A wait with a limit is not taken up again by the kernel when something interrupts it.
            Err(error) if error.cause.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.cause.kind() == ErrorKind::WouldBlock => {
                if let Some(done) = asking.take_if(|asking| asking.is_over()) {
                    done.outcome().map_err(failed)?;
                }
                continue;
            }
            messages => messages?,
        };
        for message in messages {
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(_)) => return Ok(()),
                NetlinkPayload::Error(error) => {
                    let failure = failure(&what, &error, message.header.flags);
                    return failure.filter(|f| !f.is(&[Errno::NODEV])).map_or(Ok(()), Err);
                }
                _ => {}
            }
        }
    }
}

/// The thread that asks, and is kept for as long as the kernel works.
struct Asking(JoinHandle<std::io::Result<()>>);

impl Asking {
    fn start(connection: &Connection, name: &str) -> std::io::Result<Self> {
        set_socket_timeout(&connection.socket, Timeout::Recv, Some(LOOK))?;
        let socket = rustix::io::fcntl_dupfd_cloexec(&connection.socket, 0)?;
        let mut bytes = Vec::new();
        append(&mut bytes, message::delete_link(name), NLM_F_ACK | NLM_F_ECHO, 1);
        let ask = move || {
            let sent = rustix::net::send(&socket, &bytes, rustix::net::SendFlags::empty());
            WAITING.fetch_sub(1, Ordering::Relaxed);
            sent.map(drop).map_err(Into::into)
        };
        std::thread::Builder::new().name("removal".to_owned()).spawn(ask).map(Asking)
    }

    fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    fn outcome(self) -> std::io::Result<()> {
        self.0.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread panicked")))
    }
}
