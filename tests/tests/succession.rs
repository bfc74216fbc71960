//! Servers that end and servers that follow them: nothing that was asked is lost.
#![expect(clippy::unwrap_used, reason = "a test stops where it can go no further")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use daymark_tests::{
    dns::{self, Transport},
    encrypted, pages, peers, ports,
    process::Program,
    upstream::Upstream,
};
use hickory_proto::op::Message;

/// What is waited for a reply, which should come within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A place with a Corefile that several servers may run, one after the other.
struct Place {
    folder: tempfile::TempDir,
    dns: SocketAddr,
    pages: SocketAddr,
    upstream: Upstream,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [dns, pages] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free())));
        let zone = peers::repository().join("tests/dns/plugins/upstream.zone");
        let upstream = Upstream::start(&zone).unwrap();
        let place = Place { folder, dns, pages, upstream };
        place.write("");
        place
    }

    fn write(&self, more: &str) {
        let text = format!(
            ".:{} {{\n bind 127.0.0.1\n ready {}\n hosts {{\n 10.0.0.1 www.example.org\n \
             fallthrough\n }}\n forward . {}\n}}\n{more}",
            self.dns.port(),
            self.pages,
            self.upstream.address,
        );
        fs::write(self.conf(), text).unwrap();
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("Corefile")
    }

    /// Starts a server, without waiting for it.
    fn start(&self, name: &str) -> Program {
        let at = |file: &str| self.folder.path().join(file).display().to_string();
        let pidfile = at("pid");
        let words =
            ["dns", "--handover", &at("socket"), "--pidfile", &pidfile, "-conf", &at("Corefile")];
        let log: &Path = &self.folder.path().join(name);
        Program::start(&peers::daymark(), words, log).unwrap()
    }

    fn start_first(&self) -> Program {
        let mut first = self.start("first");
        first.wait_until_listening(self.dns).unwrap();
        first
    }
}

/// Clients that ask all the time, over UDP and over a TCP connection for each query.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(server: SocketAddr) -> Self {
        let (stop, asked, lost) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::default());
        let client = |transport| {
            let (stop, asked, lost) =
                (Arc::clone(&stop), Arc::clone(&asked), Arc::<AtomicUsize>::clone(&lost));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    asked.fetch_add(1, Ordering::Relaxed);
                    if !is_answered(server, transport) {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        let ways = [Transport::Udp, Transport::Udp, Transport::Udp, Transport::Tcp];
        let threads = ways.map(client).into();
        Load { stop, asked, lost, threads }
    }

    /// Waits until some hundred more were asked.
    fn go_on(&self) {
        let want = self.asked.load(Ordering::Relaxed) + 500;
        while self.asked.load(Ordering::Relaxed) < want {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many were not answered.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.lost.load(Ordering::Relaxed)
    }
}

/// Whether one query, sent once, is answered.
fn is_answered(server: SocketAddr, transport: Transport) -> bool {
    let query = dns::query("www.example.org.", "A", None).unwrap().to_vec().unwrap();
    let reply = match transport {
        Transport::Udp => {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut reply = [0; 512];
            let sent = socket.send_to(&query, server);
            sent.and_then(|_| socket.recv(&mut reply)).map(|len| reply[..len].to_vec()).ok()
        }
        Transport::Tcp => TcpStream::connect_timeout(&server, PATIENCE).ok().and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            encrypted::ask(&mut &stream, &query).ok()
        }),
        _ => None,
    };
    let reply = reply.and_then(|reply| Message::from_vec(&reply).ok());
    reply.is_some_and(|reply| reply.answers.len() == 1)
}

#[test]
fn a_successor_takes_over_and_no_query_is_lost() {
    let place = Place::new();
    let mut elder = place.start_first();
    let load = Load::start(place.dns);
    load.go_on();
    for successor in ["second", "third"] {
        let mut younger = place.start(successor);
        assert!(elder.wait_for_end().unwrap().success(), "{}", elder.output());
        younger.wait_until_said("took over from the process before").unwrap();
        load.go_on();
        assert_eq!(pages::page(place.pages, "/ready").unwrap().0, 200, "pages are handed on too");
        let pid = fs::read_to_string(place.folder.path().join("pid")).unwrap();
        assert_eq!(pid.trim(), younger.id().to_string(), "the pidfile is the successor's");
        elder = younger;
    }
    assert_eq!(load.end(), 0);
}

