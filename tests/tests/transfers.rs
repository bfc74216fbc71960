//! Zone transfers with servers and clients of others: NSD and CoreDNS as secondaries and primaries, dig.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context, ensure};
use daymark_tests::{
    dns::{self, Transport},
    peers, ports,
    process::{Program, retried},
    suite::Suite,
};
use hickory_proto::{
    op::Message,
    rr::{Record, RecordType},
};
use libtest_mimic::Failed;

#[path = "transfers/knot.rs"]
mod knot;

use knot::KNOT;

/// Where Debian has NSD.
const NSD: &str = "/usr/sbin/nsd";
/// A zone with this serial.
const ZONE: &str = "$TTL 60
@ SOA ns root @SERIAL@ 3600 60 86400 60
@ NS ns
ns A 192.0.2.1
a A 192.0.2.2
a AAAA 2001:db8::2
*.wild TXT \"one two\" three
odd TYPE65280 \\# 2 0aff
www CNAME a
";

fn main() -> ExitCode {
    Suite::run("zones can be transferred", prepare)
}

fn prepare(suite: &mut Suite) -> anyhow::Result<()> {
    let manifests = suite.manifests()?;
    let mut add = |name: &str, needs: &[&str], run: fn(&Path, &Path) -> anyhow::Result<()>| {
        let missing = needs.iter().find_map(|need| match *need {
            "coredns" => peers::program("coredns").err(),
            "nsd" => (!Path::new(NSD).exists()).then(|| format!("there is no {NSD}")),
            "knot" => (!Path::new(KNOT).exists()).then(|| format!("there is no {KNOT}")),
            tool => {
                Command::new(tool).arg("-v").output().err().map(|error| format!("{tool}: {error}"))
            }
        });
        if let Some(reason) = missing {
            suite.skipped(name, &reason);
            return;
        }
        let folder = suite.scratch().join(name.replace(' ', "-"));
        let manifests = manifests.clone();
        suite.trial(name.to_owned(), move || {
            std::fs::create_dir_all(&folder)?;
            run(&folder, &manifests).map_err(|error| {
                let said =
                    |log: &str| std::fs::read_to_string(folder.join(log)).unwrap_or_default();
                let logs = ["daymark.log", "nsd.log", "coredns.log", "knot.log"].map(said).concat();
                Failed::from(format!("{error:#}\n{logs}"))
            })
        });
    };
    add("dig gets the cluster zone", &["dig"], dig_gets_the_cluster_zone);
    add("NSD answers for the cluster as we do", &["nsd"], nsd_is_secondary_of_the_cluster);
    add("NSD answers for names outside the cluster as we do", &["nsd"], nsd_is_secondary_outside);
    add("NSD is told of a change of a file", &["nsd"], nsd_is_told_of_a_change);
    add("a large zone waits for who reads it", &[], large_zone);
    add("we are a secondary of NSD", &["nsd"], secondary_of_nsd);
    add("we are a secondary of CoreDNS", &["coredns"], secondary_of_coredns);
    add("we follow a catalog of Knot", &["knot"], knot::makes_a_catalog);
    Ok(())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn zone(serial: u32) -> String {
    ZONE.replace("@SERIAL@", &serial.to_string())
}

fn daymark(
    folder: &Path,
    corefile: &str,
    manifests: Option<&Path>,
    port: u16,
) -> anyhow::Result<Program> {
    let path = folder.join("Corefile");
    std::fs::write(&path, corefile)?;
    let mut arguments = vec!["dns".to_owned(), "-conf".to_owned(), path.display().to_string()];
    arguments.extend(
        manifests.iter().flat_map(|it| ["--manifests".to_owned(), it.display().to_string()]),
    );
    let mut program = Program::start(&peers::daymark(), arguments, &folder.join("daymark.log"))?;
    program.wait_until_listening(loopback(port))?;
    Ok(program)
}

/// NSD on `port` with these zones, of which each says more about itself.
fn nsd(folder: &Path, port: u16, zones: &[(&str, String)]) -> anyhow::Result<Program> {
    let at = folder.display();
    let mut text = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  zonesdir: \"{at}\"\n  pidfile: \"{at}/nsd.pid\"\n  \
         xfrdfile: \"{at}/xfrd.state\"\n  xfrdir: \"{at}\"\n  zonelistfile: \"{at}/zone.list\"\n  \
         username: \"\"\n  database: \"\"\n  server-count: 1\n  verbosity: 2\nremote-control:\n  control-enable: no\n"
    );
    for (name, more) in zones {
        text += &format!("zone:\n  name: {name}\n  zonefile: {name}.zone\n{more}");
    }
    let conf = folder.join("nsd.conf");
    std::fs::write(&conf, text)?;
    let arguments = ["-d", "-c", &conf.display().to_string()].map(str::to_owned);
    let mut program = Program::start(Path::new(NSD), arguments, &folder.join("nsd.log"))?;
    program.wait_until_listening(loopback(port))?;
    Ok(program)
}

