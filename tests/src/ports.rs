//! Free ports on loopback.

use std::{
    collections::HashSet,
    net::{TcpListener, UdpSocket},
    sync::{LazyLock, Mutex},
};

static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port that is free for UDP and TCP on loopback, and that was given to nobody else here.
pub fn free() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free TCP port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let free = UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if free && GIVEN.lock().expect("nobody panics with the lock").insert(port) {
            return port;
        }
    }
}
