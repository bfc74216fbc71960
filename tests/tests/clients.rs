//! Programs that people have as clients: dig, nslookup and glibc's resolver (getent), with the
//! resolv.conf that a Pod gets; and a server that listens on the wildcard of a link with several
//! addresses. All in network namespaces.

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use daymark_tests::{
    asking,
    dns::{self, Transport},
    folder,
    namespace::{Namespace, tool_path},
    peers,
    process::{PATIENCE, Program},
};
use hickory_proto::op::Message;
use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;

const COREFILE: &str = ".:53 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    hosts {
        192.0.2.80 www.example.com
        fallthrough
    }
    loadbalance
}
";
/// What the kubelet writes for a Pod of the namespace shop.
const RESOLV_CONF: &str = "search shop.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.55.0.10
options ndots:5
";
const SERVER: [&str; 4] = ["10.55.0.10", "10.55.0.11", "fd55::10", "fd55::11"];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They share one resolv.conf.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    let missing = ["dig", "nslookup", "getent"].into_iter().find(|tool| tool_path(tool).is_none());
    let missing = missing.map(|tool| format!("{tool} is not installed"));
    if let Some(reason) = Namespace::unavailable().or(missing) {
        let name = format!("clients in a namespace: {reason}");
        return vec![Trial::test(name, || Ok(())).with_ignored_flag(true)];
    }
    let world = match World::start() {
        Ok(world) => Arc::new(world),
        Err(error) => {
            let what = format!("{error:#}");
            return vec![Trial::test("a server in a namespace", || Err(Failed::from(what)))];
        }
    };
    let tests: [(&str, Test); 8] = [
        ("dig over UDP", |world| dig(world, "+notcp")),
        ("dig over TCP", |world| dig(world, "+tcp")),
        ("nslookup over UDP", |world| nslookup(world, "-novc")),
        ("nslookup over TCP", |world| nslookup(world, "-vc")),
        ("getent over UDP", |world| getent(world, "")),
        ("getent over TCP", |world| getent(world, "options use-vc\n")),
        ("the wildcard answers from the address that was asked", from_the_asked_address),
        ("the wildcard answers a link-local address", link_local),
    ];
    let of = |(name, test): (&str, Test)| {
        let world = Arc::clone(&world);
        Trial::test(name, move || test(&world).map_err(|error| format!("{error:#}").into()))
    };
    tests.into_iter().map(of).collect()
}

type Test = fn(&World) -> anyhow::Result<()>;

/// A server and a client on one cable.
struct World {
    _program: Program,
    server: Namespace,
    client: Namespace,
    resolv_conf: PathBuf,
    _scratch: TempDir,
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let scratch = tempfile::Builder::new().prefix("daymark-clients-").tempdir()?;
        let file = |name: &str| scratch.path().join(name);
        let (corefile, manifests, resolv_conf) =
            (file("Corefile"), file("manifests"), file("resolv.conf"));
        std::fs::write(&corefile, COREFILE)?;
        std::fs::create_dir(&manifests)?;
        folder::write_to(&manifests)?;
        std::fs::write(&resolv_conf, RESOLV_CONF)?;

        let (server, client) = (Namespace::new()?, Namespace::new()?);
        server.cable("server", &client, "client")?;
        for address in SERVER {
            let prefix = if address.contains(':') { 64 } else { 24 };
            server.address("server", &format!("{address}/{prefix}"))?;
        }
        client.address("client", "10.55.0.1/24")?;
        client.address("client", "fd55::1/64")?;
        client.put(&resolv_conf, "/etc/resolv.conf")?;

        let (nsenter, mut words) = server.enter();
        words.push(peers::daymark().display().to_string());
        words.extend(["dns".into(), "--conf".into(), corefile.display().to_string()]);
        words.extend(["--manifests".into(), manifests.display().to_string()]);
        let mut program = Program::start(&nsenter, words, &file("log"))?;
        let address: SocketAddr = "10.55.0.10:53".parse()?;
        program.wait_until("answering", || {
            client.inside(|| asking::answer(address, WEB, "A")).is_ok()
        })?;
        client.inside(|| asking::wait_for(address, WEB, "A", "10.96.0.7"))?;
        Ok(World { _program: program, server, client, resolv_conf, _scratch: scratch })
    }
}

const WEB: &str = "web.shop.svc.cluster.local.";

