//! What a test that is killed leaves running: nothing.
#![expect(clippy::unwrap_used, reason = "a test stops where it can go no further")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use daymark_tests::{
    control_plane::ControlPlane,
    namespace::tool_path,
    peers,
    process::{PATIENCE, Program},
};

/// Set for the process that is to be killed.
const VICTIM: &str = "DAYMARK_TESTS_VICTIM";

/// In a process of its own, starts something and tells the ids of its processes; is killed, and looks
/// whether those live on.
fn dies_with_its_test(test: &str, start: impl FnOnce() -> (Box<dyn std::any::Any>, Vec<u32>)) {
    if std::env::var_os(VICTIM).is_some() {
        let (_running, ids) = start();
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        println!("\nstarted {}", ids.join(" "));
        std::thread::sleep(2 * PATIENCE);
        return;
    }
    // What it can't tidy up itself any more.
    let scratch = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--nocapture", "--exact", test])
        .env(VICTIM, "1")
        .env("TMPDIR", scratch.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let started = lines.filter_map(|line| line.strip_prefix("started ").map(str::to_owned)).next();
    let started = started.expect("the victim tells what it started");
    let runs = |id: &str| {
        let status = fs::read_to_string(format!("/proc/{id}/status"));
        status.is_ok_and(|status| !status.contains("State:\tZ"))
    };
    assert!(started.split(' ').all(runs), "{started}");
    victim.kill().unwrap();
    victim.wait().unwrap();
    let killed = Instant::now();
    while let Some(id) = started.split(' ').find(|id| runs(id)) {
        assert!(killed.elapsed() < PATIENCE, "{id} runs on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_program() {
    if tool_path("setpriv").is_none() {
        return println!("skipped: setpriv is not installed");
    }
    dies_with_its_test("a_program", || {
        let log = tempfile::NamedTempFile::new().unwrap();
        let sleep = tool_path("sleep").unwrap();
        let mut program = Program::start(&sleep, ["600"], log.path()).unwrap();
        // Before, it is still `setpriv`, which may not yet have asked the kernel.
        let name = format!("/proc/{}/comm", program.id());
        let runs = || fs::read_to_string(&name).is_ok_and(|name| name == "sleep\n");
        program.wait_until("itself", runs).unwrap();
        let id = program.id();
        (Box::new(program), vec![id])
    });
}

#[test]
fn a_control_plane() {
    let peers = ["etcd", "kube-apiserver"];
    if let Some(reason) = peers.into_iter().find_map(|peer| peers::program(peer).err()) {
        return println!("skipped: {reason}");
    }
    dies_with_its_test("a_control_plane", || {
        let plane = ControlPlane::start().unwrap();
        let folder = plane.kubeconfig().parent().unwrap().to_owned();
        let id = |peer| fs::read_to_string(folder.join(format!("{peer}.pid"))).unwrap();
        let ids = peers.map(|peer| id(peer).trim().parse().unwrap()).to_vec();
        (Box::new(plane), ids)
    });
}
