//! What depends on the API server: time to ready, a change's way to the answer, an outage, a relist.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use daymark_tests::control_plane::ControlPlane;
use http::Method;
use serde_json::json;

use crate::{
    cluster::MadeService,
    measure,
    servers::{Server, answers, page},
};

/// How long a change may take to show.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two questions for a change: the resolution of what is measured, and few enough of them
/// that asking takes no noticeable part of the servers' core.
const BETWEEN_QUESTIONS: Duration = Duration::from_micros(200);

/// Seconds until `/ready` says 200, polled every 2 ms from `started` on.
///
/// # Errors
/// If it does not within a minute.
pub fn until_ready(server: &Server, started: Instant) -> anyhow::Result<f64> {
    let port = server.ready.context("a server with a readiness page")?;
    while started.elapsed() < PATIENCE {
        if page(port, "/ready").is_ok_and(|text| text.contains(" 200 ")) {
            return Ok(started.elapsed().as_secs_f64());
        }
        sleep(Duration::from_millis(2));
    }
    bail!("{} is not ready:\n{}", server.name, server.program.output())
}

/// Milliseconds from sending a change until each server answers with it. A thread for each server
/// asks it before the change is sent and goes on, so that neither waits for the other's answer nor
/// for the API's.
///
/// # Errors
/// If the API refuses it or a server does not follow.
pub fn change(
    plane: &ControlPlane,
    servers: &[&Server],
    service: MadeService,
    turn: usize,
) -> anyhow::Result<Vec<f64>> {
    let started = Instant::now();
    follow(servers, service, turn, started, || patch(plane, service, turn))
}

/// Runs `cause` and gives the milliseconds from `started` until each server answers with what
/// `turn` makes.
fn follow(
    servers: &[&Server],
    service: MadeService,
    turn: usize,
    started: Instant,
    cause: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<f64>> {
    let (name, want) = (format!("{}.", service.domain()), service.turned_address(turn));
    let ports: Vec<u16> = servers.iter().map(|server| server.port).collect();
    std::thread::scope(|scope| {
        let waits = ports.iter().map(|port| scope.spawn(|| wait_for(*port, &name, &want, started)));
        let waits: Vec<_> = waits.collect();
        let caused = cause();
        let seen = waits.into_iter().map(|wait| wait.join().expect("waiting does not panic"));
        let seen = seen.collect::<anyhow::Result<Vec<f64>>>();
        caused.and(seen)
    })
}

fn wait_for(port: u16, name: &str, want: &str, started: Instant) -> anyhow::Result<f64> {
    loop {
        if answers(port, name).is_some_and(|all| all.iter().any(|address| address == want)) {
            return Ok(started.elapsed().as_secs_f64() * 1000.0);
        }
        if started.elapsed() > PATIENCE {
            bail!("a change does not show: {name} should have {want}");
        }
        sleep(BETWEEN_QUESTIONS);
    }
}

fn patch(plane: &ControlPlane, service: MadeService, turn: usize) -> anyhow::Result<()> {
    let patch = json!({ "endpoints": service.endpoints(turn) });
    plane.call(Method::PATCH, &service.slice_path(), Some(&patch)).map(drop)
}

/// Milliseconds from the API server's first answer after an outage until each server answers with a
/// change that was the first thing asked of it. The API server is down for `outage` and for as long
/// as it takes to start.
///
/// # Errors
/// If the API server does not come back or a server does not follow.
pub fn recovery(
    plane: &ControlPlane,
    servers: &[&Server],
    service: MadeService,
    turn: usize,
    outage: Duration,
) -> anyhow::Result<Vec<f64>> {
    plane.kill_api_server()?;
    sleep(outage);
    let starting = plane.begin_to_start_again()?;
    let asked = Instant::now();
    // Nothing listens yet, or what does is not ready to write.
    let back = loop {
        let sent = Instant::now();
        match patch(plane, service, turn) {
            Ok(()) => break sent,
            Err(error) if asked.elapsed() > PATIENCE => return Err(error),
            Err(_) => sleep(Duration::from_millis(5)),
        }
    };
    let took = follow(servers, service, turn, back, || Ok(()))?;
    starting.wait()?;
    Ok(took)
}

/// Memory of a server before a relist, and its peak during one: the server is stopped while the
/// history that it knows is compacted away, so that it has to list anew.
///
/// # Errors
/// If it does not follow afterwards.
pub fn relist(
    plane: &ControlPlane,
    server: &Server,
    service: MadeService,
    turn: usize,
) -> anyhow::Result<(f64, f64)> {
    let process = server.program.id();
    let before = measure::rss_mib(process)?;
    measure::forget_peak(process)?;
    server.program.signal("STOP")?;
    plane.kill_api_server()?;
    plane.start_again()?;
    // More changes than the API server remembers, and then none of them.
    for n in 0..200 {
        patch(plane, service, turn + 1 + n % 2)?;
    }
    plane.compact()?;
    plane.kill_api_server()?;
    plane.start_again()?;
    patch(plane, service, turn)?;
    server.program.signal("CONT")?;
    follow(&[server], service, turn, Instant::now(), || Ok(()))?;
    sleep(Duration::from_secs(3));
    Ok((before, measure::peak_mib(process)?))
}

/// A counter of a server's metrics, summed over its label sets that contain `label`.
///
/// # Errors
/// If the page can't be had.
pub fn metric(server: &Server, name: &str, label: &str) -> anyhow::Result<f64> {
    let text = page(server.metrics.context("a server with metrics")?, "/metrics")?;
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}
