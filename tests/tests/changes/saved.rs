//! The state survives: a server that starts while the API is away answers from its last state.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::ensure;
use daymark_tests::{asking, pages, peers, ports, process::Program};
use http::Method;

use crate::{
    api::{World, follows},
    objects::{service, service_path},
};

/// A server that saves its state.
struct Served {
    program: Program,
    dns: SocketAddr,
    pages: SocketAddr,
}

fn start(world: &World, folder: &Path) -> anyhow::Result<Served> {
    let free = || SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
    let (dns, pages) = (free(), free());
    let corefile = format!(
        "cluster.local:{} {{\n bind 127.0.0.1\n errors\n ready {pages}\n prometheus {pages}\n \
         kubernetes {{\n {}\n startup_timeout 1s\n }}\n}}\n",
        dns.port(),
        follows(&world.plane),
    );
    let (conf, state) = (folder.join("Corefile"), folder.join("state"));
    fs::write(&conf, corefile)?;
    fs::create_dir_all(&state)?;
    let [state, conf] = [state, conf].map(|path| path.display().to_string());
    let words = ["dns", "--state-dir", &state, "-conf", &conf];
    let log = folder.join(format!("log-{}", dns.port()));
    let mut program = Program::start(&peers::daymark(), words, &log)?;
    program.wait_until_listening(dns)?;
    Ok(Served { program, dns, pages })
}

/// A server is started, stopped, and started again with the API away; then the API is back, and has
/// changed meanwhile.
pub(crate) fn survives(world: &World) -> anyhow::Result<()> {
    let (plane, folder) = (&world.plane, tempfile::tempdir()?);
    plane.make(&service("default", "survivor", "10.96.200.1"))?;
    let survivor = "survivor.default.svc.cluster.local.";
    let newcomer = "newcomer.default.svc.cluster.local.";
    let mut first = start(world, folder.path())?;
    asking::wait_for(first.dns, survivor, "A", "10.96.200.1")?;
    first.program.signal("TERM")?;
    first.program.wait_for_end()?;
    // What comes after that is not in the file.
    plane.make(&service("default", "newcomer", "10.96.200.2"))?;
    plane.call(Method::DELETE, &service_path("default", "survivor"), None)?;
    plane.stop()?;

    let mut second = start(world, folder.path())?;
    let found = [survivor, newcomer].map(|name| asking::answer(second.dns, name, "A"));
    let [old, new] = found;
    ensure!((old?, new?) == ("10.96.200.1".to_owned(), "NXDOMAIN".to_owned()), "not as saved");
    let (status, ready) = pages::page(second.pages, "/ready")?;
    ensure!(status == 200 && ready.contains("answering from the state saved"), "{status} {ready}");
    let pages = second.pages;
    let age = || pages::metric(pages, "daymark_cluster_saved_state_age_seconds", "zone");
    ensure!(age()? > 0.0, "the metric says so");
    second.program.wait_until_said("answering from the state saved")?;

    plane.start_again()?;
    asking::wait_for(second.dns, survivor, "A", "NXDOMAIN")?;
    asking::wait_for(second.dns, newcomer, "A", "10.96.200.2")?;
    second.program.wait_until("all told", || age().is_ok_and(|age| age == 0.0))?;
    let (_, ready) = pages::page(second.pages, "/ready")?;
    ensure!(!ready.contains("saved"), "{ready}");
    Ok(())
}
