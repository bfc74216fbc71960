//! Thinning in the kernel: a classic BPF program on the socket drops a share of what some sources send
//! before it is queued, at no cost to this process and with no privilege.
//!
//! Linux's Documentation/networking/filter.rst: ancillary loads give the protocol and a random number,
//! loads from `SKF_NET_OFF` read the network header.

use socket2::SockFilter;

use super::sketch::Source;

/// Loads a 32-bit word from a fixed offset.
const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_ABOVE: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Protocol of the packet, an EtherType.
const PROTOCOL: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL) as u32;
/// A random 32-bit number.
const RANDOM: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;
/// The source in an IPv4 header (RFC 791 §3.1).
const V4_SOURCE: u32 = (libc::SKF_NET_OFF + 12) as u32;
/// The source in an IPv6 header (RFC 8200 §3).
const V6_SOURCE: u32 = (libc::SKF_NET_OFF + 8) as u32;

const ALL: u32 = u32::MAX;

/// The program that lets `pass` of each source's packets through, from 0 to 1, and everybody else's.
pub(super) fn program(thinned: impl Iterator<Item = (Source, f64)>) -> Vec<SockFilter> {
    let mut program = Vec::new();
    for (source, pass) in thinned {
        let (protocol, words) = match source {
            Source::V4(address) => (libc::ETH_P_IP, vec![(V4_SOURCE, address)]),
            Source::V6(network) => {
                let (high, low) = ((network >> 32) as u32, network as u32);
                (libc::ETH_P_IPV6, vec![(V6_SOURCE, high), (V6_SOURCE + 4, low)])
            }
        };
        let checks = [(PROTOCOL, protocol as u32)].into_iter().chain(words);
        let checks: Vec<(u32, u32)> = checks.collect();
        // Behind the checks: a random number, a comparison, two ways to end.
        let mut left = 2 * checks.len() as u8 + 4;
        for (at, value) in checks {
            left -= 2;
            program.push(SockFilter::new(LOAD, 0, 0, at));
            program.push(SockFilter::new(JUMP_EQUAL, 0, left, value));
        }
        program.push(SockFilter::new(LOAD, 0, 0, RANDOM));
        program.push(SockFilter::new(JUMP_ABOVE, 0, 1, (pass * f64::from(ALL)) as u32));
        program.push(SockFilter::new(RETURN, 0, 0, 0));
        program.push(SockFilter::new(RETURN, 0, 0, ALL));
    }
    program.push(SockFilter::new(RETURN, 0, 0, ALL));
    program
}

#[cfg(test)]
mod tests {
    use std::{
        net::UdpSocket,
        time::{Duration, Instant},
    };

    use socket2::Socket;

    use super::*;

    /// How many of 1,000 datagrams from `client` arrive where `thinned` are thinned.
    fn arriving(client: &str, thinned: &[(Source, f64)]) -> usize {
        let at = if client.contains('[') { "[::1]:0" } else { "127.0.0.1:0" };
        let server = UdpSocket::bind(at).expect("a socket");
        server.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
        let to = server.local_addr().expect("an address");
        let server = Socket::from(server);
        server.attach_filter(&program(thinned.iter().copied())).expect("a filter");
        let server = UdpSocket::from(server);
        let client = UdpSocket::bind(client).expect("a client");
        let mut arrived = 0;
        let mut receive = || {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(5) && server.recv(&mut [0; 16]).is_ok() {
                arrived += 1;
            }
        };
        for _ in 0..10 {
            for _ in 0..100 {
                client.send_to(b"query", to).expect("a datagram is sent");
            }
            receive();
        }
        arrived
    }

    fn source(text: &str) -> Source {
        text.parse::<std::net::IpAddr>().expect("an address").into()
    }

    #[test]
    fn a_thinned_source_keeps_its_share_and_the_others_all() {
        let thinned =
            [(source("127.0.0.2"), 0.3), (source("127.0.0.3"), 0.0), (source("::1"), 0.5)];
        let arrived = arriving("127.0.0.2:0", &thinned);
        assert!((200..400).contains(&arrived), "{arrived} of 1,000, expected some 300");
        assert_eq!(arriving("127.0.0.3:0", &thinned), 0);
        assert_eq!(arriving("127.0.0.4:0", &thinned), 1000);
        let arrived = arriving("[::1]:0", &thinned);
        assert!((400..600).contains(&arrived), "{arrived} of 1,000, expected some 500");
    }

    #[test]
    fn without_thinned_sources_everything_arrives() {
        assert_eq!(arriving("127.0.0.2:0", &[]), 1000);
        assert_eq!(arriving("[::1]:0", &[(source("127.0.0.1"), 0.0)]), 1000);
        assert_eq!(arriving("[::1]:0", &[(source("2001:db8::1"), 0.0)]), 1000);
    }
}
