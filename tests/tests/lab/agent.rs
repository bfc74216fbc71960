//! The agents of a lab's nodes: how they say they are doing, their end and return, and what is left when they
//! are taken away.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use daymark_tests::{lab::Lab, peers, process::PATIENCE};
use serde_json::Value;

use super::stream::Stream;

pub(crate) fn second_is_refused() -> anyhow::Result<()> {
    let lab = Lab::up(super::DEFINITION)?;
    let agent = Agent::of(&lab, "n1")?;
    let output = lab.inside("node/n1", || Ok(agent.command().output()?))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("another agent (process"), "{said}");
    ensure!(Agent::of(&lab, "n1")?.process == agent.process, "the first one runs");
    Ok(())
}

/// Streams within the node and to the other one, both ways, while the agent of the one is killed and
/// started again.
pub(crate) fn killed() -> anyhow::Result<()> {
    let lab = Lab::up(super::DEFINITION)?;
    let streams = [("a", "b", true), ("a", "c", true), ("c", "a", false), ("a", "b", false)]
        .into_iter()
        .map(|(from, to, ipv4)| Stream::start(&lab, from, to, lab.address(to, ipv4)?))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let agent = Agent::of(&lab, "n1")?;
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..3 {
        agent.killed_and_started(&lab, "n1")?;
    }
    std::thread::sleep(Duration::from_millis(300));
    for stream in streams {
        stream.end()?;
    }
    Ok(())
}

pub(crate) fn tells_its_status() -> anyhow::Result<()> {
    let lab = Lab::up(super::DEFINITION)?;
    let daymark = peers::daymark().display().to_string();
    let status: Value =
        serde_json::from_str(&lab.run("node/n1", &[&daymark, "status", "-o", "json"])?)?;
    ensure!(status["node"] == "n1" && status["ready"] == true && status["pods"] == 2, "{status}");
    let taken: Vec<_> = status["podRanges"].as_array().into_iter().flatten().collect();
    ensure!(taken.len() == 2 && taken.iter().all(|range| range["taken"] == 2), "{status}");
    let other = &status["network"]["nodes"][0];
    ensure!(other["name"] == "n2" && other["podRanges"]["10.244.2.0/24"] == "native", "{status}");
    ensure!(status["failed"].is_null() && status["waitsFor"].is_null(), "{status}");
    let text = lab.run("node/n1", &[&daymark, "status"])?;
    for line in ["node          n1", "pods          can be added", "attached      2"] {
        ensure!(text.lines().any(|found| found.starts_with(line)), "{line}\n{text}");
    }
    // Outside of the nodes there is none.
    let refused = lab.run("outside", &[&daymark, "status"]).err().context("no agent is there")?;
    ensure!(format!("{refused:#}").contains("no agent answers at 127.0.0.1:9964"), "{refused:#}");
    Ok(())
}

pub(crate) fn others_are_left_alone() -> anyhow::Result<()> {
    let lab = Lab::up(super::DEFINITION)?;
    // One that looks at every packet and matches none.
    let filter = "filter add dev eth0 ingress prio 10 bpf bytecode";
    for (line, last) in [("qdisc add dev eth0", "clsact"), (filter, "1,6 0 0 0,")] {
        let words = ["tc"].into_iter().chain(line.split(' ')).chain([last]);
        lab.run("node/n1", &words.collect::<Vec<_>>())?;
    }
    Agent::of(&lab, "n1")?.killed_and_started(&lab, "n1")?;
    let daymark = peers::daymark().display().to_string();
    let text = lab.run("node/n1", &[&daymark, "status"])?;
    let told = "also there    tc filter bpf of priority 10 on what goes in: not ours, left alone";
    ensure!(text.lines().any(|line| line == told), "{text}");
    let filters = lab.run("node/n1", &["tc", "filter", "show", "dev", "eth0", "ingress"])?;
    ensure!(filters.contains("pref 10 bpf"), "{filters}");
    let url = format!("http://{}:8080/", lab.address("c", true)?);
    lab.run("a", &["curl", "-sf", "-m", "5", &url])?;
    Ok(())
}

pub(crate) fn unused_addresses() -> anyhow::Result<()> {
    let lab = Lab::up(super::DEFINITION)?;
    for (address, what) in [("10.244.1.77", "-4"), ("fd00:10:244:1::77", "-6")] {
        let route = lab.run("node/n1", &["ip", what, "route", "get", address]);
        let refused = route.err().with_context(|| format!("there is a way to {address}"))?;
        ensure!(format!("{refused:#}").contains("No route to host"), "{refused:#}");
        // A pod is told too.
        let url = match what {
            "-4" => format!("http://{address}:80/"),
            _ => format!("http://[{address}]:80/"),
        };
        let asked = lab.run("c", &["curl", "-sS", "-m", "20", &url]);
        let failed = format!("{:#}", asked.err().context("somebody answers")?);
        // curl's status if it could not connect; 28 would be that it gave up waiting.
        ensure!(failed.contains("curl: (7)"), "{failed}");
    }
    Ok(())
}

