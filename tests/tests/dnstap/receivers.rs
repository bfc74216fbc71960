//! Receivers of every kind.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, ensure};
use daymark_tests::{
    certificates::{Authority, Validity},
    dns::{self, Transport},
    dnstap::Receiver,
    encrypted::Client,
    ports,
    process::{eventually, retried},
};
use hickory_proto::op::Message;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::served::{PLAIN, Served, kinds, loopback, upstream};

pub(super) fn told_to_two(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let upstream = upstream()?;
    let full = Receiver::unix(&folder.join("tap"))?;
    let (tcp, bare) = Receiver::tcp(None)?;
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
    // CoreDNS tells of a reply after it is sent: the next query waits until it has.
    let told = full.wait_for(4)?;
    served.ask("silent.up.test.", "A", Transport::Tcp).ok();
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

pub(super) fn receiver_over_tls(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let authority = Authority::new(folder, "authority")?;
    let other = Authority::new(folder, "other")?;
    let (good, trusted) = Receiver::tcp(Some(tls_server(&authority, "localhost")?))?;
    let (unknown, stranger) = Receiver::tcp(Some(tls_server(&other, "localhost")?))?;
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

pub(super) fn receivers_that_connect(folder: &Path, program: &Path) -> anyhow::Result<()> {
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
        ensure!(query.query.is_some() != std::ptr::eq(receiver, &raw const three), "{query}");
    }
    ensure!(three.wait_for(2)?[0].field("identity") == "listened-to");
    Ok(())
}

pub(super) fn receivers_that_connect_over_tls(folder: &Path, program: &Path) -> anyhow::Result<()> {
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

pub(super) fn encrypted_transports(folder: &Path, program: &Path) -> anyhow::Result<()> {
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
    eventually("connected", || receiver.connections().0 == 4)?;
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

pub(super) fn transfers(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let receiver = Receiver::unix(&folder.join("tap"))?;
    let records: String = (0..1500).map(|at| format!("n{at} TXT \"{:>50}\"\n", "")).collect();
    let zone = format!("$TTL 60\n@ SOA ns root 1 60 60 60 30\n@ NS ns\nns A 192.0.2.1\n{records}");
    std::fs::write(folder.join("zone"), zone)?;
    let corefile = ".:@PORT@ {
        bind 127.0.0.1
        dnstap @DIR@/tap full
        transfer a.test {
            to *
        }
        file @DIR@/zone a.test
    }
    ";
    let served = Served::start(folder, program, corefile, &[])?;
    let mut stream = TcpStream::connect(served.at)?;
    let query = dns::query("a.test.", "AXFR", None)?.to_vec()?;
    stream.write_all(&[&(query.len() as u16).to_be_bytes(), &query[..]].concat())?;
    let (mut messages, mut records) = (Vec::new(), 0);
    while records < 1504 {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message)?;
        records += Message::from_vec(&message)?.answers.len();
        messages.push(message);
    }
    ensure!(messages.len() > 1, "the zone is too small for the test");
    let told = receiver.wait_for(1 + messages.len())?;
    ensure!(told.len() == 1 + messages.len(), "{:?}", kinds(&told));
    let answers = told
        .iter()
        .filter_map(|told| told.reply.as_ref())
        .map(|reply| Message::from_vec(reply).map(|message| message.answers.len()));
    let answers: usize = answers.sum::<Result<usize, _>>()?;
    ensure!(answers == 1504, "{answers}");
    Ok(())
}