/// All records of a zone, as they came.
fn transferred(server: SocketAddr, zone: &str) -> anyhow::Result<Vec<Record>> {
    let query = dns::query(zone, "AXFR", None)?.to_vec()?;
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&(query.len() as u16).to_be_bytes())?;
    stream.write_all(&query)?;
    let mut records: Vec<Record> = Vec::new();
    let is_soa = |record: &&Record| record.record_type() == RecordType::SOA;
    while records.iter().filter(is_soa).count() < 2 {
        let mut len = [0; 2];
        stream.read_exact(&mut len).context("the transfer broke off")?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut bytes)?;
        let message = Message::from_vec(&bytes)?;
        ensure!(!message.answers.is_empty(), "{}", message.metadata.response_code);
        ensure!(message.metadata.authoritative);
        records.extend(message.answers);
    }
    Ok(records)
}

fn answer(
    server: SocketAddr,
    name: &str,
    rtype: &str,
) -> anyhow::Result<(String, BTreeSet<String>)> {
    let reply = dns::ask(server, &dns::query(name, rtype, None)?, Transport::Tcp)?;
    let lines = reply.answers.iter().map(dns::presentation).collect();
    Ok((reply.metadata.response_code.to_string(), lines))
}

/// Asks both servers for every name and type that `records` have, and for some that they have not.
fn same_answers(one: SocketAddr, other: SocketAddr, records: &[Record]) -> anyhow::Result<usize> {
    let mut questions: BTreeSet<(String, String)> = BTreeSet::new();
    for record in records {
        let name = record.name.to_ascii();
        questions.insert((name.clone(), record.record_type().to_string()));
        questions.insert((format!("nothing.{name}"), "A".to_owned()));
        // What else is told of an alias is the business of who follows it.
        if record.record_type() != RecordType::CNAME {
            questions.insert((name, "MX".to_owned()));
        }
    }
    for (name, rtype) in &questions {
        let rtype = if rtype.starts_with("Unknown") { "TYPE65280" } else { rtype };
        let (ours, theirs) = (answer(one, name, rtype)?, answer(other, name, rtype)?);
        ensure!(ours == theirs, "{name} {rtype}: {ours:?} and {theirs:?}");
    }
    Ok(questions.len())
}

fn cluster_corefile(port: u16) -> String {
    format!(
        ".:{port} {{\n  transfer cluster.local 10.in-addr.arpa {{\n    to *\n  }}\n  kubernetes cluster.local 10.in-addr.arpa\n}}\n"
    )
}

