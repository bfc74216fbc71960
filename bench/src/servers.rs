//! The servers that are compared, each pinned to the same core, with the same names.

use std::path::{Path, PathBuf};

use anyhow::Context;
use daymark_tests::{
    dns::{self, Transport},
    pages, peers, ports,
    process::{Program, retried},
};

use crate::measure::{SERVER_CORE, local};

/// A server under test.
pub struct Server {
    /// Its name in the report.
    pub name: &'static str,
    /// The process.
    pub program: Program,
    /// Its DNS port on loopback.
    pub port: u16,
    /// Ports of further transports, in the order in which they were asked for.
    pub transports: Vec<u16>,
    /// Its HTTP port for metrics, if it has one.
    pub metrics: Option<u16>,
    /// Its HTTP port for readiness, if it has one.
    pub ready: Option<u16>,
}

/// What Daymark and CoreDNS are configured with beside the cluster.
#[derive(Clone, Default)]
pub struct Extra {
    /// Further lines of the server block: `cache 30`, `forward …`.
    pub lines: String,
    /// Cgroup to start it in.
    pub cgroup: Option<PathBuf>,
    /// Further transports, each with a port of its own; `lines` has the `tls` for them.
    pub transports: &'static [&'static str],
}

/// Starts Daymark from kubeadm's Corefile, its objects from the API server.
///
/// # Errors
/// If it does not come up.
pub fn daymark(folder: &Path, kubeconfig: &Path, extra: &Extra) -> anyhow::Result<Server> {
    let program = peers::daymark();
    with_corefile("daymark", &program, &["dns", "--conf"], folder, kubeconfig, extra)
}

/// Starts CoreDNS with the same Corefile.
///
/// # Errors
/// If it does not come up.
pub fn coredns(folder: &Path, kubeconfig: &Path, extra: &Extra) -> anyhow::Result<Server> {
    let program = peers::program("coredns").map_err(anyhow::Error::msg)?;
    with_corefile("coredns", &program, &["-conf"], folder, kubeconfig, extra)
}

fn with_corefile(
    name: &'static str,
    program: &Path,
    flags: &[&str],
    folder: &Path,
    kubeconfig: &Path,
    extra: &Extra,
) -> anyhow::Result<Server> {
    let (port, metrics, ready, health) =
        (ports::free(), ports::free(), ports::free(), ports::free());
    let transports: Vec<u16> = extra.transports.iter().map(|_| ports::free()).collect();
    let more: String = extra
        .transports
        .iter()
        .zip(&transports)
        .map(|(scheme, port)| format!(" {scheme}://.:{port}"))
        .collect();
    let corefile = format!(
        ".:{port}{more} {{\n    errors\n    health 127.0.0.1:{health} {{\n        lameduck 5s\n    }}\n    \
         ready 127.0.0.1:{ready}\n    kubernetes cluster.local in-addr.arpa ip6.arpa {{\n        \
         kubeconfig {}\n        pods insecure\n        fallthrough in-addr.arpa ip6.arpa\n        \
         ttl 30\n    }}\n    prometheus 127.0.0.1:{metrics}\n{}    reload\n    loadbalance\n}}\n",
        kubeconfig.display(),
        extra.lines,
    );
    let path = folder.join(format!("{name}-{port}.corefile"));
    std::fs::write(&path, corefile)?;
    let mut arguments: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    arguments.push(path.display().to_string());
    let log = folder.join(format!("{name}-{port}.log"));
    let program = match &extra.cgroup {
        None => pinned(program, &arguments, &log)?,
        Some(cgroup) => {
            // A program that reads its quota at the start has to find it there already.
            let joining = r#"echo $$ > "$0" && exec "$@""#;
            let procs = cgroup.join("cgroup.procs").display().to_string();
            let mut all = vec!["-c".to_owned(), joining.to_owned(), procs];
            all.push(program.display().to_string());
            all.extend(arguments);
            pinned(&which("sh"), &all, &log)?
        }
    };
    let (metrics, ready) = (Some(metrics), Some(ready));
    Ok(Server { name, program, port, transports, metrics, ready })
}

/// Starts Knot DNS with the zone.
///
/// # Errors
/// If it does not come up.
pub fn knot(folder: &Path, zone: &Path) -> anyhow::Result<Server> {
    let port = ports::free();
    let own = own_folder(folder, "knot")?;
    let configuration = format!(
        "server:\n    listen: 127.0.0.1@{port}\n    rundir: {own}\n    udp-workers: 1\n    \
         tcp-workers: 1\n    background-workers: 1\nlog:\n  - target: stderr\n    any: error\n\
         database:\n    storage: {own}\nzone:\n  - domain: cluster.local\n    file: {}\n",
        zone.display(),
        own = own.display(),
    );
    let path = own.join("knot.conf");
    std::fs::write(&path, configuration)?;
    let arguments = ["-c".to_owned(), path.display().to_string()];
    let program = pinned(Path::new("knotd"), &arguments, &own.join("log"))?;
    Ok(Server { name: "knot", program, port, transports: Vec::new(), metrics: None, ready: None })
}

