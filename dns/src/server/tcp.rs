//! DNS over TCP (RFC 7766): pipelined, answered out of order, every wait and number bounded.

use std::{
    cell::RefCell,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    admission::Admission,
    long::{self, Purpose},
    routes::Routes,
    short::Short,
    udp::LongWay,
};
use crate::{
    metrics::counters::Observation,
    plugin::{Origin, Transport, family},
    plugins::kubernetes::wire::Asked,
    wire::{
        name::FoldedName,
        query::{self, Shape},
    },
};

/// A connection without a query for this long is closed (CoreDNS's default).
const IDLE: Duration = Duration::from_secs(10);
/// A query whose length was announced has to arrive within this time.
const READ: Duration = Duration::from_secs(3);
/// A reply that a client does not take within this time ends the connection.
const WRITE: Duration = Duration::from_secs(5);
/// Queries of one connection in work at once; the next is read when one is done.
const PIPELINE: usize = 64;
/// Octets of the longest reply.
const MAX_REPLY: usize = u16::MAX as usize;
/// Octets of replies that may wait for a client to take them, so that one which asks for large ones
/// and takes none does not fill the memory.
const OUTBOX: usize = MAX_REPLY;

thread_local! {
    /// Where replies are written before their size is known.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_REPLY]);
}

/// A listening TCP socket and what it answers from.
pub struct Listener {
    /// What is served; swapped by a reload.
    pub routes: Arc<ArcSwap<Routes>>,
    /// Runs and counts queries.
    pub long: LongWay,
    /// Bounds connections, fairly between clients.
    pub connections: Arc<Admission>,
    /// Ends accepting, and idle connections.
    pub stop: CancellationToken,
}

