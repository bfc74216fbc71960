//! What is told beside what CoreDNS tells.

use std::{path::Path, time::Duration};

use anyhow::ensure;
use daymark_tests::{
    dns::{self, EdnsOptions, Transport},
    dnstap::Receiver,
    peers,
    process::Program,
};

use super::served::{Served, upstream};

/// What both servers are asked, and how they tell it, ports and versions apart.
const COMPARED: &str = ".:@PORT@ {
    bind 127.0.0.1
    metadata
    dnstap @DIR@/tap full {
        identity us
        extra \"{type} {name} {class} {proto} {size} {remote} {local} {>id} {>opcode} {>do} {>bufsize} {rcode} {rsize} {duration} {>rflags} {/forward/upstream} {/no/such} {nothing} }\"
    }
    rewrite name exact renamed.test www.up.test answer auto
    hosts {
        192.0.2.1 www.example
        fallthrough
    }
    forward up.test @UPSTREAM@
}
";

fn questions() -> anyhow::Result<Vec<(hickory_proto::op::Message, Transport)>> {
    let edns = |dnssec_ok| EdnsOptions { size: 1232, dnssec_ok, options: Vec::new() };
    let all = [
        ("www.example.", "A", None, Transport::Udp),
        ("WWW.Example.", "A", Some(edns(false)), Transport::Tcp),
        ("www.example.", "MX", Some(edns(true)), Transport::Udp),
        ("www.up.test.", "A", None, Transport::Udp),
        ("www.up.test.", "A", Some(edns(true)), Transport::Tcp),
        ("renamed.test.", "A", None, Transport::Udp),
        ("servfail.up.test.", "AAAA", None, Transport::Udp),
        ("nothing.up.test.", "TYPE65280", None, Transport::Udp),
    ];
    let query =
        |(number, (name, rtype, edns, transport)): (usize, (_, _, Option<EdnsOptions>, _))| {
            let mut query = dns::query(name, rtype, edns.as_ref())?;
            query.metadata.id = 4711 + number as u16;
            Ok((query, transport))
        };
    all.into_iter().enumerate().map(query).collect()
}

pub(super) fn same_is_told(folder: &Path, daymark: &Path) -> anyhow::Result<()> {
    let told = |name: &str, program: &Path| -> anyhow::Result<Vec<String>> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let upstream = upstream()?;
        let to = upstream.address.to_string();
        let receiver = Receiver::unix(&folder.join("tap"))?;
        let served = Served::start(&folder, program, COMPARED, &[("@UPSTREAM@", &to)])?;
        let mut all = Vec::new();
        for (query, transport) in questions()? {
            let before = receiver.count();
            let forwarded = query.queries[0].name.to_ascii().contains("test");
            dns::ask(served.at, &query, transport)?;
            let told = receiver.wait_for(before + if forwarded { 4 } else { 2 })?;
            all.extend(told.into_iter().skip(before).map(|mut told| {
                for port in ["query_port", "response_port"] {
                    told.fields.entry(port).and_modify(|port| *port = "there".to_owned());
                }
                told.fields.insert("version", "any".to_owned());
                // CoreDNS has rewritten the client's query by then.
                let renamed = query.queries[0].name.to_ascii().starts_with("renamed");
                if renamed && told.field("type") == "CLIENT_RESPONSE" {
                    told.fields.remove("extra");
                }
                // Names in replies have the letters of the query here, and of the file there.
                told.to_string().to_lowercase().replace(&to, "upstream")
            }));
        }
        Ok(all)
    };
    let ours = told("ours", daymark)?;
    let theirs = told("theirs", &peers::program("coredns").map_err(anyhow::Error::msg)?)?;
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        ensure!(ours == theirs, "payload {number}: ours\n{ours}\ntheirs\n{theirs}");
    }
    ensure!(ours.len() == theirs.len(), "{} and {}", ours.len(), theirs.len());
    Ok(())
}

/// golang-dnstap's tool, as people use it.
pub(super) fn tool_prints_the_same(folder: &Path, daymark: &Path) -> anyhow::Result<()> {
    let tool = peers::program("dnstap").map_err(anyhow::Error::msg)?;
    let printed = |name: &str, program: &Path| -> anyhow::Result<Vec<String>> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let upstream = upstream()?;
        let to = upstream.address.to_string();
        let tap = folder.join("tap").display().to_string();
        let out = folder.join("printed").display().to_string();
        let mut tool =
            Program::start(&tool, ["-u", &tap, "-q", "-w", &out], &folder.join("tool.log"))?;
        tool.wait_until("listening", || Path::new(&tap).exists())?;
        let served = Served::start(&folder, program, COMPARED, &[("@UPSTREAM@", &to)])?;
        tool.wait_until_said("accepted connection")?;
        let questions = questions()?;
        for (query, transport) in &questions {
            dns::ask(served.at, query, *transport)?;
        }
        // CoreDNS tells of a reply after it is sent, and at its end drops what it has not told yet.
        std::thread::sleep(Duration::from_secs(2));
        drop(served.program.signal("TERM"));
        tool.wait_until_said("closed connection")?;
        tool.signal("INT")?;
        tool.wait_for_end()?;
        // Without the time, and the size, for which CoreDNS does not compress names as for the client.
        let is_kept = |word: &(usize, &str)| word.0 != 0 && word.0 != 4;
        let cut = |line: &str| {
            let words = line.split(' ').enumerate().filter(is_kept);
            words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
        };
        // CoreDNS tells of a reply after it is sent, and the next query may be there by then.
        let mut lines: Vec<String> = std::fs::read_to_string(out)?.lines().map(cut).collect();
        lines.sort_unstable();
        Ok(lines)
    };
    let ours = printed("ours", daymark)?;
    let theirs = printed("theirs", &peers::program("coredns").map_err(anyhow::Error::msg)?)?;
    ensure!(ours.len() == 26, "{ours:#?}");
    ensure!(ours == theirs, "ours {ours:#?}\ntheirs {theirs:#?}");
    Ok(())
}