fn dig_gets_the_cluster_zone(folder: &Path, manifests: &Path) -> anyhow::Result<()> {
    let port = ports::free();
    let _server = daymark(folder, &cluster_corefile(port), Some(manifests), port)?;
    let dig = |arguments: &[&str]| -> anyhow::Result<String> {
        let port = port.to_string();
        let fixed = ["@127.0.0.1", "-p", &port, "+tcp", "+nocookie"];
        let output = Command::new("dig").args(fixed).args(arguments).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (all, serial) = retried(|| {
        let all = dig(&["+onesoa", "cluster.local", "AXFR"])?;
        let soa = all.lines().find(|line| line.contains("\tSOA\t")).context("no SOA record")?;
        let serial = soa.split_whitespace().nth(6).context("no serial")?.to_owned();
        ensure!(all.contains("XFR size"), "{all}");
        Ok((all, serial))
    })?;
    ensure!(all.lines().filter(|line| line.contains("\tIN\t")).count() > 100, "{all}");
    let same = dig(&["+comments", "cluster.local", &format!("IXFR={serial}")])?;
    ensure!(same.matches("\tSOA\t").count() == 1, "{same}");
    let older = dig(&["cluster.local", "IXFR=1"])?;
    ensure!(older.lines().count() > 100, "{older}");
    let reverse = dig(&["10.in-addr.arpa", "AXFR"])?;
    ensure!(reverse.contains("\tPTR\t"), "{reverse}");
    ensure!(dig(&["x.cluster.local", "AXFR"])?.contains("Transfer failed"));
    Ok(())
}

fn nsd_is_secondary_of_the_cluster(folder: &Path, manifests: &Path) -> anyhow::Result<()> {
    let (port, theirs) = (ports::free(), ports::free());
    let _server = daymark(folder, &cluster_corefile(port), Some(manifests), port)?;
    let xfr =
        format!("  request-xfr: AXFR 127.0.0.1@{port} NOKEY\n  allow-notify: 127.0.0.1 NOKEY\n");
    let _nsd = nsd(folder, theirs, &[("cluster.local", xfr.clone()), ("10.in-addr.arpa", xfr)])?;
    for zone in ["cluster.local.", "10.in-addr.arpa."] {
        let records = retried(|| {
            let (code, soa) = answer(loopback(theirs), zone, "SOA")?;
            ensure!(code == "No Error" && !soa.is_empty(), "{code}");
            transferred(loopback(port), zone)
        })?;
        let asked = match zone {
            // While NSD takes a zone in, its processes do not all have it.
            "cluster.local." => {
                retried(|| same_answers(loopback(port), loopback(theirs), &records))?
            }
            // Other types are NXDOMAIN at addresses, as CoreDNS has it.
            _ => {
                for record in records.iter().filter(|r| r.record_type() == RecordType::PTR) {
                    let name = record.name.to_ascii();
                    let ours = answer(loopback(port), &name, "PTR")?;
                    ensure!(ours == answer(loopback(theirs), &name, "PTR")?, "{name}");
                }
                records.len()
            }
        };
        ensure!(asked > 10, "only {asked} questions for {zone}");
    }
    Ok(())
}

fn nsd_is_secondary_outside(folder: &Path, manifests: &Path) -> anyhow::Result<()> {
    let (port, theirs) = (ports::free(), ports::free());
    let corefile = format!(
        ".:{port} {{\n  transfer outside.test {{\n    to *\n  }}\n  k8s_external outside.test {{\n    headless\n  }}\n  \
         kubernetes cluster.local\n}}\n"
    );
    let _server = daymark(folder, &corefile, Some(manifests), port)?;
    let xfr =
        format!("  request-xfr: AXFR 127.0.0.1@{port} NOKEY\n  allow-notify: 127.0.0.1 NOKEY\n");
    let _nsd = nsd(folder, theirs, &[("outside.test", xfr)])?;
    let records = retried(|| {
        ensure!(answer(loopback(theirs), "outside.test.", "SOA")?.0 == "No Error");
        transferred(loopback(port), "outside.test.")
    })?;
    let asked = retried(|| same_answers(loopback(port), loopback(theirs), &records))?;
    ensure!(asked > 20, "only {asked} questions");
    Ok(())
}

fn nsd_is_told_of_a_change(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let (port, theirs) = (ports::free(), ports::free());
    let file = folder.join("db");
    std::fs::write(&file, zone(1))?;
    let corefile = format!(
        "file.test:{port} {{\n  bind 127.0.0.1\n  file {} {{\n    reload 1s\n  }}\n  \
         transfer {{\n    to 127.0.0.1:{theirs}\n    source 127.0.0.1\n  }}\n}}\n",
        file.display()
    );
    let _server = daymark(folder, &corefile, None, port)?;
    let xfr =
        format!("  request-xfr: AXFR 127.0.0.1@{port} NOKEY\n  allow-notify: 127.0.0.1 NOKEY\n");
    let _nsd = nsd(folder, theirs, &[("file.test", xfr)])?;
    let text = |server: SocketAddr| answer(server, "new.file.test.", "A");
    let records = retried(|| {
        ensure!(answer(loopback(theirs), "file.test.", "SOA")?.0 == "No Error");
        transferred(loopback(port), "file.test.")
    })?;
    retried(|| same_answers(loopback(port), loopback(theirs), &records))?;
    ensure!(text(loopback(theirs))?.1.is_empty());
    std::fs::write(&file, zone(2) + "new A 192.0.2.9\n")?;
    retried(|| {
        ensure!(text(loopback(theirs))?.1.len() == 1, "NSD does not know it yet");
        Ok(())
    })
}

/// A zone of many messages, for a client that does not read at first.
fn large_zone(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let port = ports::free();
    let file = folder.join("db");
    std::fs::write(&file, zone(1) + "$GENERATE 0-59999 host$ TXT a-text-of-record-$\n")?;
    let corefile = format!(
        "file.test:{port} {{\n  bind 127.0.0.1\n  file {}\n  transfer {{\n    to *\n  }}\n}}\n",
        file.display()
    );
    let server = daymark(folder, &corefile, None, port)?;
    let query = dns::query("file.test.", "AXFR", None)?.to_vec()?;
    let mut idle = TcpStream::connect(loopback(port))?;
    idle.write_all(&(query.len() as u16).to_be_bytes())?;
    idle.write_all(&query)?;
    let before = resident(&server)?;
    let records = transferred(loopback(port), "file.test.")?;
    ensure!(records.len() == 60_009, "{} records", records.len());
    let grown = resident(&server)?.saturating_sub(before);
    ensure!(grown < 32 << 10, "{grown} KiB more for two transfers");
    Ok(())
}

/// KiB of memory that the server has.
fn resident(server: &Program) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Daymark as a secondary of whoever serves `file.test` on `primary`; answers the same.
fn follows(folder: &Path, primary: u16, port: u16) -> anyhow::Result<Program> {
    let corefile = format!(
        ".:{port} {{\n  bind 127.0.0.1\n  secondary file.test {{\n    transfer from 127.0.0.1:{primary}\n  }}\n  \
         transfer {{\n    to *\n  }}\n}}\n"
    );
    let program = daymark(folder, &corefile, None, port)?;
    let records = retried(|| transferred(loopback(port), "file.test."))?;
    ensure!(records.len() == 9, "{records:?}");
    same_answers(loopback(port), loopback(primary), &records)?;
    Ok(program)
}

fn secondary_of_nsd(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let (primary, port) = (ports::free(), ports::free());
    let file = folder.join("file.test.zone");
    std::fs::write(&file, zone(1))?;
    let xfr = format!("  provide-xfr: 127.0.0.1 NOKEY\n  notify: 127.0.0.1@{port} NOKEY\n");
    let nsd = nsd(folder, primary, &[("file.test", xfr)])?;
    let _server = follows(folder, primary, port)?;
    std::fs::write(&file, zone(2) + "new A 192.0.2.9\n")?;
    nsd.signal("HUP")?;
    retried(|| {
        ensure!(answer(loopback(port), "new.file.test.", "A")?.1.len() == 1, "it is not known yet");
        Ok(())
    })
}

fn secondary_of_coredns(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let (primary, port) = (ports::free(), ports::free());
    let (file, conf): (PathBuf, PathBuf) = (folder.join("db"), folder.join("Corefile.coredns"));
    std::fs::write(&file, zone(1))?;
    let corefile = format!(
        "file.test:{primary} {{\n  bind 127.0.0.1\n  file {}\n  transfer {{\n    to *\n  }}\n}}\n",
        file.display()
    );
    std::fs::write(&conf, corefile)?;
    let coredns = peers::program("coredns").map_err(anyhow::Error::msg)?;
    let arguments = ["-conf", &conf.display().to_string()].map(str::to_owned);
    let mut program = Program::start(&coredns, arguments, &folder.join("coredns.log"))?;
    program.wait_until_listening(loopback(primary))?;
    follows(folder, primary, port)?;
    Ok(())
}