/// The lines of a text, sorted.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn dig(world: &World, transport: &str) -> anyhow::Result<()> {
    for (words, want) in [
        ("web.shop.svc.cluster.local", &["10.96.0.7"][..]),
        ("+search web", &["10.96.0.7"]),
        ("+search web.shop", &["10.96.0.7"]),
        ("+search web.shop.svc", &["10.96.0.7"]),
        ("+search db", &["10.0.2.10", "10.0.2.11"]),
        ("+search db-1.db", &["10.0.2.11"]),
        ("+search web6 AAAA", &["fd00:10:96::7"]),
        ("+search _http._tcp.web SRV", &["0 100 80 web.shop.svc.cluster.local."]),
        ("-x 10.96.0.7", &[WEB]),
        ("-x 10.0.2.10", &["db-0.db.shop.svc.cluster.local."]),
        ("+search www.example.com", &["192.0.2.80"]),
        ("+search 10-1-2-3.shop.pod.cluster.local", &["10.1.2.3"]),
        ("+search nothing", &[]),
        ("@fd55::10 +search web", &["10.96.0.7"]),
        ("@10.55.0.11 +search web", &["10.96.0.7"]),
        ("@fd55::11 +dnssec +search web", &["10.96.0.7"]),
    ] {
        let all: Vec<&str> =
            ["dig", "+short", transport].into_iter().chain(words.split(' ')).collect();
        let said = world.client.run(&all)?;
        ensure!(lines(&said) == want, "dig {words}: {said:?}, not {want:?}");
    }
    let whole = world.client.run(&["dig", transport, "nothing.shop.svc.cluster.local"])?;
    ensure!(whole.contains("status: NXDOMAIN") && whole.contains("flags: qr aa rd"), "{whole}");
    for complaint in ["malformed", "FORMERR", "mismatch", "extra bytes", "BADCOOKIE"] {
        ensure!(!whole.contains(complaint), "dig complains of {complaint}:\n{whole}");
    }
    Ok(())
}

fn nslookup(world: &World, transport: &str) -> anyhow::Result<()> {
    for (words, want) in [
        ("web", "Name:\tweb.shop.svc.cluster.local\nAddress: 10.96.0.7"),
        ("web.shop", "Name:\tweb.shop.svc.cluster.local\nAddress: 10.96.0.7"),
        ("db-0.db", "Name:\tdb-0.db.shop.svc.cluster.local\nAddress: 10.0.2.10"),
        ("web6", "Name:\tweb6.shop.svc.cluster.local\nAddress: fd00:10:96::7"),
        ("www.example.com", "Name:\twww.example.com\nAddress: 192.0.2.80"),
        ("10.96.0.7", "7.0.96.10.in-addr.arpa\tname = web.shop.svc.cluster.local."),
        ("-type=srv _pg._tcp.db", "service = 0 50 5432 db-1.db.shop.svc.cluster.local."),
    ] {
        let all: Vec<&str> = ["nslookup", transport].into_iter().chain(words.split(' ')).collect();
        let said = world.client.run(&all)?;
        ensure!(said.contains(want), "nslookup {words}: {said}");
    }
    let denied = world.client.run(&["nslookup", transport, "nothing.shop.svc.cluster.local."]);
    let said = denied.err().context("a name that does not exist is found")?.to_string();
    ensure!(said.contains("server can't find nothing.shop.svc.cluster.local: NXDOMAIN"), "{said}");
    Ok(())
}

fn getent(world: &World, more: &str) -> anyhow::Result<()> {
    std::fs::write(&world.resolv_conf, format!("{RESOLV_CONF}{more}"))?;
    let outcome = getent_as_configured(world);
    std::fs::write(&world.resolv_conf, RESOLV_CONF)?;
    outcome
}

