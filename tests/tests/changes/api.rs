//! Changes in a real API server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use daymark_tests::{
    asking::{answer, wait_for},
    control_plane::ControlPlane,
    peers,
};
use http::Method;
use libtest_mimic::{Failed, Trial};

use serde_json::json;

use crate::{
    live::Live,
    objects::{endpoints, namespace, service, service_path, slice, slice_path},
    outage, saved, trial,
};

/// An API server and a server that follows it, shared by all trials.
pub(crate) struct World {
    pub(crate) plane: ControlPlane,
    live: Mutex<Live>,
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let plane = ControlPlane::start()?;
        let mut live = Live::start(&follows(&plane), None)?;
        live.wait_until_ready()?;
        Ok(World { plane, live: Mutex::new(live) })
    }

    /// The server that follows; a trial that failed with it in hand leaves it as it is.
    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the `kubernetes` block says to follow this API server.
pub(crate) fn follows(plane: &ControlPlane) -> String {
    format!("kubeconfig {}", plane.kubeconfig().display())
}

type Test = fn(&World) -> anyhow::Result<()>;

/// The trials, or one that says why there are none.
pub(crate) fn trials() -> Vec<Trial> {
    if let Err(reason) =
        ["etcd", "kube-apiserver"].into_iter().try_for_each(|p| peers::program(p).map(drop))
    {
        let name = format!("changes in a kube-apiserver: {reason}");
        return vec![Trial::test(name, || Ok(())).with_ignored_flag(true)];
    }
    let world = match World::start() {
        Ok(world) => Arc::new(world),
        Err(error) => {
            let what = format!("{error:#}");
            return vec![Trial::test("an API server is followed", || Err(Failed::from(what)))];
        }
    };
    let tests: [(&str, Test); 9] = [
        ("api: a Service is answered from when it is made until it is deleted", comes_and_goes),
        ("api: headless answers follow readiness", readiness),
        ("api: a slice moves to another Service", slice_moves),
        ("api: a namespace goes with all that is in it", namespace_goes),
        ("api: what was deleted while a watch could not tell is gone after it", outage::relist),
        ("api: the last state is served while the API server is dead", outage::dead_api),
        (
            "api: what changed before the server reached the API again is caught up with",
            outage::changed_while_dead,
        ),
        ("api: not ready before the first list, ready after it", outage::first_list),
        (
            "api: a server that starts while the API is away answers from its saved state",
            saved::survives,
        ),
    ];
    let of = |(name, test): (&str, Test)| {
        let world = Arc::clone(&world);
        trial(name, move || test(&world))
    };
    tests.into_iter().map(of).collect()
}

fn comes_and_goes(world: &World) -> anyhow::Result<()> {
    let (plane, dns) = (&world.plane, world.live().dns);
    let (name, reverse) = ("web.come.svc.cluster.local.", "1.40.96.10.in-addr.arpa.");
    plane.make(&namespace("come"))?;
    wait_for(dns, "come.svc.cluster.local.", "A", "NODATA")?;
    for _ in 0..3 {
        anyhow::ensure!(answer(dns, name, "A")? == "NXDOMAIN", "there before it is made");
        plane.make(&service("come", "web", "10.96.40.1"))?;
        wait_for(dns, name, "A", "10.96.40.1")?;
        wait_for(dns, reverse, "PTR", name)?;
        plane.call(Method::DELETE, &service_path("come", "web"), None)?;
        wait_for(dns, name, "A", "NXDOMAIN")?;
        wait_for(dns, reverse, "PTR", "NXDOMAIN")?;
    }
    Ok(())
}