pub(crate) fn cleaned_up() -> anyhow::Result<()> {
    let lab = Lab::up(super::DEFINITION)?;
    let agent = Agent::of(&lab, "n1")?;
    let places = ["--state-dir", "--socket", "--bpffs", "--cni-conf-dir"];
    let places = places.map(|flag| agent.flag(flag)).into_iter().collect::<Option<Vec<_>>>();
    let places = places.context("the agent's folders")?;
    let cleanup = || -> anyhow::Result<(bool, String)> {
        let mut command = Command::new(peers::daymark());
        command.args(["agent", "cleanup"]).args(places.iter().flatten());
        let output = lab.inside("node/n1", || Ok(command.output()?))?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    };
    let (done, said) = cleanup()?;
    ensure!(!done && said.contains("another agent (process"), "{said}");
    lab.run("a", &["true"])?;
    let running = daymark_lab::processes::running(&lab.layout().processes(), "agent-n1");
    rustix::process::kill_process(running.context("it runs")?, rustix::process::Signal::KILL)?;
    let begin = Instant::now();
    let said = loop {
        let (done, said) = cleanup()?;
        // The kernel lets go of the lock with the process, which takes a moment.
        match done {
            true => break said,
            false => ensure!(begin.elapsed() < PATIENCE, "{said}"),
        }
    };
    ensure!(said.starts_with("removed ") && !said.starts_with("removed 0 "), "{said}");
    let left = |command: &[&str]| lab.run("node/n1", command);
    let links = left(&["ip", "-o", "link"])?;
    let names: Vec<&str> = links.lines().filter_map(|line| line.split(": ").nth(1)).collect();
    ensure!(names.iter().all(|name| *name == "lo" || name.starts_with("eth")), "{names:?}");
    for family in ["-4", "-6"] {
        let routes = left(&["ip", family, "route", "show", "table", "all"])?;
        ensure!(!routes.contains("10.244.") && !routes.contains("10:244:"), "{routes}");
    }
    let addresses = left(&["ip", "-o", "address", "show", "dev", "lo"])?;
    ensure!(!addresses.contains("10.244."), "{addresses}");
    let filters = left(&["tc", "filter", "show", "dev", "eth0", "ingress"])?;
    ensure!(filters.is_empty(), "{filters}");
    for [flag, place] in &places {
        let place = PathBuf::from(place);
        let there = match flag.as_str() {
            // What the lab itself made: a folder, a mount.
            "--cni-conf-dir" => fs::read_dir(&place)?.next().is_some(),
            "--bpffs" => fs::read_dir(&place)?.flatten().any(|entry| entry.path().is_dir()),
            _ => place.exists(),
        };
        ensure!(!there, "{flag} {} is left", place.display());
    }
    let (done, said) = cleanup()?;
    // Its own lock, for which the state folder is made again.
    ensure!(done && said.starts_with("removed 1 "), "{said}");
    Ok(())
}

/// The agent of a node, as it was started.
struct Agent {
    process: i32,
    words: Vec<String>,
}

impl Agent {
    fn of(lab: &Lab, node: &str) -> anyhow::Result<Self> {
        let name = format!("agent-{node}");
        let process = daymark_lab::processes::running(&lab.layout().processes(), &name);
        let process = process.context("the agent runs")?.as_raw_nonzero().get();
        let line = fs::read(format!("/proc/{process}/cmdline"))?;
        let words = line.split(|octet| *octet == 0).filter(|word| !word.is_empty());
        let words = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        Ok(Agent { process, words })
    }

    /// A flag that it was given, with its value.
    fn flag(&self, name: &str) -> Option<[String; 2]> {
        let at = self.words.iter().position(|word| word == name)?;
        Some([self.words[at].clone(), self.words.get(at + 1)?.clone()])
    }

    /// Kills what runs, starts it again and waits until it is ready.
    fn killed_and_started(&self, lab: &Lab, node: &str) -> anyhow::Result<()> {
        let (folder, name) = (lab.layout().processes(), format!("agent-{node}"));
        let running = daymark_lab::processes::running(&folder, &name);
        rustix::process::kill_process(
            running.context("the agent's process")?,
            rustix::process::Signal::KILL,
        )?;
        std::thread::sleep(Duration::from_millis(200));
        let place = format!("node/{node}");
        let mut child = lab.inside(&place, || Ok(self.command().spawn()?))?;
        daymark_lab::processes::write_down(&folder, &name, child.id())?;
        let ready = ["curl", "-sf", "-m", "2", "http://127.0.0.1:9964/readyz"];
        let begin = Instant::now();
        while lab.run(&place, &ready).is_err() {
            ensure!(begin.elapsed() < PATIENCE, "the agent is ready again");
            ensure!(child.try_wait()?.is_none(), "the agent runs: {}", lab.log(node));
            std::thread::sleep(Duration::from_millis(20));
        }
        // Whoever kills it next looks for a process, not for one that waits to be noticed.
        std::thread::spawn(move || child.wait());
        Ok(())
    }

    /// The same again.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}
