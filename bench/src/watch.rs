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

/// Milliseconds from sending a change to each server's changed answer, all servers watching the
/// same change. They are asked in turn, the first alternating.
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
    let patch = json!({ "endpoints": service.endpoints(turn) });
    plane.call(Method::PATCH, &service.slice_path(), Some(&patch))?;
    follow(servers, service, turn, started)
}

/// Milliseconds from `started` until each server answers with what `turn` made.
fn follow(
    servers: &[&Server],
    service: MadeService,
    turn: usize,
    started: Instant,
) -> anyhow::Result<Vec<f64>> {
    let (name, want) = (format!("{}.", service.domain()), service.turned_address(turn));
    let mut seen: Vec<Option<f64>> = vec![None; servers.len()];
    let mut order: Vec<usize> = (0..servers.len()).collect();
    order.rotate_left(turn % servers.len().max(1));
    while seen.iter().any(Option::is_none) {
        for index in order.iter().copied() {
            if seen[index].is_none()
                && answers(servers[index].port, &name).is_some_and(|all| all.contains(&want))
            {
                seen[index] = Some(started.elapsed().as_secs_f64() * 1000.0);
            }
        }
        if started.elapsed() > PATIENCE {
            bail!("a change does not show: {name} should have {want}");
        }
    }
    Ok(seen.into_iter().flatten().collect())
}

/// Milliseconds that each server takes after an API outage of `outage` to show a change made as soon
/// as the API server answers again.
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
    plane.start_again()?;
    change(plane, servers, service, turn)
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
        let patch = json!({ "endpoints": service.endpoints(turn + 1 + n % 2) });
        plane.call(Method::PATCH, &service.slice_path(), Some(&patch))?;
    }
    plane.compact()?;
    plane.kill_api_server()?;
    plane.start_again()?;
    let patch = json!({ "endpoints": service.endpoints(turn) });
    plane.call(Method::PATCH, &service.slice_path(), Some(&patch))?;
    server.program.signal("CONT")?;
    follow(&[server], service, turn, Instant::now())?;
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
