//! `dnstap`: what is told is what CoreDNS tells; receivers of every kind; receivers that go, come and
//! do not listen; and the tool that people read it with.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, ensure};
use daymark_tests::{
    certificates::{Authority, Validity},
    dns::{self, EdnsOptions, Transport},
    dnstap::{Receiver, Told},
    encrypted::Client,
    pages, peers, ports,
    process::{Program, retried},
    suite::Suite,
    upstream::Upstream,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Placeholders are `@DIR@`, `@PORT@`, `@UPSTREAM@` and those of a trial.
const PLAIN: &str = ".:@PORT@ {
    bind 127.0.0.1
    dnstap @TAP@
    hosts {
        192.0.2.1 www.example
    }
}
";

fn main() -> ExitCode {
    Suite::run("dnstap can be received", prepare)
}

fn prepare(suite: &mut Suite) -> anyhow::Result<()> {
    type Trial = fn(&Path, &Path) -> anyhow::Result<()>;
    let both: [(&str, Trial); 4] = [
        ("a receiver over a unix socket and one over TCP", told_to_two),
        ("a receiver over TLS", receiver_over_tls),
        ("receivers that connect", receivers_that_connect),
        ("receivers that connect over TLS", receivers_that_connect_over_tls),
    ];
    let ours: [(&str, Trial); 5] = [
        ("a receiver that comes late and goes misses nothing", comes_and_goes),
        ("a receiver that does not listen holds up nobody", does_not_listen),
        ("what waits at the end is sent", sent_at_the_end),
        ("a reload keeps telling", reload_keeps_telling),
        ("encrypted transports have their names", encrypted_transports),
    ];
    let mut add = |group: &str, program: Result<PathBuf, String>, name: &str, trial: Trial| {
        let name = format!("{group}: {name}");
        let program = match program {
            Ok(program) => program,
            Err(reason) => return suite.skipped(&name, &reason),
        };
        let folder = suite.scratch().join(suite.size().to_string());
        suite.trial(name, move || {
            std::fs::create_dir_all(&folder)?;
            trial(&folder, &program).map_err(|error| {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                format!("{error:#}\n{log}").into()
            })
        });
    };
    for (name, trial) in both {
        add("daymark", Ok(peers::daymark()), name, trial);
        add("coredns", peers::program("coredns"), name, trial);
    }
    for (name, trial) in ours {
        add("daymark", Ok(peers::daymark()), name, trial);
    }
    let missing = ["coredns", "dnstap"].into_iter().find_map(|peer| peers::program(peer).err());
    let with_peers = match missing {
        None => Ok(peers::daymark()),
        Some(reason) => Err(reason),
    };
    add("both", with_peers.clone(), "the same is told", same_is_told);
    add("both", with_peers, "the tool prints the same", tool_prints_the_same);
    Ok(())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A server that runs a Corefile, and where it answers.
struct Served {
    program: Program,
    at: SocketAddr,
}

impl Served {
    fn start(
        folder: &Path,
        program: &Path,
        corefile: &str,
        values: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let at = loopback(ports::free());
        let path = folder.join("Corefile");
        std::fs::write(&path, filled(corefile, folder, at, values))?;
        let ours = program == peers::daymark();
        let verb = if ours { vec!["dns".to_owned()] } else { Vec::new() };
        let arguments = [verb, vec!["-conf".to_owned(), path.display().to_string()]].concat();
        // What both take for the machine's authorities.
        let authorities = folder.join("authority/ca.crt").display().to_string();
        let environment = [("SSL_CERT_FILE".to_owned(), authorities)];
        let log = folder.join("log");
        let mut program = Program::start_in(folder, program, arguments, &environment, &log)?;
        program.wait_until_listening(at)?;
        Ok(Served { program, at })
    }

    fn ask(&self, name: &str, rtype: &str, transport: Transport) -> anyhow::Result<()> {
        dns::ask(self.at, &dns::query(name, rtype, None)?, transport).map(drop)
    }
}

fn filled(corefile: &str, folder: &Path, at: SocketAddr, values: &[(&str, &str)]) -> String {
    let text =
        values.iter().fold(corefile.to_owned(), |text, (name, value)| text.replace(name, value));
    let text = text.replace("@PORT@", &at.port().to_string());
    text.replace("@DIR@", &folder.display().to_string())
}

/// What a type and a protocol say of each payload.
fn kinds(told: &[Told]) -> Vec<String> {
    told.iter().map(|told| format!("{} {}", told.field("type"), told.field("protocol"))).collect()
}

fn told_to_two(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let upstream = upstream()?;
    let tcp = loopback(ports::free());
    let full = Receiver::unix(&folder.join("tap"))?;
    let bare = Receiver::tcp(tcp, None)?;
    let corefile = ".:@PORT@ {
        bind 127.0.0.1
        metadata
        dnstap unix://@DIR@/tap full 1 2 {
            identity one
            version 7
            extra \"{name} {proto} {/forward/upstream} {rcode}\"
        }
        dnstap tcp://@TCP@
        forward . @UPSTREAM@
    }
    ";
    let (tcp, to) = (tcp.to_string(), upstream.address.to_string());
    let served = Served::start(folder, program, corefile, &[("@TCP@", &tcp), ("@UPSTREAM@", &to)])?;
    served.ask("WWW.up.test.", "A", Transport::Udp)?;
    served.ask("silent.up.test.", "A", Transport::Tcp).ok();
    let told = full.wait_for(4)?;
    let expected = ["CLIENT_QUERY UDP", "FORWARDER_QUERY UDP", "FORWARDER_RESPONSE UDP"];
    ensure!(kinds(&told)[..3] == expected, "{:?}", kinds(&told));
    ensure!(kinds(&told)[3] == "CLIENT_RESPONSE UDP", "{:?}", kinds(&told));
    for (told, has) in told.iter().zip([(true, false), (true, false), (false, true), (false, true)])
    {
        ensure!((told.query.is_some(), told.reply.is_some()) == has, "{told}");
        ensure!(told.field("identity") == "one" && told.field("version") == "7", "{told}");
        let of_client = told.field("type").starts_with("CLIENT_QUERY");
        let asked = if of_client { "-" } else { &to };
        ensure!(told.field("extra") == format!("www.up.test. udp {asked} -"), "{told}");
    }
    ensure!(told[1].field("response_port") == upstream.address.port().to_string(), "{}", told[1]);
    ensure!(!told[1].field("query_port").is_empty(), "{}", told[1]);
    let told = bare.wait_for(4)?;
    for told in &told[..4] {
        ensure!(told.query.is_none() && told.reply.is_none(), "{told}");
        ensure!(told.field("extra").is_empty() && told.field("identity") != "one", "{told}");
        ensure!(told.field("version").contains("-"), "{told}");
    }
    Ok(())
}

