//! A server that follows something, and where it can be asked.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use daymark_tests::{pages, peers, ports, process::Program};
use tempfile::TempDir;

/// A running server with its pages.
pub(crate) struct Live {
    /// It.
    pub(crate) program: Program,
    /// Where it answers DNS.
    pub(crate) dns: SocketAddr,
    /// Its `/metrics`.
    pub(crate) metrics: SocketAddr,
    ready: SocketAddr,
    _scratch: TempDir,
}

impl Live {
    /// Starts a server; `kubernetes` goes into that plugin's block, `manifests` is its folder.
    ///
    /// # Errors
    /// If it can't be started or does not show its pages.
    pub(crate) fn start(kubernetes: &str, manifests: Option<&Path>) -> anyhow::Result<Self> {
        let [dns, ready, metrics] =
            [(); 3].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free())));
        let corefile = format!(
            ".:{} {{
                bind 127.0.0.1
                errors
                ready {ready}
                prometheus {metrics}
                kubernetes cluster.local in-addr.arpa {{
                    {kubernetes}
                }}
            }}\n",
            dns.port()
        );
        let scratch = tempfile::Builder::new().prefix("daymark-changes-").tempdir()?;
        let conf = scratch.path().join("Corefile");
        std::fs::write(&conf, corefile)?;
        let mut arguments = vec!["dns".into(), "--conf".into(), conf.into_os_string()];
        if let Some(manifests) = manifests {
            arguments.extend(["--manifests".into(), manifests.as_os_str().to_owned()]);
        }
        let log = scratch.path().join("log");
        let mut program = Program::start(&peers::daymark(), arguments, &log)?;
        program.wait_until_listening(ready)?;
        Ok(Live { program, dns, metrics, ready, _scratch: scratch })
    }

    /// Status of `/ready`.
    ///
    /// # Errors
    /// If it can't be had.
    pub(crate) fn readiness(&self) -> anyhow::Result<u16> {
        Ok(pages::page(self.ready, "/ready")?.0)
    }

    /// Waits until `/ready` says 200.
    ///
    /// # Errors
    /// If it does not in time.
    pub(crate) fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let ready = self.ready;
        let is_ready = || pages::page(ready, "/ready").is_ok_and(|(status, _)| status == 200);
        self.program.wait_until("ready", is_ready)
    }

    /// A metric, summed over the label sets that contain `label`.
    ///
    /// # Errors
    /// If the page can't be had.
    pub(crate) fn metric(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        pages::metric(self.metrics, name, label)
    }
}
