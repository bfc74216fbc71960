//! A server with a Corefile and one Service in a folder.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use daymark_tests::{
    dns::{self, Transport},
    namespace::tool_path,
    peers, ports,
    process::Program,
};
use tempfile::TempDir;

/// The Service's name.
pub(crate) const NAME: &str = "web.shop.svc.cluster.local.";

/// A folder with a Corefile and one Service, and the port it shall be served on.
pub(crate) struct Rig {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let rig = Rig { folder: tempfile::tempdir().unwrap(), port: ports::free() };
        fs::create_dir(rig.manifests()).unwrap();
        rig.write_service("10.96.0.7");
        rig.write_corefile("");
        rig
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    pub(crate) fn corefile(&self) -> PathBuf {
        self.folder.path().join("Corefile")
    }

    pub(crate) fn write_service(&self, address: &str) {
        let manifest = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\n\
             spec: {{clusterIP: {address}, ports: [{{port: 80}}]}}\n"
        );
        fs::write(self.manifests().join("web.yaml"), manifest).unwrap();
    }

    /// Kubeadm-like, with `more` lines.
    pub(crate) fn write_corefile(&self, more: &str) {
        let text = format!(
            ".:{} {{\n    bind 127.0.0.1\n    errors\n    kubernetes cluster.local\n{more}}}\n",
            self.port
        );
        fs::write(self.corefile(), text).unwrap();
    }

    /// Starts it by a command that runs what follows it, with further arguments.
    pub(crate) fn start_under(&self, command: &[&str], more: &[&str]) -> Program {
        let log = self.folder.path().join("log");
        let text = |path: PathBuf| path.display().to_string();
        let mut words: Vec<String> = command.iter().map(ToString::to_string).collect();
        words.extend([text(peers::daymark()), "dns".into(), "--conf".into()]);
        words.extend([text(self.corefile()), "--manifests".into(), text(self.manifests())]);
        words.extend(more.iter().map(ToString::to_string));
        let program = words.remove(0);
        let program = tool_path(&program).unwrap_or_else(|| program.into());
        Program::start(&program, words, &log).unwrap()
    }

    pub(crate) fn serve(&self) -> Program {
        self.serve_under(&[])
    }

    pub(crate) fn serve_under(&self, command: &[&str]) -> Program {
        let mut program = self.start_under(command, &[]);
        program.wait_until_listening(self.server()).unwrap();
        program
    }

    pub(crate) fn server(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn answer(&self) -> Option<String> {
        let query = dns::query(NAME, "A", None).unwrap();
        let reply = dns::ask(self.server(), &query, Transport::Udp).ok()?;
        reply.answers.first().map(dns::presentation)
    }
}

/// Starts a server that must not start, and gives what it said.
pub(crate) fn refusal(rig: &Rig) -> String {
    refusal_under(rig, &[], &[])
}

/// The same, by a command and with further arguments.
pub(crate) fn refusal_under(rig: &Rig, command: &[&str], more: &[&str]) -> String {
    let mut program = rig.start_under(command, more);
    let status = program.wait_for_end().unwrap();
    assert!(!status.success(), "it must not start");
    program.output()
}
