//! A server that speaks everything, by CoreDNS or by Daymark.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use daymark_tests::{
    certificates::{Authority, Identity, Validity},
    dns, encrypted, peers, ports,
    process::Program,
};
use hickory_proto::op::Message;
use tempfile::TempDir;

/// A name with one address.
pub(crate) const NAME: &str = "www.example.org.";
/// A name whose reply is larger than any datagram should be.
pub(crate) const LARGE: &str = "large.example.org.";
/// Addresses that [`LARGE`] has.
pub(crate) const ADDRESSES: usize = 400;

/// A running server.
pub(crate) struct Served {
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
    pub(crate) program: Program,
    pub(crate) dns: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) quic: SocketAddr,
    pub(crate) https3: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

/// What a server is started with.
pub(crate) struct Setting<'a> {
    /// The program, and what comes before `-conf`.
    pub(crate) program: (PathBuf, &'a [&'a str]),
    /// Where it listens.
    pub(crate) host: IpAddr,
    /// Inside the `tls` block; `@CA@` is an authority's file.
    pub(crate) tls: &'a str,
    /// More directives for all blocks.
    pub(crate) more: &'a str,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Setting {
            program: (peers::daymark(), &["dns"]),
            host: Ipv4Addr::LOCALHOST.into(),
            tls: "",
            more: "",
        }
    }
}

impl Setting<'_> {
    pub(crate) fn start(&self) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "authority").unwrap();
        let identity = authority.issue("localhost", Validity::Good).unwrap();
        let [dns, tls, https, quic, https3, metrics] =
            std::array::from_fn(|_| SocketAddr::new(self.host, ports::free()));
        let addresses: String = (0..ADDRESSES)
            .map(|n| format!("        10.1.{}.{} large.example.org\n", n / 250, n % 250))
            .collect();
        let block = |scheme: &str, at: SocketAddr| {
            format!(
                "{scheme}://.:{} {{\n    bind {}\n    tls {} {}{} {{\n        {}\n    }}\n    \
                 prometheus {metrics}\n    {}\n    hosts {{\n        10.0.0.1 www.example.org\n\
                 {addresses}    }}\n}}\n",
                at.port(),
                self.host,
                identity.certificate.display(),
                identity.key.display(),
                if self.tls.is_empty() {
                    String::new()
                } else {
                    format!(" {}", authority.certificate().display())
                },
                self.tls,
                self.more,
            )
        };
        let corefile = [
            block("dns", dns),
            block("tls", tls),
            block("https", https),
            block("quic", quic),
            block("https3", https3),
        ];
        let conf = folder.path().join("Corefile");
        std::fs::write(&conf, corefile.concat()).unwrap();
        let (path, before) = &self.program;
        let arguments = before.iter().map(ToString::to_string);
        let arguments = arguments.chain(["-conf".to_owned(), conf.display().to_string()]);
        let mut program = Program::start(path, arguments, &folder.path().join("log")).unwrap();
        for address in [dns, tls, https] {
            program.wait_until_listening(address).unwrap();
        }
        Served { folder, authority, program, dns, tls, https, quic, https3, metrics }
    }
}

impl Served {
    /// A client that believes the server's authority.
    pub(crate) fn client(&self, identity: Option<&Identity>) -> encrypted::Client {
        encrypted::Client::new(&self.authority.certificate(), identity).unwrap()
    }
}

/// The octets of a query with id 0.
pub(crate) fn query(name: &str) -> Vec<u8> {
    encrypted::anonymous(dns::query(name, "A", None).unwrap()).unwrap()
}

/// How many answers a reply has, which must be NOERROR and whole.
pub(crate) fn answers(reply: &[u8]) -> usize {
    let reply = Message::from_vec(reply).unwrap();
    assert_eq!(u16::from(reply.metadata.response_code), 0);
    assert!(!reply.metadata.truncation);
    reply.answers.len()
}
