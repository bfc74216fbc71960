//! Certificates by ACME (`tls` with `acme`) from Pebble, the authority that Let's Encrypt tests with. CoreDNS gets
//! its certificate from the same Corefile.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::ensure;
use daymark_tests::{
    certificates::{Authority, Validity},
    dns::{self, Transport},
    encrypted::Client,
    peers, ports,
    process::{Program, retried},
    suite::Suite,
};
use libtest_mimic::Failed;

fn main() -> ExitCode {
    Suite::run("certificates can be fetched", prepare)
}

fn prepare(suite: &mut Suite) -> anyhow::Result<()> {
    let mut add = |name: &str, run: fn(&Path) -> anyhow::Result<()>| {
        let missing = ["pebble", "coredns"].into_iter().find_map(|peer| peers::program(peer).err());
        if let Some(reason) = missing {
            suite.skipped(name, &reason);
            return;
        }
        let folder = suite.scratch().join(name.replace(' ', "-"));
        suite.trial(name.to_owned(), move || {
            std::fs::create_dir_all(&folder)?;
            run(&folder).map_err(|error| {
                let said =
                    |log: &str| std::fs::read_to_string(folder.join(log)).unwrap_or_default();
                Failed::from(format!("{error:#}\n{}{}", said("server.log"), said("pebble.log")))
            })
        });
    };
    add("certificates come and outlive the process", come_and_stay);
    add("a short-lived certificate is renewed", is_renewed);
    add("CoreDNS gets one from the same Corefile", coredns_too);
    Ok(())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// An authority that asks a DNS server for its proofs.
struct Pebble {
    folder: PathBuf,
    management: u16,
    /// Where its directory is, by a name that only the tested server knows.
    directory: String,
    /// Who issued the certificate of its own HTTPS.
    ca: PathBuf,
    program: Program,
}

impl Pebble {
    /// One whose certificates are good for so many seconds.
    fn start(folder: &Path, dns: u16, seconds: u32) -> anyhow::Result<Self> {
        let (port, management) = (ports::free(), ports::free());
        let authority = Authority::new(folder, "https")?;
        let own = authority.issue_for("pebble", &["ca.test", "localhost"], Validity::Good)?;
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": own.certificate,
            "privateKey": own.key,
            "httpPort": ports::free(),
            "tlsPort": ports::free(),
            "profiles": { "default": { "description": "", "validityPeriod": seconds } },
        }});
        let conf = folder.join("pebble.json");
        std::fs::write(&conf, config.to_string())?;
        let program = peers::program("pebble").map_err(anyhow::Error::msg)?;
        let arguments =
            ["-config", &conf.display().to_string(), "-dnsserver", &loopback(dns).to_string()];
        let environment = [("PEBBLE_VA_NOSLEEP".to_owned(), "1".to_owned())];
        let log = folder.join("pebble.log");
        let mut program = Program::start_in(folder, &program, arguments, &environment, &log)?;
        program.wait_until_listening(loopback(port))?;
        let directory = format!("https://ca.test:{port}/dir");
        let folder = folder.to_owned();
        Ok(Pebble { folder, management, directory, ca: authority.certificate(), program })
    }

    /// A client that believes what it issues.
    fn client(&self) -> anyhow::Result<Client> {
        let url = format!("https://localhost:{}/roots/0", self.management);
        let ca = self.ca.display().to_string();
        let output = Command::new("curl").args(["-sSf", "--cacert", &ca, &url]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let root = self.folder.join("root.pem");
        std::fs::write(&root, output.stdout)?;
        Client::new(&root, None)
    }
}

/// A server that answers the authority's questions at `dns`, and shows its certificates at `tls`.
fn corefile(pebble: &Pebble, dns: u16, tls: u16, storage: &Path) -> String {
    format!(
        ".:{dns} {{\n  bind 127.0.0.1\n  hosts {{\n    127.0.0.1 ca.test\n    fallthrough\n  }}\n  whoami\n}}\n\
         tls://.:{tls} {{\n  bind 127.0.0.1\n  tls {{\n    acme dns.test *.wild.test\n    email me@dns.test\n    \
         ca {}\n    ca_root {}\n    storage {}\n    resolver 127.0.0.1:{dns}\n  }}\n  whoami\n}}\n",
        pebble.directory,
        pebble.ca.display(),
        storage.display(),
    )
}

