//! The socket on which the agent answers plugins. Only root may speak there, and so many at once.

use std::{
    fs::File,
    io::{self, IoSliceMut, Read},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use daymark_cni_spec::{
    Verb,
    deletions::Deletions,
    protocol::{self, Request},
};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use tokio::{
    net::UnixListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::{attachments::Attachments, metrics::Metrics};

/// Most requests at work at once. Each has a thread, which mostly waits for the kernel's one lock
/// around links; more would wait there just as they wait here.
const MAX_AT_WORK: usize = 32;
/// How long a plugin may take to say what it wants, or to hear the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often deletions are looked for that plugins noted because nobody answered in time.
const REPLAY_PERIOD: Duration = Duration::from_secs(30);

/// The socket, and the lock that says whose it is.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    deletions: Deletions,
    _lock: File,
}

impl Socket {
    /// All that there can be of a socket: itself, its lock, and deletions that wait beside it.
    pub fn files(path: &Path) -> [PathBuf; 3] {
        let deletions = Deletions::beside(path).folder().to_owned();
        [path.to_owned(), path.with_extension("lock"), deletions]
    }

    /// Binds the socket for root alone. To be done before anything else of the node is touched: a second
    /// agent ends here, and plugins that come early wait instead of failing. A socket that a former
    /// agent left is replaced. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// Those of the file system, and `AddrInUse` if another agent has it.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let lock = File::create(path.with_extension("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::WOULDBLOCK => {
                let what = format!("another agent answers at {}", path.display());
                io::Error::new(io::ErrorKind::AddrInUse, what)
            }
            error => error.into(),
        })?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Socket { listener, deletions: Deletions::beside(path), _lock: lock })
    }
}

/// Answers plugins until it is dropped; what is at work then is finished. Deletions that wait beside
/// the socket are made up for first, and looked for from time to time.
///
/// # Errors
/// If no connection can be taken any more.
pub async fn serve(
    socket: Socket,
    attachments: Arc<Attachments>,
    metrics: Metrics,
) -> io::Result<()> {
    let Socket { listener, deletions, _lock } = socket;
    let places = Arc::new(Semaphore::new(MAX_AT_WORK));
    replay(&attachments, &deletions).await;
    let mut period = interval_at(Instant::now() + REPLAY_PERIOD, REPLAY_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = period.tick() => replay(&attachments, &deletions).await,
            accepted = listener.accept() => {
                let (stream, _) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) if is_passing(&error) => {
                        tracing::warn!(%error, "no connection of a plugin could be taken");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let is_root = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0);
                let Some(stream) = is_root.then(|| stream.into_std().ok()).flatten() else {
                    metrics.refused.inc();
                    continue;
                };
                let place = place(&places, &metrics).await?;
                let (attachments, metrics) = (attachments.clone(), metrics.clone());
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = answer(&stream, &attachments) {
                        metrics.refused.inc();
                        tracing::warn!(%error, "a plugin said nothing that can be answered");
                    }
                    drop(place);
                });
            }
        }
    }
}

/// Whether accept(2) may succeed again: too many files, or a peer that is gone.
fn is_passing(error: &io::Error) -> bool {
    let passing = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::CONNABORTED, Errno::INTR];
    passing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

async fn place(places: &Arc<Semaphore>, metrics: &Metrics) -> io::Result<OwnedSemaphorePermit> {
    if let Ok(place) = places.clone().try_acquire_owned() {
        return Ok(place);
    }
    metrics.waited.inc();
    places.clone().acquire_owned().await.map_err(io::Error::other)
}

async fn replay(attachments: &Arc<Attachments>, deletions: &Deletions) {
    let (attachments, deletions) = (attachments.clone(), deletions.clone());
    let done = tokio::task::spawn_blocking(move || attachments.replay(&deletions)).await;
    match done {
        Ok(Ok(0)) => {}
        Ok(Ok(count)) => tracing::info!(count, "made up for deletions noted while nobody answered"),
        Ok(Err(error)) => tracing::warn!(%error, "deletions that were noted can't be read"),
        Err(error) => tracing::warn!(%error, "deletions that were noted were not made up for"),
    }
}

/// One connection. A plugin that has gone meanwhile, killed by its runtime, is followed by a DEL that
/// may have been answered already; what its ADD made would be nobody's.
fn answer(stream: &UnixStream, attachments: &Attachments) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (request, netns) = receive(stream)?;
    if request.verb == Verb::Add && has_gone(stream) {
        return Ok(());
    }
    let reply = attachments.handle(&request, netns.as_ref().map(OwnedFd::as_fd));
    if protocol::write(stream, &reply).is_err() && reply.error.is_none() {
        attachments.abandon(&request);
    }
    Ok(())
}

/// Whether the other side has closed: it has nothing more to say, and waits for the answer.
fn has_gone(stream: &UnixStream) -> bool {
    let mut octet = [0; 1];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(rustix::net::recv(stream, &mut octet, flags), Ok((0, _)))
}

/// A request, with the file descriptor that came with it.
fn receive(stream: &UnixStream) -> io::Result<(Request, Option<OwnedFd>)> {
    let mut first = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut first)];
    let received = recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let netns = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    let bytes = protocol::read(first[..received.bytes].chain(stream))?;
    Ok((serde_json::from_slice(&bytes)?, netns))
}