fn upstream() -> anyhow::Result<Upstream> {
    Upstream::start(&peers::repository().join("tests/dns/plugins/upstream.zone"))
}

fn tls_server(authority: &Authority, name: &str) -> anyhow::Result<Arc<ServerConfig>> {
    let identity = authority.issue_for("receiver", &[name], Validity::Good)?;
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(&identity.certificate)?],
                PrivateKeyDer::from_pem_file(&identity.key)?,
            )?;
    Ok(Arc::new(config))
}

fn receiver_over_tls(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let authority = Authority::new(folder, "authority")?;
    let other = Authority::new(folder, "other")?;
    let (good, unknown) = (loopback(ports::free()), loopback(ports::free()));
    let trusted = Receiver::tcp(good, Some(tls_server(&authority, "localhost")?))?;
    let stranger = Receiver::tcp(unknown, Some(tls_server(&other, "localhost")?))?;
    let corefile = ".:@PORT@ {
        bind 127.0.0.1
        dnstap tls://localhost:@GOOD@ full
        dnstap tls://localhost:@UNKNOWN@
        dnstap tls://127.0.0.1:@UNKNOWN@ {
            skipverify
        }
        hosts {
            192.0.2.1 www.example
        }
    }
    ";
    let (good, unknown) = (good.port().to_string(), unknown.port().to_string());
    let values = [("@GOOD@", &*good), ("@UNKNOWN@", &unknown)];
    let mut served = Served::start(folder, program, corefile, &values)?;
    served.program.wait_until_said("No connection to dnstap endpoint")?;
    retried(|| {
        ensure!(stranger.connections().0 == 1 && trusted.connections().0 == 1, "not connected");
        Ok(())
    })?;
    served.ask("www.example.", "A", Transport::Udp)?;
    ensure!(trusted.wait_for(2)?[1].reply.is_some());
    ensure!(stranger.wait_for(2)?[1].reply.is_none());
    // The one that the server does not trust got nothing.
    ensure!(stranger.connections().0 == 1);
    Ok(())
}

