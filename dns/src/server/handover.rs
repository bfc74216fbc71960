//! Handing the open sockets to a successor: a newer process in the same network namespace goes on with
//! the very sockets, so that nothing is lost that a client has sent, nor what waits to be read.
//!
//! The elder listens on a unix socket that only its own user may use. A successor connects, is given
//! the sockets one by one (SCM_RIGHTS, a packet each: `udp 127.0.0.1:53`), starts to serve on them while
//! the elder still does, and says `taken`. Only then does the elder leave: it reads no more, and ends
//! once what it has in work is answered. If the successor fails before that, nothing has changed.
//!
//! QUIC sockets stay: the connections on them can't be handed on. Clients connect again.

use std::{
    collections::HashMap,
    fs,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt::socket_peercred,
    },
    process::geteuid,
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::Server;

/// The successor has started to serve within this time, or the elder goes on.
const PATIENCE: Duration = Duration::from_secs(120);
/// The elder has something to say within this time.
const ANSWER: Duration = Duration::from_secs(10);
/// What ends the list of sockets, and what the successor says once it serves.
const END: &[u8] = b"end";
const TAKEN: &[u8] = b"taken";

/// What a socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Use {
    /// DNS over UDP.
    Udp,
    /// Connections: TCP, TLS, HTTPS.
    Tcp,
    /// The HTTP pages.
    Http,
}

impl Use {
    const ALL: [(Use, &'static str); 3] =
        [(Use::Udp, "udp"), (Use::Tcp, "tcp"), (Use::Http, "http")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(of, _)| *of == self).map_or("", |(_, word)| word)
    }
}

/// A socket to hand on.
pub type Handed = (Use, SocketAddr, OwnedFd);

/// Sockets of an elder.
#[derive(Default)]
pub struct Inherited {
    sockets: HashMap<(Use, SocketAddr), Vec<OwnedFd>>,
    elder: Option<Socket>,
}

impl Inherited {
    /// Asks whoever listens at `path` for its sockets; none if nobody does.
    ///
    /// # Errors
    /// If there is an elder that can't be understood: starting beside it would fail or divide queries.
    pub fn ask(path: &Path) -> io::Result<Self> {
        let elder = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        match elder.connect(&SockAddr::unix(path)?) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(Inherited::default());
            }
            Err(error) => return Err(error),
        }
        elder.set_read_timeout(Some(ANSWER))?;
        let mut inherited = Inherited::default();
        loop {
            let mut text = [0; 128];
            let (length, socket) = receive(&elder, &mut text)?;
            let text = &text[..length];
            if text == END {
                break;
            }
            let (key, socket) = read(text).zip(socket).ok_or_else(|| {
                let text = String::from_utf8_lossy(text);
                io::Error::new(io::ErrorKind::InvalidData, format!("the elder said `{text}`"))
            })?;
            inherited.sockets.entry(key).or_default().push(socket);
        }
        inherited.elder = Some(elder);
        Ok(inherited)
    }

    /// The UDP sockets of an address.
    pub fn udp(&mut self, address: SocketAddr) -> Vec<Socket> {
        self.take(Use::Udp, address).map(Socket::from).collect()
    }

    /// The listening socket of an address.
    pub fn listener(&mut self, of: Use, address: SocketAddr) -> Option<TcpListener> {
        self.take(of, address).next().map(TcpListener::from)
    }

    fn take(&mut self, of: Use, address: SocketAddr) -> impl Iterator<Item = OwnedFd> {
        self.sockets.remove(&(of, address)).unwrap_or_default().into_iter()
    }

    /// Tells the elder that its sockets are served: it leaves. Those that nobody wanted are closed.
    pub fn taken(self) {
        let Some(elder) = self.elder else { return };
        match elder.send(TAKEN) {
            Ok(_) => tracing::info!("took over from the process before"),
            Err(error) => tracing::warn!(%error, "telling the process before to leave"),
        }
    }
}

fn read(text: &[u8]) -> Option<(Use, SocketAddr)> {
    let (word, address) = std::str::from_utf8(text).ok()?.split_once(' ')?;
    let (of, _) = Use::ALL.into_iter().find(|(_, known)| *known == word)?;
    Some((of, address.parse().ok()?))
}

/// Offers a server's sockets at `path` from now on, on a thread of its own.
///
/// # Errors
/// If nothing can be bound there.
pub fn offer(path: &Path, server: &Arc<Server>) -> io::Result<()> {
    let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    let beside = path.with_extension("new");
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    listener.bind(&SockAddr::unix(&beside)?)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    listener.listen(1)?;
    // Takes the place of the elder's, if there was one.
    fs::rename(&beside, path)?;
    let server = Arc::downgrade(server);
    std::thread::Builder::new()
        .name("handover".to_owned())
        .spawn(move || while bequeath(&listener, &server) {})?;
    Ok(())
}

/// Waits for a successor and serves it. Tells whether another one may come.
fn bequeath(listener: &Socket, server: &Weak<Server>) -> bool {
    let successor = match listener.accept() {
        Ok((successor, _)) => successor,
        Err(error) => {
            tracing::warn!(%error, "waiting for a successor");
            std::thread::sleep(Duration::from_secs(1));
            return true;
        }
    };
    let Some(server) = server.upgrade() else { return false };
    match hand_on(&successor, &server) {
        Ok(()) => {
            tracing::info!("a successor took over");
            server.succeeded.send_replace(true);
            false
        }
        Err(error) => {
            tracing::warn!(%error, "a successor did not take over; going on");
            true
        }
    }
}

fn hand_on(successor: &Socket, server: &Server) -> io::Result<()> {
    let user = socket_peercred(successor)?.uid;
    if user != geteuid() && !user.is_root() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is another user's"));
    }
    successor.set_read_timeout(Some(PATIENCE))?;
    successor.set_write_timeout(Some(ANSWER))?;
    let runtime = &server.workshop.runtime;
    for (of, address, socket) in runtime.block_on(server.handed())? {
        let text = format!("{} {address}", of.word());
        let descriptors = [socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let parts = [IoSlice::new(text.as_bytes())];
        sendmsg(successor, &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
    }
    successor.send(END)?;
    let mut text = [0; 16];
    match receive(successor, &mut text)? {
        (length, _) if text[..length] == *TAKEN => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended first")),
    }
}

/// A packet, and the descriptor that came with it.
fn receive(socket: &Socket, text: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(text)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut parts, &mut ancillary, flags)?;
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok((received.bytes, descriptors.flatten().next()))
}
