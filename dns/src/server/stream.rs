//! DNS on a stream (RFC 7766 over TCP, RFC 7858 over TLS): pipelined, answered out of order, every wait
//! and number bounded.
//!
//! One task owns the connection. What the tables answer is answered by it, as many queries as have
//! come in at a time, with one write; the rest runs in tasks of its own, whose replies come back to it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{answering::Answering, endpoint::Timeouts, long::Replies};
use crate::{
    plugin::{Origin, Transport},
    wire::MAX_MESSAGE,
};

/// Queries of one connection in work at once; the next is read when one is done.
const PIPELINE: usize = 64;
/// Octets of replies from tasks that may wait to be written, so that a client which asks for large
/// ones and takes none does not fill the memory.
const OUTBOX: usize = MAX_MESSAGE;
/// When the server ends, a connection is closed once nothing has come for this long: a query that its
/// client has sent by then would be lost.
const LINGER: Duration = Duration::from_millis(200);
/// Octets to make room for before each read.
const READ: usize = 4096;

/// What a connection is served with.
pub struct Connection {
    /// Answers its queries.
    pub answering: Answering,
    /// Its client.
    pub client: SocketAddr,
    /// The address that was asked.
    pub local: SocketAddr,
    /// What it speaks.
    pub transport: Transport,
    /// How long it may take and stay.
    pub timeouts: Timeouts,
    /// Ends it once what was asked is answered.
    pub stop: CancellationToken,
}

/// A message of a task.
struct Waiting {
    /// Nothing where no reply is due.
    message: Option<Vec<u8>>,
    /// Whether the task is done with it.
    last: bool,
    /// The room that it takes until it is written.
    _room: Option<OwnedSemaphorePermit>,
}

struct Conversation<'a> {
    connection: &'a Connection,
    /// Octets that came and were not taken yet.
    inbox: BytesMut,
    /// Framed replies.
    outbox: Vec<u8>,
    send: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    /// Queries that tasks have in work.
    in_work: usize,
    /// Queries that it may still bring.
    allowed: usize,
    /// Whether more is read.
    open: bool,
    /// Whether the server ends: what is on its way is still answered.
    leaving: bool,
}

/// Serves a connection until its end.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, connection: Connection) {
    let Timeouts { write, idle, queries, .. } = connection.timeouts;
    let (send, mut replies) = mpsc::channel(PIPELINE);
    let mut talk = Conversation {
        connection: &connection,
        inbox: BytesMut::new(),
        outbox: Vec::new(),
        send,
        room: Arc::new(Semaphore::new(OUTBOX)),
        in_work: 0,
        allowed: queries.map_or(usize::MAX, usize::from),
        open: true,
        leaving: false,
    };
    let stopped = connection.stop.cancelled();
    tokio::pin!(stopped);
    let timer = sleep(idle);
    tokio::pin!(timer);
    let mut last = Instant::now();
    loop {
        if talk.take_queries() {
            last = Instant::now();
        }
        while let Ok(reply) = replies.try_recv() {
            talk.put(reply);
        }
        if !talk.outbox.is_empty() {
            let written = async {
                stream.write_all(&talk.outbox).await?;
                stream.flush().await
            };
            if !matches!(timeout(write, written).await, Ok(Ok(()))) {
                break;
            }
            talk.outbox.clear();
            // There may be more of the inbox than fitted in.
            continue;
        }
        if !talk.open && talk.in_work == 0 {
            break;
        }
        let reads = talk.open && talk.in_work < PIPELINE;
        talk.inbox.reserve(READ);
        let partial = !talk.inbox.is_empty();
        tokio::select! {
            read = stream.read_buf(&mut talk.inbox), if reads => match read {
                Ok(octets) if octets > 0 => {
                    if !partial {
                        last = Instant::now();
                        talk.expect_rest(timer.as_mut());
                    }
                }
                _ => talk.open = false,
            },
            Some(reply) = replies.recv(), if talk.in_work > 0 => {
                talk.put(reply);
                last = Instant::now();
            }
            () = timer.as_mut(), if talk.open => {
                let patience = talk.patience();
                let waited = last.elapsed();
                match patience.checked_sub(waited).filter(|left| !left.is_zero()) {
                    Some(left) => timer.as_mut().reset(tokio::time::Instant::now() + left),
                    None if talk.in_work > 0 => {
                        timer.as_mut().reset(tokio::time::Instant::now() + patience);
                    }
                    None => talk.open = false,
                }
            }
            () = stopped.as_mut(), if !talk.leaving => {
                talk.leaving = true;
                last = Instant::now();
                timer.as_mut().reset(tokio::time::Instant::now() + LINGER);
            }
        }
    }
    // Says goodbye where the transport has a word for it; the client may have gone.
    let _ = timeout(write, stream.shutdown()).await;
}