fn receivers_that_connect(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let tcp = loopback(ports::free());
    let corefile = ".:@PORT@ {
        bind 127.0.0.1
        dnstap listen tcp://@TCP@ full
        dnstap listen @DIR@/tap {
            identity listened-to
        }
        hosts {
            192.0.2.1 www.example
        }
    }
    ";
    let served = Served::start(folder, program, corefile, &[("@TCP@", &tcp.to_string())])?;
    let (one, two, three) = (Receiver::default(), Receiver::default(), Receiver::default());
    one.spawn(retried(|| Ok(TcpStream::connect(tcp)?))?);
    two.spawn(retried(|| Ok(TcpStream::connect(tcp)?))?);
    three.spawn(retried(|| Ok(UnixStream::connect(folder.join("tap"))?))?);
    let all = [&one, &two, &three];
    // A receiver counts from a little after its handshake.
    retried(|| {
        served.ask("www.example.", "A", Transport::Udp)?;
        ensure!(all.iter().all(|receiver| receiver.count() > 1));
        Ok(())
    })?;
    for receiver in all {
        let told = receiver.wait_for(2)?;
        // It may have come between a query and the reply.
        let query = told.iter().find(|told| told.field("type") == "CLIENT_QUERY");
        let query = query.with_context(|| format!("{:?}", kinds(&told)))?;
        ensure!(query.query.is_some() == !std::ptr::eq(receiver, &raw const three), "{query}");
    }
    ensure!(three.wait_for(2)?[0].field("identity") == "listened-to");
    Ok(())
}

fn receivers_that_connect_over_tls(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let authority = Authority::new(folder, "authority")?;
    let server = authority.issue("localhost", Validity::Good)?;
    let client = authority.issue("client", Validity::Good)?;
    let [open, mutual, given] = [(); 3].map(|()| loopback(ports::free()));
    let corefile = ".:@PORT@ {
        bind 127.0.0.1
        dnstap listen tls://@OPEN@ {
            tls @CERT@ @KEY@
        }
        dnstap listen tls://@MUTUAL@ full {
            tls @CERT@ @KEY@ @CA@
        }
        dnstap listen tls://@GIVEN@ {
            tls @CERT@ @KEY@ @CA@
            skipverify
        }
        hosts {
            192.0.2.1 www.example
        }
    }
    ";
    let [open_at, mutual_at, given_at] = [open, mutual, given].map(|at| at.to_string());
    let values = [
        ("@OPEN@", &*open_at),
        ("@MUTUAL@", &mutual_at),
        ("@GIVEN@", &given_at),
        ("@CERT@", &server.certificate.display().to_string()),
        ("@KEY@", &server.key.display().to_string()),
        ("@CA@", &authority.certificate().display().to_string()),
    ];
    let served = Served::start(folder, program, corefile, &values)?;
    let nobody = Client::new(&authority.certificate(), None)?;
    let known = Client::new(&authority.certificate(), Some(&client))?;
    let connected = |client: &Client, at: SocketAddr| {
        let receiver = Receiver::default();
        receiver.spawn(client.tls(at, "localhost")?);
        anyhow::Ok(receiver)
    };
    let welcome = [
        retried(|| connected(&nobody, open))?,
        retried(|| connected(&known, mutual))?,
        retried(|| connected(&nobody, given))?,
        retried(|| connected(&known, given))?,
    ];
    // In TLS 1.3 the client may hear of it only when it reads.
    let refused = connected(&nobody, mutual).unwrap_or_default();
    retried(|| {
        served.ask("www.example.", "A", Transport::Udp)?;
        ensure!(welcome.iter().all(|receiver| receiver.count() > 1));
        Ok(())
    })?;
    let told = welcome[1].wait_for(2)?;
    ensure!(told[..2].iter().any(|told| told.query.is_some()), "{}", told[0]);
    ensure!(refused.connections() == (0, 0) && refused.count() == 0);
    Ok(())
}

