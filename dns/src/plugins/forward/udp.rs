//! Queries over UDP: a socket for each query under way, used again for a while, then replaced.
//!
//! Against forged replies (RFC 5452): sockets are connected, their ports are the kernel's random
//! choice and change often, ids are random, and a reply must repeat the question. What does not
//! match is passed over and the true reply waited for.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};

use super::{
    config::Connections,
    failure::{AskError, words},
    message::{self, Outgoing},
    pool::Asked,
};
use crate::plugins::debug;
use hickory_proto::op::Message;

/// Queries after which a socket, and so its port, is given up.
const USES: u32 = 64;
/// Most idle sockets, where the configuration sets no limit.
const MAX_IDLE: usize = 1024;
/// Room for a reply, however little the client takes: a larger one is cut for the client later.
const ROOM: usize = 4096;

/// Idle sockets to one upstream.
pub struct UdpPool {
    upstream: SocketAddr,
    settings: Connections,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    socket: UdpSocket,
    local: SocketAddr,
    born: Instant,
    used: Instant,
    uses: u32,
}

impl UdpPool {
    /// No sockets yet.
    pub fn new(upstream: SocketAddr, settings: Connections) -> Self {
        UdpPool { upstream, settings, idle: Mutex::new(Vec::new()) }
    }

    /// Asks and waits for the reply, `patience` at most. `fresh` opens a new socket.
    pub async fn ask(&self, query: &Outgoing, patience: Duration, fresh: bool) -> Asked {
        let found = if fresh { None } else { self.take() };
        let reused = found.is_some();
        let mut from = None;
        let reply = async {
            let mut idle = match found {
                Some(idle) => idle,
                None => self.open().await?,
            };
            from = Some(idle.local);
            let reply = timeout(patience, exchange(&idle.socket, query));
            let reply = reply.await.map_err(|_| AskError::Timeout)??;
            idle.uses += 1;
            self.put_back(idle);
            Ok(reply)
        };
        let reply = reply.await;
        Asked { reply, reused, from }
    }

    /// Closes what has been idle for too long.
    pub fn tidy(&self) {
        let mut idle = self.idle.lock();
        idle.retain(|idle| self.is_young(idle));
    }

    fn take(&self) -> Option<Idle> {
        let mut idle = self.idle.lock();
        while !idle.is_empty() {
            let pick = rand::random_range(0..idle.len());
            let found = idle.swap_remove(pick);
            if self.is_young(&found) {
                return Some(found);
            }
        }
        None
    }

    fn put_back(&self, mut idle: Idle) {
        idle.used = Instant::now();
        let most = match self.settings.max_idle {
            0 => MAX_IDLE,
            most => most as usize,
        };
        let mut all = self.idle.lock();
        if idle.uses < USES && all.len() < most {
            all.push(idle);
        }
    }

    fn is_young(&self, idle: &Idle) -> bool {
        let max_age = self.settings.max_age;
        idle.used.elapsed() < self.settings.expire
            && (max_age.is_zero() || idle.born.elapsed() < max_age)
    }

    async fn open(&self) -> Result<Idle, AskError> {
        let any: IpAddr = match self.upstream {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((self.settings.source.unwrap_or(any), 0))
            .await
            .map_err(|error| AskError::Local(words(&error)))?;
        socket.connect(self.upstream).await?;
        let (local, now) = (socket.local_addr()?, Instant::now());
        Ok(Idle { socket, local, born: now, used: now, uses: 0 })
    }
}

async fn exchange(socket: &UdpSocket, query: &Outgoing) -> Result<Message, AskError> {
    let id = rand::random();
    let mut buffer = Vec::with_capacity(query.udp_size.max(ROOM) + 1);
    query.write(id, &mut buffer);
    socket.send(&buffer).await?;
    loop {
        buffer.clear();
        socket.recv_buf(&mut buffer).await?;
        if query.is_answered_by(id, &buffer) {
            let cut = buffer.len() == buffer.capacity();
            return message::read(&buffer, cut);
        }
        debug::dump(&buffer, format_args!("not the reply that is waited for: id {id}"));
    }
}
