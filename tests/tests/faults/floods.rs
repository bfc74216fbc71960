//! One client floods; another one asks at its ease, and gets its answers.

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use daymark_tests::{
    clients::{self, address},
    dns, pages, ports,
    process::PATIENCE,
};
use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record},
};

use crate::rig::{NAME, Rig};

const GREEDY: u8 = 2;
const QUIET: u8 = 3;
/// As long as resolvers wait before they ask again.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often they ask: what the kernel drops under a flood is asked for again.
const TRIES: usize = 3;

/// Runs something again and again in a thread until dropped.
struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(mut turn: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                turn();
            }
        });
        Running { stop, thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A failed flood shows in the test's own assertions.
            let _ = thread.join();
        }
    }
}

/// An upstream that answers what begins with `quiet` after a while, and nothing else ever.
fn slow_upstream() -> SocketAddr {
    const DELAY: Duration = Duration::from_millis(100);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, sender) = (socket.local_addr().unwrap(), socket.try_clone().unwrap());
    let (later, due) = mpsc::channel::<(Instant, Vec<u8>, SocketAddr)>();
    std::thread::spawn(move || {
        for (when, reply, client) in due {
            std::thread::sleep(when.saturating_duration_since(Instant::now()));
            let _ = sender.send_to(&reply, client);
        }
    });
    std::thread::spawn(move || {
        let mut query = [0; 2048];
        while let Ok((len, client)) = socket.recv_from(&mut query) {
            if query[..len].windows(5).any(|octets| octets == b"quiet") {
                let reply = answer(&query[..len]);
                let _ = later.send((Instant::now() + DELAY, reply, client));
            }
        }
    });
    address
}

fn answer(query: &[u8]) -> Vec<u8> {
    let mut message = Message::from_vec(query).unwrap();
    message.metadata.message_type = MessageType::Response;
    let name = message.queries[0].name().clone();
    message.add_answer(Record::from_rdata(name, 5, RData::A(Ipv4Addr::new(192, 0, 2, 1).into())));
    message.to_vec().unwrap()
}

/// Sends a burst of questions that differ, and takes whatever comes back.
fn flood(server: SocketAddr) -> Running {
    let socket = clients::udp(address(GREEDY), server).unwrap();
    socket.set_nonblocking(true).unwrap();
    let (mut count, mut reply) = (0u64, [0; 512]);
    Running::start(move || {
        for _ in 0..64 {
            count += 1;
            let query = dns::query(&format!("n{count}.flood.example."), "A", None).unwrap();
            let _ = socket.send(&query.to_vec().unwrap());
            while socket.recv(&mut reply).is_ok() {}
        }
        std::thread::sleep(Duration::from_millis(2));
    })
}

/// Asks as a resolver does; gives the address that is answered, or what happened instead.
fn ask(socket: &UdpSocket, name: &str) -> Result<String, String> {
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let query = dns::query(name, "A", None).unwrap();
    let bytes = query.to_vec().unwrap();
    let mut reply = [0; 2048];
    for _ in 0..TRIES {
        socket.send(&bytes).unwrap();
        while let Ok(len) = socket.recv(&mut reply) {
            let reply = Message::from_vec(&reply[..len]).map_err(|error| error.to_string())?;
            // One that was asked for before, and came late.
            if reply.metadata.id != query.metadata.id {
                continue;
            }
            match reply.answers.first() {
                Some(record) => return Ok(record.data.to_string()),
                // Resolvers ask again then, of another server if they have one.
                None if reply.metadata.response_code == ResponseCode::ServFail => break,
                None => return Err(reply.metadata.response_code.to_string()),
            }
        }
    }
    Err(format!("no answer to {name}, asked {TRIES} times"))
}

/// A rig that forwards what is outside the cluster to the slow upstream, and its metrics.
fn forwarding(more: &str) -> (Rig, SocketAddr) {
    let (rig, metrics) = (Rig::new(), ports::free());
    let upstream = slow_upstream();
    rig.write_corefile(&format!(
        "    prometheus 127.0.0.1:{metrics}\n    forward . {upstream} {{\n        max_fails 0\n{more}    }}\n"
    ));
    (rig, (Ipv4Addr::LOCALHOST, metrics).into())
}

/// Floods until `counter` moves, and goes on while the quiet client asks.
fn quiet_client_is_answered(more: &str, counter: &str) {
    let (rig, metrics) = forwarding(more);
    let mut program = rig.serve();
    let _flood = flood(rig.server());
    let shed = || pages::metric(metrics, counter, "").unwrap_or_default() > 0.0;
    program.wait_until("full", shed).unwrap();
    let socket = clients::udp(address(QUIET), rig.server()).unwrap();
    for number in 0..50 {
        assert_eq!(ask(&socket, NAME), Ok("10.96.0.7".to_owned()), "{number}: of the cluster");
        let name = format!("quiet{number}.example.");
        assert_eq!(ask(&socket, &name), Ok("192.0.2.1".to_owned()), "{number}: forwarded");
    }
    assert!(program.output().lines().all(|line| !line.contains("panic")), "{}", program.output());
}

