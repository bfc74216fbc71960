//! Files that can't be read or written: the Corefile, the pidfile, and what the log goes to.

use std::{
    fs::{self, File, Permissions},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt,
    process::Command,
    time::Duration,
};

use daymark_tests::{dns, pages, ports};

use crate::rig::{NAME, Rig, refusal_under};

/// Runs what follows it with both outputs on a full disk.
const FULL: [&str; 4] = ["sh", "-c", "exec \"$@\" >/dev/full 2>/dev/full", "sh"];
/// Takes root's right to read everything away, as a container without capabilities does.
const WITHOUT_RIGHTS: [&str; 2] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];

#[test]
fn a_corefile_that_can_not_be_read_is_named_with_the_cause_and_the_remedy() {
    type Break = fn(&Rig);
    let cases: [(&str, Break, &[&str]); 4] = [
        (
            "missing",
            |rig| fs::remove_file(rig.corefile()).unwrap(),
            &["No such file", "check that it is there"],
        ),
        (
            "a folder",
            |rig| {
                fs::remove_file(rig.corefile()).unwrap();
                fs::create_dir(rig.corefile()).unwrap();
            },
            &["directory", "that it is a file"],
        ),
        (
            "not allowed",
            |rig| fs::set_permissions(rig.corefile(), Permissions::from_mode(0o0)).unwrap(),
            &["Permission denied", "that this user may read it"],
        ),
        (
            "not text",
            |rig| {
                let mut bytes = fs::read(rig.corefile()).unwrap();
                bytes.extend(b"example.org {\n    \xff\xfe\n}\n");
                fs::write(rig.corefile(), bytes).unwrap();
            },
            &["there is no plugin called", ":7:5"],
        ),
    ];
    let command: &[&str] = if rustix::process::geteuid().is_root() { &WITHOUT_RIGHTS } else { &[] };
    for (name, damage, parts) in cases {
        let rig = Rig::new();
        damage(&rig);
        let said = refusal_under(&rig, command, &[]);
        // Long paths are wrapped.
        let flat: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains("Corefile"), "{name}: {said}");
        for part in parts {
            assert!(flat.contains(part), "{name}: {part} is not in:\n{said}");
        }
        assert_eq!(flat.matches("corefile::").count(), 1, "{name}: one error: {said}");
    }
}

#[test]
fn a_pidfile_that_can_not_be_written_is_named_with_the_remedy() {
    let rig = Rig::new();
    for (path, cause) in [("/dev/full", "No space left"), ("/nonexistent/pid", "No such file")] {
        let said = refusal_under(&rig, &[], &["--pidfile", path]);
        for part in [path, cause, "leave out --pidfile"] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        assert_eq!(said.lines().count(), 1, "one error: {said}");
    }
    assert!(fs::exists("/dev/full").unwrap(), "what is no file is left alone");
}

#[test]
fn a_pidfile_that_kill_left_behind_is_written_anew() {
    let rig = Rig::new();
    let path = rig.folder.path().join("pid");
    for _ in 0..2 {
        let mut program = rig.start_under(&[], &["--pidfile", path.to_str().unwrap()]);
        program.wait_until_listening(rig.server()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", program.id()));
        program.signal("KILL").unwrap();
        program.wait_for_end().unwrap();
    }
}

/// A rig whose queries are logged, and its metrics.
fn logged() -> (Rig, SocketAddr) {
    let (rig, metrics) = (Rig::new(), ports::free());
    rig.write_corefile(&format!("    log\n    prometheus 127.0.0.1:{metrics}\n"));
    (rig, (Ipv4Addr::LOCALHOST, metrics).into())
}

fn lost(metrics: SocketAddr, log: &str) -> f64 {
    pages::metric(metrics, "daymark_log_lost_total", &format!("log=\"{log}\"")).unwrap_or_default()
}

#[test]
fn a_full_disk_under_the_log_costs_lines_and_no_answers() {
    let (rig, metrics) = logged();
    let mut program = rig.serve_under(&FULL);
    for _ in 0..10 {
        assert!(rig.answer().unwrap().ends_with("10.96.0.7"));
    }
    program.wait_until("queries are counted", || lost(metrics, "queries") >= 10.0).unwrap();
    // A reload says something of its own.
    let before = lost(metrics, "server");
    program.signal("USR1").unwrap();
    program.wait_until("own lines are counted", || lost(metrics, "server") > before).unwrap();
    assert!(rig.answer().is_some());
    program.signal("TERM").unwrap();
    assert!(program.wait_for_end().unwrap().success());
}

#[test]
fn an_error_at_the_start_on_a_full_disk_is_still_a_status_and_no_panic() {
    let rig = Rig::new();
    rig.write_corefile("    nonsense\n");
    let mut program = rig.start_under(&FULL, &[]);
    assert_eq!(program.wait_for_end().unwrap().code(), Some(1), "101 is a panic");
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let (rig, metrics) = logged();
    let pipe = rig.folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Open for both, so that opening waits for nobody; never read.
    let _unread = File::options().read(true).write(true).open(&pipe).unwrap();
    let script = format!("exec \"$@\" >'{}'", pipe.display());
    let mut program = rig.serve_under(&["sh", "-c", &script, "sh"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(rig.server()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let query = dns::query(NAME, "A", None).unwrap().to_vec().unwrap();
    let mut reply = [0; 512];
    // The pipe takes 64 KiB, and then the buffers of the log fill up.
    let filled = || {
        for _ in 0..1000 {
            socket.send(&query).unwrap();
            // One may be lost on its way; that all are not is what `answer` shows.
            let _ = socket.recv(&mut reply);
        }
        lost(metrics, "queries") > 0.0
    };
    program.wait_until("what can't be printed is counted", filled).unwrap();
    program.signal("USR1").unwrap();
    assert!(rig.answer().is_some(), "answers go on");
    program.signal("TERM").unwrap();
    assert!(program.wait_for_end().unwrap().success(), "and it ends when told to");
}

#[test]
fn a_refused_start_leaves_no_pidfile() {
    let rig = Rig::new();
    let path = rig.folder.path().join("pid");
    rig.write_corefile("    nonsense\n");
    let said = refusal_under(&rig, &[], &["--pidfile", path.to_str().unwrap()]);
    assert!(said.contains("nonsense"), "{said}");
    assert!(!path.exists(), "the pidfile is left");
}