fn comes_and_goes(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let tap = folder.join("tap");
    let tap_text = tap.display().to_string();
    let mut served = Served::start(folder, program, PLAIN, &[("@TAP@", &tap_text)])?;
    served.program.wait_until_said("[ERROR] plugin/dnstap: No connection to dnstap endpoint")?;
    served.ask("one.example.", "A", Transport::Udp)?;
    let receiver = Receiver::unix(&tap)?;
    ensure!(receiver.wait_for(2)?.len() == 2);
    // Somebody else takes the place of the first, whose connection breaks.
    std::fs::remove_file(&tap)?;
    let log = folder.join("tool.log");
    let tool = peers::program("dnstap");
    if let Ok(tool) = tool {
        let mut tool = Program::start(&tool, ["-u", &tap_text, "-q"], &log)?;
        retried(|| Ok(ensure!(tap.exists())))?;
        ensure!(!tool.has_ended()?);
    }
    Ok(())
}

fn does_not_listen(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let at = loopback(ports::free());
    let metrics = loopback(ports::free());
    let receiver = Receiver::deaf(at)?;
    let corefile = ".:@PORT@ {
        bind 127.0.0.1
        prometheus @METRICS@
        dnstap tcp://@TAP@ full
        hosts {
            192.0.2.1 www.example
        }
    }
    ";
    let values = [("@TAP@", &*at.to_string()), ("@METRICS@", &metrics.to_string())];
    let mut served = Served::start(folder, program, corefile, &values)?;
    retried(|| Ok(ensure!(receiver.connections().0 == 1)))?;
    let lost = || pages::metric(metrics, "daymark_dnstap_lost_total", "");
    let mut asked = 0;
    // The kernel's buffers take some, the queue 10,000, the rest is dropped.
    while lost()? == 0.0 {
        ensure!(asked < 200_000, "nothing is dropped");
        for _ in 0..2_000 {
            served.ask("www.example.", "A", Transport::Udp)?;
            asked += 1;
        }
    }
    served.program.wait_until_said("[WARNING] plugin/dnstap: Dropped dnstap messages: ")?;
    receiver.hear();
    // What was not dropped arrives, on this connection or the next.
    let told = receiver.wait_for(10_000)?;
    ensure!(told.iter().all(|told| told.field("type").starts_with("CLIENT_")));
    Ok(())
}

fn sent_at_the_end(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let receiver = Receiver::unix(&folder.join("tap"))?;
    let mut served = Served::start(folder, program, PLAIN, &[("@TAP@", "@DIR@/tap full")])?;
    retried(|| Ok(ensure!(receiver.connections().0 == 1)))?;
    for _ in 0..500 {
        served.ask("www.example.", "A", Transport::Udp)?;
    }
    served.program.signal("TERM")?;
    served.program.wait_for_end()?;
    ensure!(receiver.wait_for(1000)?.len() == 1000);
    ensure!(receiver.connections() == (1, 1), "{:?}", receiver.connections());
    Ok(())
}

