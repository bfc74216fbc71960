//! What no runtime should say: the specification's error on stdout, its number, and nothing left.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::node::{NETWORK, Node, Pod, text};

const V4: &str = "10.244.1.0/24";

/// Variables, stdin, and the number of the error.
type Row<'a> = ([(&'a str, &'a str); 4], &'a str, u64);

/// Rows of variables and stdin, and the number that each is refused with.
pub(crate) fn refused(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    let pod = Pod::new()?;
    let netns = pod.netns();
    let good = node.plugin(json!({ "cniVersion": "1.0.0", "name": NETWORK })).to_string();
    let with = |more: Value| {
        let mut plugin = node.plugin(json!({ "cniVersion": "1.0.0", "name": NETWORK }));
        crate::node::merge(&mut plugin, more);
        plugin.to_string()
    };
    let add = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c0ffee"),
        ("CNI_NETNS", netns.as_str()),
        ("CNI_IFNAME", "eth0"),
    ];
    let but = |name: &'static str, value: &'static str| {
        add.map(|(known, old)| if known == name { (known, value) } else { (known, old) })
    };
    let nested = format!("{{\"x\":{}", "[".repeat(100_000));
    let huge = format!("{good}{}", " ".repeat(8 << 20));
    let rows: Vec<Row<'_>> = vec![
        (but("CNI_COMMAND", ""), &good, 4),
        (but("CNI_COMMAND", "EXPLODE"), &good, 4),
        (but("CNI_CONTAINERID", ""), &good, 4),
        (but("CNI_CONTAINERID", "../../etc/passwd"), &good, 4),
        (but("CNI_IFNAME", "eth0/../.."), &good, 4),
        (but("CNI_NETNS", ""), &good, 4),
        (but("CNI_NETNS", "/nowhere"), &good, 8),
        (add, "", 6),
        (add, "{", 6),
        (add, &nested, 6),
        (add, "[]", 7),
        (add, &huge, 7),
        (add, "{\"cniVersion\":\"9.9.9\",\"name\":\"pods\"}", 1),
        (add, "{\"name\":\"pods\"}", 7),
        (but("CNI_COMMAND", "CHECK"), &good, 7),
        (but("CNI_COMMAND", "STATUS"), &good, 1),
    ];
    let more = [
        (with(json!({ "name": "../x" })), 7),
        (with(json!({ "ipam": { "type": "nobody" } })), 7),
        (with(json!({ "ipam": { "type": "/bin/sh" } })), 7),
        (with(json!({ "runtimeConfig": { "portMappings": [{ "hostPort": 70_000 }] } })), 7),
        (with(json!({ "runtimeConfig": { "ips": ["10.244.1.1"] } })), 102),
        (with(json!({ "ingressRate": 1 })), 7),
        (with(json!({ "prevResult": { "ips": 3 } })), 7),
    ];
    let more = more.iter().map(|(stdin, code)| (add, stdin.as_str(), *code));
    for (variables, stdin, code) in rows.into_iter().chain(more) {
        let output = node.start_plugin(&variables, stdin.as_bytes())?.wait_with_output()?;
        let said = text(&output.stdout);
        let error: Value =
            serde_json::from_str(&said).with_context(|| format!("{code}: {said}"))?;
        let shown = stdin.get(..200).unwrap_or(stdin);
        ensure!(
            !output.status.success() && error["code"] == code,
            "{variables:?} {shown}: {error}"
        );
        ensure!(error["cniVersion"].is_string() && error["msg"].is_string(), "{error}");
        node.holds_nothing()?;
    }
    Ok(())
}

/// Runtimes ask before they know what is spoken.
pub(crate) fn versions(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    for stdin in ["{\"cniVersion\":\"0.1.0\"}", "", "nonsense"] {
        let child = node.start_plugin(&[("CNI_COMMAND", "VERSION")], stdin.as_bytes())?;
        let answer: Value = serde_json::from_slice(&child.wait_with_output()?.stdout)?;
        let spoken = answer["supportedVersions"].as_array().context("a list")?;
        ensure!(spoken.len() == 4 && answer["cniVersion"].is_string(), "{answer}");
    }
    Ok(())
}

/// Bytes that no plugin sends, and connections that say nothing, harm nobody.
pub(crate) fn on_the_socket(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    let _silent: Vec<UnixStream> =
        (0..8).map(|_| UnixStream::connect(node.socket())).collect::<Result<_, _>>()?;
    for bytes in [&b"\0"[..], b"\xff\xff\xff\xff", b"\0\0\0\x02{}", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = UnixStream::connect(node.socket())?;
        stream.write_all(bytes)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = Vec::new();
        // Closed, or reset because it was not read to its end.
        let _ = stream.read_to_end(&mut answer);
        ensure!(answer.is_empty(), "{}", text(&answer));
    }
    let pod = Pod::new()?;
    let output = node.call("ADD", "c0ffee", Some(&pod), json!({}))?;
    ensure!(output.status.success(), "{}", text(&output.stdout));
    Ok(())
}

/// Files that are no namespace, and the node's own.
pub(crate) fn namespaces(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    let own = node.namespace.network().display().to_string();
    let stdin = node.plugin(json!({ "cniVersion": "1.0.0", "name": NETWORK })).to_string();
    for netns in ["/etc/hostname", "/dev/null", "/", "/proc/self/ns/uts", &own] {
        let variables = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c0ffee"),
            ("CNI_NETNS", netns),
            ("CNI_IFNAME", "eth0"),
        ];
        let output = node.start_plugin(&variables, stdin.as_bytes())?.wait_with_output()?;
        let error: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(error["code"] == 8, "{netns}: {error}");
        node.holds_nothing()?;
    }
    Ok(())
}
