//! A server under test, and what stands around it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use daymark_tests::{
    dns::{self, Transport},
    dnstap::Told,
    peers, ports,
    process::Program,
    upstream::Upstream,
};

/// Placeholders are `@DIR@`, `@PORT@`, `@UPSTREAM@` and those of a trial.
pub(super) const PLAIN: &str = ".:@PORT@ {
    bind 127.0.0.1
    dnstap @TAP@
    hosts {
        192.0.2.1 www.example
    }
}
";

pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A server that runs a Corefile, and where it answers.
pub(super) struct Served {
    pub(super) program: Program,
    pub(super) at: SocketAddr,
}

impl Served {
    pub(super) fn start(
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

    pub(super) fn ask(&self, name: &str, rtype: &str, transport: Transport) -> anyhow::Result<()> {
        dns::ask(self.at, &dns::query(name, rtype, None)?, transport).map(drop)
    }
}

pub(super) fn filled(
    corefile: &str,
    folder: &Path,
    at: SocketAddr,
    values: &[(&str, &str)],
) -> String {
    let text =
        values.iter().fold(corefile.to_owned(), |text, (name, value)| text.replace(name, value));
    let text = text.replace("@PORT@", &at.port().to_string());
    text.replace("@DIR@", &folder.display().to_string())
}

/// What a type and a protocol say of each payload.
pub(super) fn kinds(told: &[Told]) -> Vec<String> {
    told.iter().map(|told| format!("{} {}", told.field("type"), told.field("protocol"))).collect()
}

pub(super) fn upstream() -> anyhow::Result<Upstream> {
    Upstream::start(&peers::repository().join("tests/dns/plugins/upstream.zone"))
}