fn reload_keeps_telling(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let receiver = Receiver::unix(&folder.join("tap"))?;
    let listened = loopback(ports::free());
    let corefile = ".:@PORT@ {
        bind 127.0.0.1
        dnstap @DIR@/tap {
            identity @NAME@
        }
        dnstap listen tcp://@LISTEN@ {
            identity @NAME@
        }
        dnstap listen @DIR@/own {
            identity @NAME@
        }
        hosts {
            192.0.2.1 www.example
        }
    }
    ";
    let at = listened.to_string();
    let values = |name: &'static str| [("@NAME@", name), ("@LISTEN@", &*at).to_owned()];
    let served = Served::start(folder, program, corefile, &values("before"))?;
    served.ask("www.example.", "A", Transport::Udp)?;
    let before = receiver.wait_for(2)?;
    ensure!(before.iter().all(|told| told.field("identity") == "before"));
    let text = filled(corefile, folder, served.at, &values("after"));
    std::fs::write(folder.join("Corefile"), text)?;
    served.program.signal("USR1")?;
    retried(|| {
        served.ask("www.example.", "A", Transport::Udp)?;
        let told = receiver.wait_for(2)?;
        let last = told.last().context("the last one")?;
        ensure!(last.field("identity") == "after", "{last}");
        Ok(())
    })?;
    ensure!(receiver.connections().1 >= 1, "the first connection was not ended as it should be");
    let (over_tcp, over_unix) = (Receiver::default(), Receiver::default());
    over_tcp.spawn(retried(|| Ok(TcpStream::connect(listened)?))?);
    over_unix.spawn(retried(|| Ok(UnixStream::connect(folder.join("own"))?))?);
    for receiver in [over_tcp, over_unix] {
        retried(|| {
            served.ask("www.example.", "A", Transport::Udp)?;
            ensure!(receiver.count() > 0);
            let told = receiver.wait_for(1)?;
            ensure!(told[0].field("identity") == "after", "{}", told[0]);
            Ok(())
        })?;
    }
    Ok(())
}

fn encrypted_transports(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let authority = Authority::new(folder, "authority")?;
    let server = authority.issue("localhost", Validity::Good)?;
    let receiver = Receiver::unix(&folder.join("tap"))?;
    let [tls, https, quic] = [(); 3].map(|()| loopback(ports::free()));
    let block = |scheme: &str, at: SocketAddr| {
        let (port, certificate, key) =
            (at.port(), server.certificate.display(), server.key.display());
        format!(
            "{scheme}://.:{port} {{\n bind 127.0.0.1\n tls {certificate} {key}\n dnstap @DIR@/tap\n whoami\n}}\n"
        )
    };
    let plain = PLAIN.replace("@TAP@", "@DIR@/tap");
    let corefile = [plain, block("tls", tls), block("https", https), block("quic", quic)].concat();
    let _served = Served::start(folder, program, &corefile, &[])?;
    retried(|| Ok(ensure!(receiver.connections().0 == 4)))?;
    let client = Client::new(&authority.certificate(), None)?;
    let query = dns::query("www.example.", "A", None)?;
    for (transport, at, name) in [
        (Transport::Tls, tls, "DOT"),
        (Transport::Https, https, "DOH"),
        (Transport::Quic, quic, "DOQ"),
    ] {
        let before = receiver.count();
        client.ask(transport, at, "localhost", &query)?;
        let told = receiver.wait_for(before + 2)?;
        ensure!(
            told[before..].iter().all(|told| told.field("protocol") == name),
            "{:?}",
            kinds(&told)
        );
    }
    Ok(())
}

/// What both servers are asked, and how they tell it, ports and versions apart.
const COMPARED: &str = ".:@PORT@ {
    bind 127.0.0.1
    metadata
    dnstap @DIR@/tap full {
        identity us
        extra \"{type} {name} {class} {proto} {size} {remote} {local} {>id} {>opcode} {>do} {>bufsize} {rcode} {rsize} {duration} {>rflags} {/forward/upstream} {/no/such} {nothing} }\"
    }
    rewrite name exact renamed.test www.up.test answer auto
    hosts {
        192.0.2.1 www.example
        fallthrough
    }
    forward up.test @UPSTREAM@
}
";

fn questions() -> anyhow::Result<Vec<(hickory_proto::op::Message, Transport)>> {
    let edns = |dnssec_ok| EdnsOptions { size: 1232, dnssec_ok, options: Vec::new() };
    let all = [
        ("www.example.", "A", None, Transport::Udp),
        ("WWW.Example.", "A", Some(edns(false)), Transport::Tcp),
        ("www.example.", "MX", Some(edns(true)), Transport::Udp),
        ("www.up.test.", "A", None, Transport::Udp),
        ("www.up.test.", "A", Some(edns(true)), Transport::Tcp),
        ("renamed.test.", "A", None, Transport::Udp),
        ("servfail.up.test.", "AAAA", None, Transport::Udp),
        ("nothing.up.test.", "TYPE65280", None, Transport::Udp),
    ];
    let query =
        |(number, (name, rtype, edns, transport)): (usize, (_, _, Option<EdnsOptions>, _))| {
            let mut query = dns::query(name, rtype, edns.as_ref())?;
            query.metadata.id = 4711 + number as u16;
            Ok((query, transport))
        };
    all.into_iter().enumerate().map(query).collect()
}

