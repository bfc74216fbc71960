//! What an operator does before a switch: explain the Corefile, and compare the two servers.
#![expect(clippy::unwrap_used, reason = "a test stops where it can go no further")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Command, Output},
};

use daymark_tests::{asking, control_plane::ControlPlane, folder, peers, ports, process::Program};

/// A server with this program and block.
fn start(
    folder: &Path,
    name: &str,
    program: &Path,
    verb: &[&str],
    block: &str,
) -> (Program, SocketAddr) {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
    let conf = folder.join(format!("{name}.corefile"));
    let text = format!(".:{} {{\n bind 127.0.0.1\n{block}}}\n", server.port());
    fs::write(&conf, text).unwrap();
    let conf = conf.display().to_string();
    let words = verb.iter().copied().chain(["-conf", &conf]);
    let mut program = Program::start(program, words, &folder.join(name)).unwrap();
    program.wait_until_listening(server).unwrap();
    (program, server)
}

fn compare(old: SocketAddr, new: SocketAddr, more: &[&str]) -> Output {
    let [old, new] = [old, new].map(|server| server.to_string());
    let words = ["check", "compare", "--old", &old, "--new", &new];
    Command::new(peers::daymark()).args(words).args(more).output().unwrap()
}

fn said(output: &Output) -> String {
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn everything_that_the_api_has_names_for_is_answered_as_coredns_does() {
    let coredns = match peers::program("coredns")
        .and_then(|program| peers::program("kube-apiserver").map(|_| program))
    {
        Ok(program) => program,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let plane = ControlPlane::start().unwrap();
    folder::load_into(&plane).unwrap();
    let kubeconfig = plane.kubeconfig().display().to_string();
    let block = format!(
        " errors\n kubernetes cluster.local in-addr.arpa ip6.arpa {{\n kubeconfig {kubeconfig}\n }}\n"
    );
    let scratch = tempfile::tempdir().unwrap();
    let (_old, old) = start(scratch.path(), "old", &coredns, &[], &block);
    let (_new, new) = start(scratch.path(), "new", &peers::daymark(), &["dns"], &block);
    for server in [old, new] {
        asking::wait_for(server, "no-such.shop.svc.cluster.local.", "A", "NXDOMAIN").unwrap();
    }
    let output = compare(old, new, &["--from-api", "--kubeconfig", &kubeconfig, "--ttl"]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let count: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(count > 100, "{said}");
}

#[test]
fn a_difference_is_told_with_both_sides() {
    let scratch = tempfile::tempdir().unwrap();
    let serve = |name: &str, hosts: &str| {
        let block = format!(" hosts {{\n{hosts} }}\n");
        start(scratch.path(), name, &peers::daymark(), &["dns"], &block)
    };
    let (_old, old) =
        serve("old", " 10.0.0.1 same.test\n 10.0.0.2 moved.test\n 10.0.0.3 gone.test\n");
    let (_new, new) = serve("new", " 10.0.0.1 same.test\n 10.0.0.9 moved.test\n");
    let queries = scratch.path().join("queries");
    fs::write(&queries, "same.test A\nmoved.test A\ngone.test A\nsame.test AAAA\n").unwrap();
    let output = compare(old, new, &["--queries", &queries.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let want = "moved.test. A\n  - answer moved.test. A 10.0.0.2\n  + answer moved.test. A 10.0.0.9\n\
                gone.test. A\n  - answer gone.test. A 10.0.0.3\n  - rcode NOERROR\n  \
                + rcode NXDOMAIN\n4 questions, 2 answered differently\n";
    assert_eq!(said(&output), want);
}

#[test]
fn what_can_not_be_compared_is_told() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let queries = scratch.path().join("queries");
    fs::write(&queries, "a.test A\n").unwrap();
    for (more, want) in [
        (["--queries", &queries.display().to_string()], "(--old): no reply to a.test. A"),
        (["--queries", "/nowhere"], "cannot read /nowhere"),
    ] {
        let output = compare(silent, silent, &more);
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains(want), "{}", said(&output));
    }
}

#[test]
fn a_corefile_is_explained() {
    let file = peers::repository().join("tests/dns/corefiles/kubeadm.corefile");
    let words = ["check", "corefile", "--explain"];
    let output = Command::new(peers::daymark()).args(words).arg(file).output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.starts_with("dns://.:53\n"), "{said}");
    for part in [" kubernetes: ", "Where this is not what CoreDNS does", "own-data-is-not-cached"] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
}