#[test]
fn a_flood_to_a_slow_upstream_is_refused_before_a_quiet_client_is() {
    quiet_client_is_answered("", "coredns_forward_max_concurrent_rejects_total");
}

#[test]
fn a_flood_of_the_long_way_is_shed_before_a_quiet_client_is() {
    quiet_client_is_answered("        max_concurrent 1000000\n", "daymark_dns_shed_total");
}

#[test]
fn connections_of_a_greedy_client_are_shed_before_those_of_a_quiet_one() {
    const CONNECTIONS: usize = 400;
    clients::raise_descriptors();
    let (rig, metrics) = forwarding("");
    // A low limit, so that few are many.
    let mut program = rig.serve_under(&["sh", "-c", "ulimit -n 1024; exec \"$@\"", "sh"]);
    let mut greedy: Vec<TcpStream> = Vec::new();
    let mut hoard = || {
        greedy.extend(
            (0..CONNECTIONS)
                .filter_map(|_| clients::connect(address(GREEDY), rig.server(), PATIENCE).ok()),
        );
        greedy.drain(..greedy.len().saturating_sub(CONNECTIONS));
        pages::metric(metrics, "daymark_dns_shed_total", "").unwrap() > 0.0
    };
    program.wait_until("full", &mut hoard).unwrap();
    for number in 0..20 {
        if number % 5 == 0 {
            // Idle connections are closed after some time.
            hoard();
        }
        let query = dns::query(NAME, "A", None).unwrap().to_vec().unwrap();
        let stream = clients::connect(address(QUIET), rig.server(), TIMEOUT).unwrap();
        let reply = dns::over_stream(stream, &query).unwrap();
        assert_eq!(reply[..2], query[..2], "{number}");
        let socket = clients::udp(address(QUIET), rig.server()).unwrap();
        let name = format!("quiet{number}.example.");
        assert_eq!(ask(&socket, &name), Ok("192.0.2.1".to_owned()), "{number}: forwarded");
    }
}

/// Octets of memory that a process holds.
fn resident(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn large_replies_that_nobody_takes_do_not_fill_the_memory() {
    const CONNECTIONS: usize = 20;
    let rig = Rig::new();
    // Some 30 KB of addresses.
    let endpoints: String = (0..1900)
        .map(|n| format!("- {{addresses: [10.1.{}.{}]}}\n", n / 250, n % 250 + 1))
        .collect();
    let slice = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: big, namespace: shop}}\n\
         spec: {{clusterIP: None, ports: [{{port: 80}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {{name: \
         big-1, namespace: shop, labels: {{kubernetes.io/service-name: big}}}}\nports: []\n\
         endpoints:\n{endpoints}"
    );
    fs::write(rig.manifests().join("big.yaml"), slice).unwrap();
    let program = rig.serve();
    let query = dns::query("big.shop.svc.cluster.local.", "A", None).unwrap().to_vec().unwrap();
    let reply = dns::exchange(rig.server(), &query, dns::Transport::Tcp).unwrap();
    assert!(reply.len() > 30_000, "{}", reply.len());
    let before = resident(program.id());
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend(&query);
    let mut most = before;
    let greedy: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = clients::connect(address(GREEDY), rig.server(), PATIENCE).unwrap();
            stream.set_nonblocking(true).unwrap();
            // As much as it takes; what is in the kernel is the kernel's to bound.
            for _ in 0..2000 {
                if stream.write_all(&framed).is_err() {
                    break;
                }
                most = most.max(resident(program.id()));
            }
            stream
        })
        .collect();
    let socket = clients::udp(address(QUIET), rig.server()).unwrap();
    for _ in 0..50 {
        assert_eq!(ask(&socket, NAME), Ok("10.96.0.7".to_owned()));
        most = most.max(resident(program.id()));
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(greedy);
    let grown = (most - before) >> 10;
    assert!(grown < 500 * CONNECTIONS as u64, "{grown} KiB for {CONNECTIONS} connections");
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_goes() {
    let rig = Rig::new();
    let command = ["sh", "-c", "ulimit -Sn 256; ulimit -Hn 512; exec \"$@\"", "sh"];
    let mut program = rig.serve_under(&command);
    let limits = fs::read_to_string(format!("/proc/{}/limits", program.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("512"), "{line}");
    program.wait_until_said("only 512 files").unwrap();
    program.wait_until_said("LimitNOFILE").unwrap();
}
