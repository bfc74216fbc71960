//! Free ports on loopback.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    net::{TcpListener, UdpSocket},
    ops::Range,
    sync::{LazyLock, Mutex},
};

/// Below those that the kernel gives to clients: one of them could take a port before the server that
/// it is meant for does.
const PORTS: Range<u16> = 15_000..32_000;

static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port that is free for UDP and TCP on loopback, and that was given to nobody else here.
pub fn free() -> u16 {
    loop {
        let random = RandomState::new().hash_one(()) % PORTS.len() as u64;
        let port = PORTS.start + random as u16;
        let tcp = TcpListener::bind(("127.0.0.1", port));
        let free = tcp.is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if free && GIVEN.lock().expect("nobody panics with the lock").insert(port) {
            return port;
        }
    }
}