/// Starts NSD with the zone.
///
/// # Errors
/// If it does not come up.
pub fn nsd(folder: &Path, zone: &Path) -> anyhow::Result<Server> {
    let port = ports::free();
    let own = own_folder(folder, "nsd")?;
    let configuration = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  server-count: 1\n  \
         rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n  zonesdir: {own}\n  database: \"\"\n  pidfile: {own}/pid\n  xfrdfile: {own}/xfrd\n  \
         zonelistfile: {own}/zones\nremote-control:\n  control-enable: no\n\
         zone:\n  name: cluster.local\n  zonefile: {}\n",
        zone.display(),
        own = own.display(),
    );
    let path = own.join("nsd.conf");
    std::fs::write(&path, configuration)?;
    let arguments = ["-d".to_owned(), "-c".to_owned(), path.display().to_string()];
    let program = pinned(Path::new("nsd"), &arguments, &own.join("log"))?;
    Ok(Server { name: "nsd", program, port, transports: Vec::new(), metrics: None, ready: None })
}

/// Starts unbound as the resolver behind a forwarder, on the generator's side of the machine.
///
/// # Errors
/// If it does not come up.
pub fn unbound(folder: &Path, local_data: &str) -> anyhow::Result<Server> {
    let port = ports::free();
    let own = own_folder(folder, "unbound")?;
    let configuration = format!(
        "server:\n  interface: 127.0.0.1\n  port: {port}\n  do-daemonize: no\n  username: \"\"\n  \
         chroot: \"\"\n  directory: {own}\n  pidfile: {own}/pid\n  use-syslog: no\n  num-threads: 1\n  \
         local-zone: example.com. static\n{local_data}",
        own = own.display(),
    );
    let path = own.join("unbound.conf");
    std::fs::write(&path, configuration)?;
    let arguments = ["-c".to_owned(), path.display().to_string()];
    let program = Program::start(&which("unbound"), arguments, &own.join("log"))?;
    Ok(Server {
        name: "unbound",
        program,
        port,
        transports: Vec::new(),
        metrics: None,
        ready: None,
    })
}

impl Server {
    /// Waits until it answers `name` with an address.
    ///
    /// # Errors
    /// If it does not in time.
    pub fn wait_for(&mut self, name: &str) -> anyhow::Result<()> {
        let (port, program) = (self.port, &mut self.program);
        program.wait_until(&format!("answering {name}"), || answers(port, name).is_some())
    }
}

/// The addresses that the server at `port` answers for `name`, if it answers any.
pub fn answers(port: u16, name: &str) -> Option<Vec<String>> {
    let query = dns::query(name, "A", None).ok()?;
    let reply = dns::ask(local(port), &query, Transport::Udp).ok()?;
    let addresses: Vec<String> = reply
        .answers
        .iter()
        .filter_map(|record| dns::presentation(record).rsplit(' ').next().map(str::to_owned))
        .collect();
    (!addresses.is_empty()).then_some(addresses)
}

fn own_folder(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let own = folder.join(name);
    std::fs::create_dir_all(&own)?;
    Ok(own)
}

fn pinned(program: &Path, arguments: &[String], log: &Path) -> anyhow::Result<Program> {
    let program = if program.is_absolute() {
        program.to_owned()
    } else {
        which(&program.display().to_string())
    };
    let mut all = vec!["-c".to_owned(), SERVER_CORE.to_owned(), program.display().to_string()];
    all.extend(arguments.iter().cloned());
    // taskset replaces itself with the program, so the process id is the server's.
    Program::start(&which("taskset"), all, log).with_context(|| program.display().to_string())
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| program.into())
}

/// The response of an HTTP server on loopback.
///
/// # Errors
/// If it can't be had.
pub fn page(port: u16, path: &str) -> anyhow::Result<String> {
    pages::response(local(port), path)
}

/// Waits until a page begins with status 200.
///
/// # Errors
/// If it does not in time.
pub fn wait_for_page(port: u16, path: &str) -> anyhow::Result<()> {
    retried(|| {
        let (status, _) = pages::page(local(port), path)?;
        anyhow::ensure!(status == 200, "not yet");
        Ok(())
    })
}