impl Listener {
    /// Accepts until told to stop.
    pub async fn run(self, listener: TcpListener) {
        let shared = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shared.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, client)) => shared.admit(stream, client),
                Err(error) => {
                    // Out of descriptors, most likely: waiting lets others close theirs.
                    tracing::warn!(%error, "accepting a TCP connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, client: SocketAddr) {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let Some(place) = self.connections.admit(client.ip()) else {
            self.long.recorder.shed.add(1);
            return;
        };
        let listener = Arc::clone(self);
        self.long.runtime.spawn(async move {
            let local = stream.local_addr().unwrap_or(client);
            let local = SocketAddr::new(local.ip().to_canonical(), local.port());
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "setting TCP_NODELAY");
            }
            listener.serve(stream, client, local).await;
            drop(place);
        });
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, client: SocketAddr, local: SocketAddr) {
        let (read, write) = stream.into_split();
        let (send, replies) = mpsc::channel(PIPELINE);
        let outbox = Outbox { send, room: Arc::new(Semaphore::new(OUTBOX)) };
        let room = Arc::clone(&outbox.room);
        let writer = self.long.runtime.spawn(async move {
            write_replies(write, replies).await;
            // Nobody waits for room any more.
            room.close();
        });
        self.read_queries(BufReader::new(read), client, local, outbox).await;
        // Replies still in work go out; the writer ends when the last one is done.
        if let Err(error) = writer.await {
            tracing::debug!(%error, "writing TCP replies");
        }
    }

    async fn read_queries(
        self: &Arc<Self>,
        mut stream: BufReader<OwnedReadHalf>,
        client: SocketAddr,
        local: SocketAddr,
        outbox: Outbox,
    ) {
        let pipeline = Arc::new(Semaphore::new(PIPELINE));
        loop {
            let Ok(permit) = Arc::clone(&pipeline).acquire_owned().await else { return };
            let len = tokio::select! {
                len = timeout(IDLE, stream.read_u16()) => len,
                () = self.stop.cancelled() => return,
            };
            let Ok(Ok(len)) = len else { return };
            let mut request = vec![0; usize::from(len)];
            let Ok(Ok(_)) = timeout(READ, stream.read_exact(&mut request)).await else { return };
            let received = Instant::now();
            let origin = Origin { client, local, transport: Transport::Tcp, received };
            let routes = self.routes.load_full();
            if let Some(reply) = self.answer_short(&routes, &request, &origin) {
                if !outbox.put(reply).await {
                    return;
                }
                continue;
            }
            let Some(place) = self.long.admission.admit(client.ip()) else {
                self.long.recorder.shed.add(1);
                continue;
            };
            let (outbox, recorder) = (outbox.clone(), Arc::clone(&self.long.recorder));
            recorder.long.add(1);
            self.long.runtime.spawn(async move {
                let answer = long::answer(&routes, &recorder, &request, origin, Purpose::Reply);
                if let Some(reply) = answer.await {
                    outbox.put(reply).await;
                }
                drop((permit, place));
            });
        }
    }

    /// Plain questions are answered from tables here too; only the loop around them differs.
    fn answer_short(
        &self,
        routes: &Arc<Routes>,
        request: &[u8],
        origin: &Origin,
    ) -> Option<Vec<u8>> {
        let mut name = FoldedName::default();
        let Shape::Plain(plain) = query::read(request, &mut name) else { return None };
        let block = routes.find(&name, plain.qtype)?;
        let plain = block.bounded_plain(&plain);
        let plan = block.short.as_ref().filter(|_| block.log.is_none())?;
        let rotation = origin.received.elapsed().subsec_nanos();
        let asked =
            Asked { message: request, plain: &plain, name: &name, limit: MAX_REPLY, rotation };
        let (written, reply) = SCRATCH.with_borrow_mut(|out| match plan.answer(out, &asked) {
            Short::Answered(written) => Some((written, out[..written.len].to_vec())),
            _ => None,
        })?;
        if let Some(series) = block.series {
            let seen = Observation {
                transport: Transport::Tcp,
                family: family(origin.client.ip()),
                qtype: plain.qtype,
                dnssec_ok: plain.edns.is_some_and(|edns| edns.dnssec_ok),
                query_size: request.len(),
                reply_size: written.len,
                rcode: written.rcode,
                by_chain: true,
            };
            let nanos = origin.received.elapsed().as_nanos() as u64;
            self.long.recorder.touch(series).observe(&seen, nanos);
        }
        self.long.recorder.short.add(1);
        Some(reply)
    }
}

/// Replies of one connection on their way to the client.
#[derive(Clone)]
struct Outbox {
    send: mpsc::Sender<Waiting>,
    /// What is free of [`OUTBOX`].
    room: Arc<Semaphore>,
}

/// A reply, with the room that it takes until it is written.
type Waiting = (Vec<u8>, OwnedSemaphorePermit);

impl Outbox {
    /// Waits for room and puts a reply there. Tells whether the client is still there.
    async fn put(&self, reply: Vec<u8>) -> bool {
        // Replies are at most MAX_REPLY octets, which there is room for.
        let room = Arc::clone(&self.room).acquire_many_owned(reply.len() as u32).await;
        match room {
            Ok(room) => self.send.send((reply, room)).await.is_ok(),
            Err(_) => false,
        }
    }
}

async fn write_replies(mut stream: OwnedWriteHalf, mut outbox: mpsc::Receiver<Waiting>) {
    let mut framed = Vec::new();
    while let Some((reply, mut room)) = outbox.recv().await {
        framed.clear();
        frame(&mut framed, &reply);
        // What is ready goes out in one segment.
        while framed.len() < MAX_REPLY
            && let Ok((reply, more)) = outbox.try_recv()
        {
            frame(&mut framed, &reply);
            room.merge(more);
        }
        if !matches!(timeout(WRITE, stream.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn frame(out: &mut Vec<u8>, reply: &[u8]) {
    // Replies are at most MAX_REPLY octets.
    out.extend((reply.len() as u16).to_be_bytes());
    out.extend(reply);
}