fn same_is_told(folder: &Path, daymark: &Path) -> anyhow::Result<()> {
    let told = |name: &str, program: &Path| -> anyhow::Result<Vec<String>> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let upstream = upstream()?;
        let to = upstream.address.to_string();
        let receiver = Receiver::unix(&folder.join("tap"))?;
        let served = Served::start(&folder, program, COMPARED, &[("@UPSTREAM@", &to)])?;
        let mut all = Vec::new();
        for (query, transport) in questions()? {
            let before = receiver.count();
            let forwarded = query.queries[0].name.to_ascii().contains("test");
            dns::ask(served.at, &query, transport)?;
            let told = receiver.wait_for(before + if forwarded { 4 } else { 2 })?;
            all.extend(told.into_iter().skip(before).map(|mut told| {
                for port in ["query_port", "response_port"] {
                    told.fields.entry(port).and_modify(|port| *port = "there".to_owned());
                }
                told.fields.insert("version", "any".to_owned());
                // CoreDNS has rewritten the client's query by then.
                let renamed = query.queries[0].name.to_ascii().starts_with("renamed");
                if renamed && told.field("type") == "CLIENT_RESPONSE" {
                    told.fields.remove("extra");
                }
                // Names in replies have the letters of the query here, and of the file there.
                told.to_string().to_lowercase().replace(&to, "upstream")
            }));
        }
        Ok(all)
    };
    let ours = told("ours", daymark)?;
    let theirs = told("theirs", &peers::program("coredns").map_err(anyhow::Error::msg)?)?;
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        ensure!(ours == theirs, "payload {number}: ours\n{ours}\ntheirs\n{theirs}");
    }
    ensure!(ours.len() == theirs.len(), "{} and {}", ours.len(), theirs.len());
    Ok(())
}

/// golang-dnstap's tool, as people use it.
fn tool_prints_the_same(folder: &Path, daymark: &Path) -> anyhow::Result<()> {
    let tool = peers::program("dnstap").map_err(anyhow::Error::msg)?;
    let printed = |name: &str, program: &Path| -> anyhow::Result<Vec<String>> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let upstream = upstream()?;
        let to = upstream.address.to_string();
        let tap = folder.join("tap").display().to_string();
        let out = folder.join("printed").display().to_string();
        let mut tool =
            Program::start(&tool, ["-u", &tap, "-q", "-w", &out], &folder.join("tool.log"))?;
        tool.wait_until("listening", || Path::new(&tap).exists())?;
        let served = Served::start(&folder, program, COMPARED, &[("@UPSTREAM@", &to)])?;
        tool.wait_until_said("accepted connection")?;
        let questions = questions()?;
        for (query, transport) in &questions {
            dns::ask(served.at, query, *transport)?;
        }
        drop(served.program.signal("TERM"));
        tool.wait_until_said("closed connection")?;
        tool.signal("INT")?;
        tool.wait_for_end()?;
        // Without the time, and the size, for which CoreDNS does not compress names as for the client.
        let is_kept = |word: &(usize, &str)| word.0 != 0 && word.0 != 4;
        let cut = |line: &str| {
            let words = line.split(' ').enumerate().filter(is_kept);
            words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
        };
        // CoreDNS tells of a reply after it is sent, and the next query may be there by then.
        let mut lines: Vec<String> = std::fs::read_to_string(out)?.lines().map(cut).collect();
        lines.sort_unstable();
        Ok(lines)
    };
    let ours = printed("ours", daymark)?;
    let theirs = printed("theirs", &peers::program("coredns").map_err(anyhow::Error::msg)?)?;
    ensure!(ours.len() == 26, "{ours:#?}");
    ensure!(ours == theirs, "ours {ours:#?}\ntheirs {theirs:#?}");
    Ok(())
}