fn readiness(world: &World) -> anyhow::Result<()> {
    let (plane, dns) = (&world.plane, world.live().dns);
    let name = "db.flip.svc.cluster.local.";
    plane.make(&namespace("flip"))?;
    plane.make(&service("flip", "db", "None"))?;
    let all = ["10.1.0.1", "10.1.0.2", "10.1.0.3"];
    plane.make(&slice("flip", "db-1", "db", &all.map(|address| (address, true))))?;
    wait_for(dns, name, "A", &all.join(" "))?;
    // Every set of ready ones but the empty one, and all of them again.
    for set in (1..8).rev().chain([7]) {
        let now: Vec<(&str, bool)> =
            all.iter().enumerate().map(|(bit, address)| (*address, set >> bit & 1 == 1)).collect();
        let patch = json!({ "endpoints": endpoints(&now) });
        plane.call(Method::PATCH, &slice_path("flip", "db-1"), Some(&patch))?;
        let ready: Vec<&str> = now.iter().filter(|one| one.1).map(|one| one.0).collect();
        wait_for(dns, name, "A", &ready.join(" "))?;
    }
    let patch = json!({ "endpoints": endpoints(&all.map(|address| (address, false))) });
    plane.call(Method::PATCH, &slice_path("flip", "db-1"), Some(&patch))?;
    wait_for(dns, name, "A", "NXDOMAIN")
}

fn slice_moves(world: &World) -> anyhow::Result<()> {
    let (plane, dns) = (&world.plane, world.live().dns);
    let (blue, green) = ("blue.move.svc.cluster.local.", "green.move.svc.cluster.local.");
    plane.make(&namespace("move"))?;
    for (service_name, address) in [("blue", "10.2.0.1"), ("green", "10.2.0.2")] {
        plane.make(&service("move", service_name, "None"))?;
        let slice_name = format!("{service_name}-1");
        plane.make(&slice("move", &slice_name, service_name, &[(address, true)]))?;
    }
    plane.make(&slice("move", "wanders", "blue", &[("10.2.0.3", true)]))?;
    for (label, blues, greens) in [
        ("blue", "10.2.0.1 10.2.0.3", "10.2.0.2"),
        ("green", "10.2.0.1", "10.2.0.2 10.2.0.3"),
        ("blue", "10.2.0.1 10.2.0.3", "10.2.0.2"),
        ("nobody", "10.2.0.1", "10.2.0.2"),
        ("green", "10.2.0.1", "10.2.0.2 10.2.0.3"),
    ] {
        let patch = json!({ "metadata": { "labels": { "kubernetes.io/service-name": label } } });
        plane.call(Method::PATCH, &slice_path("move", "wanders"), Some(&patch))?;
        wait_for(dns, blue, "A", blues).with_context(|| format!("the slice is {label}'s"))?;
        wait_for(dns, green, "A", greens).with_context(|| format!("the slice is {label}'s"))?;
        if label != "nobody" {
            let target = format!("10-2-0-3.{label}.move.svc.cluster.local.");
            wait_for(dns, "3.0.2.10.in-addr.arpa.", "PTR", &target)?;
        }
    }
    Ok(())
}

fn namespace_goes(world: &World) -> anyhow::Result<()> {
    let (plane, dns) = (&world.plane, world.live().dns);
    plane.make(&namespace("brief"))?;
    plane.make(&service("brief", "web", "10.96.40.2"))?;
    plane.make(&service("brief", "db", "None"))?;
    plane.make(&slice("brief", "db-1", "db", &[("10.3.0.1", true)]))?;
    wait_for(dns, "web.brief.svc.cluster.local.", "A", "10.96.40.2")?;
    wait_for(dns, "db.brief.svc.cluster.local.", "A", "10.3.0.1")?;
    wait_for(dns, "brief.svc.cluster.local.", "A", "NODATA")?;
    // What the controller manager does when a namespace is deleted; none runs here.
    plane.call(Method::DELETE, "/api/v1/namespaces/brief", None)?;
    for collection in
        [slice_path("brief", "db-1"), service_path("brief", "web"), service_path("brief", "db")]
    {
        plane.call(Method::DELETE, &collection, None)?;
    }
    let mut last = namespace("brief");
    last["spec"] = json!({ "finalizers": [] });
    plane.call(Method::PUT, "/api/v1/namespaces/brief/finalize", Some(&last))?;
    for (name, rtype) in [
        ("web.brief.svc.cluster.local.", "A"),
        ("db.brief.svc.cluster.local.", "A"),
        ("10-3-0-1.db.brief.svc.cluster.local.", "A"),
        ("brief.svc.cluster.local.", "A"),
        ("2.40.96.10.in-addr.arpa.", "PTR"),
        ("1.0.3.10.in-addr.arpa.", "PTR"),
    ] {
        wait_for(dns, name, rtype, "NXDOMAIN")?;
    }
    Ok(())
}
