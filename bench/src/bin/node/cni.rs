//! ADD and DEL through cnitool.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use daymark_bench::{report::Bound, statistics::quantile};
use daymark_tests::namespace::Namespace;
use serde_json::{Value, json};

use crate::{Figures, OURS, Run, THEIRS, note, places, reference::Node, runtime::Runtime};

/// Pods that are added at once.
const AT_ONCE: usize = 50;
/// What cnitool and the smallest plugin take.
const LOOPBACK: &str = "loopback";

impl Run {
    pub(crate) fn cni(&mut self) -> anyhow::Result<Value> {
        let lab = places::bare()?;
        let configurations = lab.layout().node("n1").network_configurations();
        let ours = Runtime::new(&lab.namespace("node/n1")?, &configurations, "daymark")?;
        let theirs = Node::new(1, 1500)?;
        let folder = tempfile::tempdir()?;
        let list =
            json!({ "cniVersion": "1.0.0", "name": LOOPBACK, "plugins": [{ "type": LOOPBACK }] });
        std::fs::write(folder.path().join("10.conflist"), list.to_string())?;
        let loopback = Runtime::new(&theirs.network.network(), folder.path(), LOOPBACK)?;
        let pods: Vec<Namespace> =
            (0..AT_ONCE).map(|_| Namespace::new()).collect::<anyhow::Result<_>>()?;
        let sides = [(OURS, &ours), (THEIRS, &theirs.runtime), (LOOPBACK, &loopback)];

        let mut figures = Figures::new();
        for round in 0..self.arguments.rounds {
            alone(&mut figures, &sides, &pods, self.arguments.pods, round, false)?;
            alone(&mut figures, &sides[..2], &pods, self.arguments.pods / 2, round, true)?;
            let mut sides = [sides[0], sides[1]];
            sides.rotate_left(round % 2);
            for (side, runtime) in sides {
                for verb in ["add", "del"] {
                    let took = at_once(runtime, verb, &pods)?;
                    println!("round {round} {AT_ONCE} at once: {verb} {side} {took:?}");
                    note(&mut figures, &whole(verb), side, milliseconds(took));
                }
            }
        }
        for verb in ["add", "del"] {
            self.compare(&figures, &what(verb, "p50", false), Bound::AtMost(0.5))?;
            self.compare(&figures, &what(verb, "p99", false), Bound::AtMost(0.6))?;
            self.compare(&figures, &whole(verb), Bound::AtMost(0.6))?;
            self.compare(&figures, &what(verb, "p50", true), Bound::AtMost(0.35))?;
        }
        self.table("CNI through cnitool, with the start of all programs", &figures);
        Ok(serde_json::to_value(figures)?)
    }
}

/// One pod after the other, the sides in turn: what disturbs one disturbs the others.
fn alone(
    figures: &mut Figures,
    sides: &[(&'static str, &Runtime)],
    pods: &[Namespace],
    count: usize,
    round: usize,
    with_port: bool,
) -> anyhow::Result<()> {
    let mut times = vec![[Vec::new(), Vec::new()]; sides.len()];
    for number in 0..count {
        let pod = &pods[number % pods.len()];
        let port = json!([{
            "hostPort": 20_000 + number, "containerPort": 80, "protocol": "tcp",
        }]);
        let ports = with_port.then_some(&port);
        for turn in 0..sides.len() {
            let place = (number + round + turn) % sides.len();
            let (side, runtime) = sides[place];
            for (times, verb) in times[place].iter_mut().zip(["add", "del"]) {
                let (took, _) = runtime.call(verb, pod, ports).context(side)?;
                times.push(milliseconds(took));
            }
        }
    }
    for ((side, _), times) in sides.iter().zip(times) {
        for (times, verb) in times.iter().zip(["add", "del"]) {
            for (name, place) in [("p50", 0.5), ("p99", 0.99)] {
                let figure = quantile(times, place).context("pods were added")?;
                println!("round {round} {}: {side} {figure:.1}", what(verb, name, with_port));
                note(figures, &what(verb, name, with_port), side, figure);
            }
        }
    }
    Ok(())
}

/// All pods at the same time; gives how long it took until the last one was done.
fn at_once(runtime: &Runtime, verb: &str, pods: &[Namespace]) -> anyhow::Result<Duration> {
    let start = Instant::now();
    thread::scope(|scope| {
        let calls: Vec<_> =
            pods.iter().map(|pod| scope.spawn(|| runtime.call(verb, pod, None))).collect();
        calls
            .into_iter()
            .try_for_each(|call| call.join().map_err(|_| anyhow!("a call panicked"))?.map(drop))
    })?;
    Ok(start.elapsed())
}

fn what(verb: &str, quantile: &str, with_port: bool) -> String {
    let port = if with_port { " with a hostPort" } else { "" };
    format!("{}{port}: {quantile}, ms", verb.to_uppercase())
}

fn whole(verb: &str) -> String {
    format!("{AT_ONCE} at once: {}, ms", verb.to_uppercase())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