/// dnsperf at 2,000 queries a second for so many seconds, on sockets that it keeps.
fn dnsperf(place: &Place, seconds: u32) -> JoinHandle<String> {
    let (queries, port) = (place.folder.path().join("queries"), place.dns.port().to_string());
    fs::write(&queries, "www.example.org A\n").unwrap();
    std::thread::spawn(move || {
        let mut dnsperf = Command::new("dnsperf");
        dnsperf.args(["-s", "127.0.0.1", "-p", &port, "-Q", "2000", "-c", "8", "-t", "10"]);
        dnsperf.args(["-l", &seconds.to_string(), "-d"]).arg(queries);
        let output = dnsperf.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}

#[test]
fn dnsperf_loses_nothing_across_reloads_and_hand_overs() {
    let place = Place::new();
    let mut server = place.start_first();
    let load = dnsperf(&place, 8);
    let mut steps = 0;
    while !load.is_finished() {
        place.write(&format!("# Changed {steps} times.\n"));
        server.signal("USR1").unwrap();
        server.wait_until_said("Reloading complete").unwrap();
        let mut successor = place.start(&format!("after {steps}"));
        assert!(server.wait_for_end().unwrap().success(), "{}", server.output());
        successor.wait_until_said("took over from the process before").unwrap();
        server = successor;
        steps += 1;
    }
    let output = load.join().unwrap();
    let count = |label: &str| -> u64 {
        let line = output.lines().find(|line| line.trim_start().starts_with(label));
        line.and_then(|line| line.split_whitespace().nth(2)?.parse().ok()).unwrap()
    };
    assert!(steps >= 2, "{steps} reloads and hand-overs");
    assert!(count("Queries completed:") > 4000, "{output}");
    assert_eq!(count("Queries lost:"), 0, "{output}");
}

#[test]
fn a_successor_that_fails_changes_nothing() {
    let place = Place::new();
    let mut elder = place.start_first();
    let load = Load::start(place.dns);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    // One fails on its Corefile, the other once it has the sockets.
    let port = taken.local_addr().unwrap().port();
    for (name, more) in [
        ("mistaken", "other.test {\n nonsense\n}\n".to_owned()),
        ("hindered", format!("other.test:{port} {{\n bind 127.0.0.1\n whoami\n}}\n")),
    ] {
        place.write(&more);
        let mut younger = place.start(name);
        assert!(!younger.wait_for_end().unwrap().success(), "{}", younger.output());
        load.go_on();
        assert!(!elder.has_ended().unwrap());
    }
    elder.wait_until_said("a successor did not take over").unwrap();
    place.write("");
    let _younger = place.start("second");
    assert!(elder.wait_for_end().unwrap().success());
    load.go_on();
    assert_eq!(load.end(), 0);
}

#[test]
fn what_is_queued_and_what_is_in_work_is_answered_before_the_end() {
    let place = Place::new();
    let mut server = place.start_first();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(place.dns).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let send = |name: &str, times: usize| {
        let query = dns::query(name, "A", None).unwrap().to_vec().unwrap();
        for _ in 0..times {
            client.send(&query).unwrap();
        }
    };
    // The upstream takes its time for this one: the server is told to end meanwhile.
    send("slow.up.test.", 1);
    place.upstream.wait_for("slow.up.test.");
    server.signal("STOP").unwrap();
    send("www.example.org.", 200);
    server.signal("TERM").unwrap();
    server.signal("CONT").unwrap();
    let mut reply = [0; 512];
    let answers = (0..201).map(|number| {
        let len = client.recv(&mut reply).unwrap_or_else(|error| panic!("{number}: {error}"));
        Message::from_vec(&reply[..len]).unwrap().answers.len()
    });
    assert_eq!(answers.sum::<usize>(), 201);
    assert!(server.wait_for_end().unwrap().success());
}