fn getent_as_configured(world: &World) -> anyhow::Result<()> {
    for (words, want) in [
        ("hosts web", &["10.96.0.7 web.shop.svc.cluster.local"][..]),
        ("hosts web.shop.svc", &["10.96.0.7 web.shop.svc.cluster.local"]),
        ("hosts web6", &["fd00:10:96::7 web6.shop.svc.cluster.local"]),
        ("hosts www.example.com", &["192.0.2.80 www.example.com"]),
        ("hosts 10.96.0.7", &["10.96.0.7 web.shop.svc.cluster.local"]),
        (
            "ahostsv4 web",
            &["10.96.0.7 DGRAM", "10.96.0.7 RAW", "10.96.0.7 STREAM web.shop.svc.cluster.local"],
        ),
    ] {
        let all: Vec<&str> = ["getent"].into_iter().chain(words.split(' ')).collect();
        let said = world.client.run(&all)?;
        let words_of = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let said: Vec<String> = lines(&said).into_iter().map(words_of).collect();
        ensure!(said == want, "getent {words}: {said:?}, not {want:?}");
    }
    let all = world.client.run(&["getent", "ahostsv4", "db"])?;
    ensure!(all.contains("10.0.2.10") && all.contains("10.0.2.11"), "getent ahostsv4 db: {all}");
    ensure!(world.client.run(&["getent", "hosts", "nothing"]).is_err(), "nothing is found");
    Ok(())
}

/// Many queries at once to every address of the server, from connected sockets: they receive nothing
/// that comes from another address.
fn from_the_asked_address(world: &World) -> anyhow::Result<()> {
    const ROUNDS: usize = 20;
    const AT_ONCE: usize = 64;
    let servers: Vec<SocketAddr> = SERVER
        .iter()
        .map(|address| Ok(SocketAddr::new(address.parse()?, 53)))
        .collect::<anyhow::Result<_>>()?;
    for _ in 0..ROUNDS {
        let sockets: Vec<(UdpSocket, Message)> = world.client.inside(|| {
            (0..AT_ONCE)
                .map(|index| {
                    let server = servers[index % servers.len()];
                    let own = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    let socket = UdpSocket::bind(own)?;
                    socket.connect(server)?;
                    socket.set_nonblocking(true)?;
                    let name = format!("10-0-0-{index}.shop.pod.cluster.local.");
                    Ok((socket, dns::query(&name, "A", None)?))
                })
                .collect()
        })?;
        for (socket, query) in &sockets {
            socket.send(&query.to_vec()?)?;
        }
        for (index, (socket, query)) in sockets.iter().enumerate() {
            let from = servers[index % servers.len()];
            let reply = patient_reply(socket).with_context(|| format!("asking {from}"))?;
            let reply = Message::from_vec(&reply)?;
            ensure!(reply.metadata.id == query.metadata.id, "another query's reply");
            let want = format!("10.0.0.{index}");
            let got: Vec<String> = reply.answers.iter().map(|one| one.data.to_string()).collect();
            ensure!(got == [want], "query {index} is answered {got:?}");
        }
    }
    for server in servers {
        let reply = world
            .client
            .inside(|| dns::ask(server, &dns::query(WEB, "A", None)?, Transport::Tcp))?;
        ensure!(reply.answers.len() == 1, "{server} over TCP: {reply:?}");
    }
    Ok(())
}

fn patient_reply(socket: &UdpSocket) -> anyhow::Result<Vec<u8>> {
    let (start, mut reply) = (Instant::now(), vec![0; 4096]);
    loop {
        match socket.recv(&mut reply) {
            Ok(len) => {
                reply.truncate(len);
                return Ok(reply);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        ensure!(start.elapsed() < PATIENCE / 6, "no reply from the address that was asked");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A link-local address means something on its link only: the reply must leave there.
fn link_local(world: &World) -> anyhow::Result<()> {
    let addresses = world
        .server
        .run(&["ip", "-6", "-o", "address", "show", "dev", "server", "scope", "link"])?;
    let address = addresses.split_whitespace().nth(3).context("a link-local address")?;
    let address = address.split('/').next().unwrap_or(address);
    let IpAddr::V6(address) = address.parse()? else { anyhow::bail!("{address} is no IPv6") };
    let link = world.client.run(&["ip", "-o", "link", "show", "dev", "client"])?;
    let index: u32 = link.split(':').next().context("the link's number")?.parse()?;
    let server = SocketAddr::from(SocketAddrV6::new(address, 53, 0, index));
    for transport in [Transport::Udp, Transport::Tcp] {
        // The address is tentative for a moment after the link came up.
        let start = Instant::now();
        let reply = loop {
            let query = dns::query(WEB, "A", None)?;
            match world.client.inside(|| dns::ask(server, &query, transport)) {
                Err(_) if start.elapsed() < PATIENCE / 6 => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                outcome => break outcome?,
            }
        };
        ensure!(reply.answers.len() == 1, "{server} over {transport:?}: {reply:?}");
    }
    Ok(())
}