fn serve(folder: &Path, program: &Path, words: &[&str], corefile: &str) -> anyhow::Result<Program> {
    let path = folder.join("Corefile");
    std::fs::write(&path, corefile)?;
    let path = path.display().to_string();
    let arguments = words.iter().copied().chain(["-conf", &path]);
    Program::start(program, arguments, &folder.join("server.log"))
}

/// Asks over TLS, where the certificate has to be one for `name`.
fn asked(client: &Client, port: u16, name: &str) -> anyhow::Result<()> {
    let query = dns::query("a.test.", "A", None)?;
    client.ask(Transport::Tls, loopback(port), name, &query).map(drop)
}

fn come_and_stay(folder: &Path) -> anyhow::Result<()> {
    let (dns, tls, storage) = (ports::free(), ports::free(), folder.join("storage"));
    let pebble = Pebble::start(folder, dns, 90 * 86_400)?;
    let corefile = corefile(&pebble, dns, tls, &storage);
    let client = pebble.client()?;
    let mut server = serve(folder, &peers::daymark(), &["dns"], &corefile)?;
    retried(|| asked(&client, tls, "dns.test"))?;
    retried(|| asked(&client, tls, "any.wild.test"))?;
    ensure!(asked(&client, tls, "other.test").is_err(), "a name that it has no certificate for");
    let proof = dns::query("_acme-challenge.dns.test.", "TXT", None)?;
    let reply = dns::ask(loopback(dns), &proof, Transport::Udp)?;
    ensure!(reply.answers.is_empty(), "the proof is still there: {:?}", reply.answers);

    server.signal("USR1")?;
    server.wait_until_said("Reloading complete")?;
    asked(&client, tls, "dns.test")?;
    let came = server.output().matches("got a certificate").count();
    ensure!(came == 2, "{came} certificates came, though the first ones are good");

    drop(pebble.program);
    drop(server);
    let mut server = serve(folder, &peers::daymark(), &["dns"], &corefile)?;
    server.wait_until_listening(loopback(tls))?;
    asked(&client, tls, "dns.test")?;
    asked(&client, tls, "any.wild.test")
}

fn is_renewed(folder: &Path) -> anyhow::Result<()> {
    let (dns, tls, storage) = (ports::free(), ports::free(), folder.join("storage"));
    // Due at once: two thirds of its time are over a second after it came.
    let pebble = Pebble::start(folder, dns, 2)?;
    let corefile = corefile(&pebble, dns, tls, &storage);
    let mut server = serve(folder, &peers::daymark(), &["dns"], &corefile)?;
    server.wait_until_said("got a certificate for *.wild.test")?;
    let files = std::fs::read_dir(&storage)?.map(|entry| Ok(entry?.path()));
    let files: Vec<PathBuf> = files.collect::<anyhow::Result<_>>()?;
    let first = std::fs::read(files[0].join("dns.test.crt"))?;
    drop(server);
    let mut server = serve(folder, &peers::daymark(), &["dns"], &corefile)?;
    server.wait_until_said("got a certificate for dns.test")?;
    ensure!(std::fs::read(files[0].join("dns.test.crt"))? != first, "it is the same");
    Ok(())
}

fn coredns_too(folder: &Path) -> anyhow::Result<()> {
    let (dns, tls, storage) = (ports::free(), ports::free(), folder.join("storage"));
    let pebble = Pebble::start(folder, dns, 90 * 86_400)?;
    let corefile = corefile(&pebble, dns, tls, &storage);
    let client = pebble.client()?;
    let coredns = peers::program("coredns").map_err(anyhow::Error::msg)?;
    let _server = serve(folder, &coredns, &[], &corefile)?;
    retried(|| asked(&client, tls, "dns.test"))?;
    retried(|| asked(&client, tls, "any.wild.test"))
}
