//! The example of a program that embeds the server does what its top says.

use std::net::Ipv4Addr;

use daymark_tests::{asking, peers, ports, process::Program};

#[test]
fn a_program_embeds_the_server_with_a_plugin_and_services_of_its_own() {
    let example = peers::daymark().parent().unwrap().join("examples/embed");
    assert!(example.exists(), "`cargo test` builds it: run it for all of the workspace");
    let (port, folder) = (ports::free(), tempfile::tempdir().unwrap());
    let words = [port.to_string()];
    let mut program = Program::start(&example, words, &folder.path().join("log")).unwrap();
    let server = (Ipv4Addr::LOCALHOST, port).into();
    program.wait_until_listening(server).unwrap();
    let answer = |name, rtype| asking::answer(server, name, rtype).unwrap();
    assert_eq!(answer("web.shop.svc.cluster.local.", "A"), "10.96.0.7");
    assert_eq!(answer("none.shop.svc.cluster.local.", "A"), "NXDOMAIN");
    assert_eq!(answer("anything.greet.test.", "TXT"), "hello, 127.0.0.1");
    assert_eq!(answer("anything.greet.test.", "A"), "SERVFAIL");
    program.signal("INT").unwrap();
    assert!(program.wait_for_end().unwrap().success());
}
