//! `daymark status`: how this node's agent is doing, in words or as JSON.

use std::{fmt::Write, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, ensure};
use daymark_agent::status::Status;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{
    arguments::{StatusFormat, StatusOptions},
    output::{complain, print},
};

/// How long the agent may take: it walks its tables for the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer that is read, in octets.
const LONGEST: usize = 16 << 20;

/// Prints the status. Success if pods can be added and nothing is wrong.
pub(crate) fn run(options: &StatusOptions) -> ExitCode {
    let shown = ask(options.agent).and_then(|status| {
        Ok(match options.output {
            StatusFormat::Text => (in_words(&status), is_well(&status)),
            StatusFormat::Json => {
                (format!("{}\n", serde_json::to_string_pretty(&status)?), is_well(&status))
            }
        })
    });
    match shown {
        Ok((text, well)) => {
            print(&text);
            if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            complain(&format!("{error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

fn is_well(status: &Status) -> bool {
    status.ready && status.failed.is_none()
}

fn ask(agent: SocketAddr) -> anyhow::Result<Status> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let answer = tokio::time::timeout(PATIENCE, get(agent)).await;
        answer.with_context(|| format!("the agent at {agent} did not answer in {PATIENCE:?}"))?
    })
}

async fn get(agent: SocketAddr) -> anyhow::Result<Status> {
    let stream = TcpStream::connect(agent).await.with_context(|| {
        format!("no agent answers at {agent}; where it does is its --listen, and --agent here")
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer.
    tokio::spawn(connection);
    let request = Request::get("/status").header("host", agent.to_string());
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let code = response.status();
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("reading the agent's answer: {error}"))?;
    let body = body.to_bytes();
    ensure!(code.is_success(), "the agent says {code}: {}", String::from_utf8_lossy(&body).trim());
    serde_json::from_slice(&body).context("the agent's answer is none of this version")
}

fn in_words(status: &Status) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let mut line = |name: &str, what: &str| {
        let _ = writeln!(text, "{name:<14}{what}");
    };
    line("node", &format!("{}  (agent {})", status.node, status.version));
    line("pods", if status.ready { "can be added" } else { "can't be added yet" });
    if let Some(what) = &status.waits_for {
        line("waits for", what);
    }
    if let Some(why) = &status.failed {
        line("wrong", &format!("{why}; what was before holds"));
    }
    line("attached", &status.pods.to_string());
    for range in &status.pod_ranges {
        line("pod range", &format!("{}  {} of {} taken", range.range, range.taken, range.size));
    }
    if let Some(network) = &status.network {
        let addresses: Vec<String> = network.addresses.iter().map(ToString::to_string).collect();
        line("uplink", &format!("{}  {}", network.uplink, addresses.join(" ")));
        line("pods' MTU", &network.pod_mtu.to_string());
        for node in &network.nodes {
            for (range, way) in &node.pod_ranges {
                line("to node", &format!("{}  {range}  {way}", node.name));
            }
        }
    }
    for program in &status.foreign {
        line("also there", &format!("{program}: not ours, left alone"));
    }
    for dropped in &status.drops {
        let what = format!("{} {} {}", dropped.packets, dropped.reason, dropped.direction);
        line("dropped", &what);
    }
    for table in &status.tables {
        let fill = format!("{:<18} {:>8} of {}", table.table, table.entries, table.limit);
        line("table", &format!("{fill}  {} KiB", table.memory >> 10));
    }
    text
}

#[cfg(test)]
mod tests {
    use daymark_agent::status::{Network, OtherNode, PodRange};

    use super::*;

    #[test]
    fn a_status_is_put_in_words() {
        let nodes = vec![OtherNode {
            name: "n2".to_owned(),
            pod_ranges: [("10.244.2.0/24".to_owned(), "native".to_owned())].into(),
        }];
        let range = "10.244.1.0/24".parse().expect("a range");
        let mut status = Status {
            node: "n1".to_owned(),
            version: "1.2.3".to_owned(),
            ready: true,
            pods: 3,
            pod_ranges: vec![PodRange { range, taken: 3, size: 253 }],
            network: Some(Network {
                uplink: "eth0".to_owned(),
                addresses: vec!["192.0.2.1".parse().expect("an address")],
                pod_mtu: 1500,
                nodes,
            }),
            ..Status::default()
        };
        assert!(is_well(&status));
        let text = in_words(&status);
        for line in [
            "node          n1  (agent 1.2.3)",
            "pods          can be added",
            "pod range     10.244.1.0/24  3 of 253 taken",
            "uplink        eth0  192.0.2.1",
            "to node       n2  10.244.2.0/24  native",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        status.failed = Some("no route".to_owned());
        assert!(!is_well(&status));
        assert!(in_words(&status).contains("wrong         no route; what was before holds\n"));
    }
}