impl Conversation<'_> {
    /// How long the next octet may take.
    fn patience(&self) -> Duration {
        let Timeouts { read, idle, .. } = self.connection.timeouts;
        match self.inbox.is_empty() {
            true if self.leaving => LINGER,
            true => idle,
            false => read,
        }
    }

    /// Makes the timer fire in time for a query of which only a part is there.
    fn expect_rest(&self, timer: std::pin::Pin<&mut Sleep>) {
        if self.whole().is_none() {
            let due = tokio::time::Instant::now() + self.connection.timeouts.read;
            if timer.deadline() > due {
                timer.reset(due);
            }
        }
    }

    /// Octets of the next query, if all of it is there.
    fn whole(&self) -> Option<usize> {
        let len = usize::from(u16::from_be_bytes(*self.inbox.first_chunk()?));
        (self.inbox.len() >= len + 2).then_some(len)
    }

    /// Answers queries that are there as a whole, or has them answered, as long as there is room. Tells
    /// whether there were any.
    fn take_queries(&mut self) -> bool {
        let before = self.allowed;
        while self.allowed > 0
            && self.in_work < PIPELINE
            && self.outbox.len() < OUTBOX
            && let Some(len) = self.whole()
        {
            self.inbox.advance(2);
            let request = self.inbox.split_to(len);
            self.allowed -= 1;
            self.take(&request);
        }
        if self.allowed == 0 {
            self.open = false;
        }
        self.allowed < before
    }

    fn take(&mut self, request: &[u8]) {
        let Connection { answering, client, local, transport, .. } = self.connection;
        let (client, local, transport) = (*client, *local, *transport);
        let origin = Origin { client, local, transport, received: Instant::now(), parent: None };
        let start = self.outbox.len();
        self.outbox.extend([0, 0]);
        if answering.short(request, &origin, &mut self.outbox) {
            let len = (self.outbox.len() - start - 2) as u16;
            self.outbox[start..start + 2].copy_from_slice(&len.to_be_bytes());
            return;
        }
        self.outbox.truncate(start);
        let Some(long) = answering.admit(origin) else { return };
        let (send, room) = (self.send.clone(), Arc::clone(&self.room));
        let request = request.to_vec();
        self.in_work += 1;
        answering.long.runtime.spawn(async move {
            let Some((Replies { first, rest }, _place)) = long.replies(&request).await else {
                // The connection may have ended.
                let _ = send.send(Waiting { message: None, last: true, _room: None }).await;
                return;
            };
            // One message is made ahead of the one that is sent, to know whether that is the last.
            let (mut rest, mut next) = (rest.into_iter().flatten(), Some(first));
            while let Some(message) = next {
                next = rest.next();
                // Messages are at most as long as all the room is.
                let room = Arc::clone(&room).acquire_many_owned(message.len() as u32).await.ok();
                let last = next.is_none();
                let waiting = Waiting { message: Some(message), last, _room: room };
                if send.send(waiting).await.is_err() {
                    return;
                }
            }
        });
    }

    fn put(&mut self, waiting: Waiting) {
        self.in_work -= usize::from(waiting.last);
        if let Some(message) = waiting.message {
            self.outbox.extend((message.len() as u16).to_be_bytes());
            self.outbox.extend(message);
        }
    }
}
