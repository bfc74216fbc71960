//! What happens while the API server can't be followed, and after.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::ensure;
use daymark_tests::{
    asking::{Asker, answer, wait_for},
    process::retried,
};
use http::Method;
use serde_json::json;

use crate::{
    api::{World, follows},
    live::Live,
    objects::{endpoints, namespace, service, service_path, slice, slice_path},
};

/// Three Services of one namespace: one that stays, one that goes, one whose endpoints change.
struct Scene {
    namespace: &'static str,
    stays: (String, &'static str),
    goes: (String, &'static str),
    turns: (String, &'static str),
}

const BEFORE: [(&str, bool); 2] = [("10.4.0.1", true), ("10.4.0.2", true)];
const AFTER: [(&str, bool); 2] = [("10.4.0.3", true), ("10.4.0.4", true)];
const TURNED: &str = "10.4.0.3 10.4.0.4";

impl Scene {
    fn make(
        world: &World,
        dns: SocketAddr,
        here: &'static str,
        [stays, goes]: [&'static str; 2],
    ) -> anyhow::Result<Self> {
        let plane = &world.plane;
        retried(|| plane.make(&namespace(here)))?;
        plane.make(&service(here, "stays", stays))?;
        plane.make(&service(here, "goes", goes))?;
        plane.make(&service(here, "turns", "None"))?;
        plane.make(&slice(here, "turns-1", "turns", &BEFORE))?;
        let name = |service: &str| format!("{service}.{here}.svc.cluster.local.");
        let scene = Scene {
            namespace: here,
            stays: (name("stays"), stays),
            goes: (name("goes"), goes),
            turns: (name("turns"), "10.4.0.1 10.4.0.2"),
        };
        for (name, want) in [&scene.stays, &scene.goes, &scene.turns] {
            wait_for(dns, name, "A", want)?;
        }
        Ok(scene)
    }

    /// Deletes what goes, changes what turns, and makes something new.
    fn change(&self, world: &World, new: &str) -> anyhow::Result<()> {
        let (plane, here) = (&world.plane, self.namespace);
        retried(|| plane.call(Method::DELETE, &service_path(here, "goes"), None))?;
        let patch = json!({ "endpoints": endpoints(&AFTER) });
        plane.call(Method::PATCH, &slice_path(here, "turns-1"), Some(&patch))?;
        plane.make(&service(here, "new", new))
    }

    fn wait_for_change(&self, dns: SocketAddr, new: &str) -> anyhow::Result<()> {
        let name = format!("new.{}.svc.cluster.local.", self.namespace);
        wait_for(dns, &name, "A", new)?;
        wait_for(dns, &self.turns.0, "A", TURNED)?;
        wait_for(dns, &self.goes.0, "A", "NXDOMAIN")?;
        wait_for(dns, &self.stays.0, "A", self.stays.1)
    }

    fn ask(&self, dns: SocketAddr) -> [Asker; 3] {
        [&self.stays, &self.goes, &self.turns].map(|(name, _)| Asker::start(dns, name, "A"))
    }

    /// Every answer was the one before the change or the one after it.
    fn judge(&self, askers: [Asker; 3]) -> anyhow::Result<()> {
        let [stayed, went, turned] = askers.map(Asker::stop);
        let old_or = |old: &str, new: &str| BTreeSet::from([old.to_owned(), new.to_owned()]);
        ensure!(stayed == BTreeSet::from([self.stays.1.to_owned()]), "what stays was {stayed:?}");
        ensure!(went.is_subset(&old_or(self.goes.1, "NXDOMAIN")), "what goes was {went:?}");
        ensure!(turned.is_subset(&old_or(self.turns.1, TURNED)), "what turns was {turned:?}");
        Ok(())
    }
}

/// The server stands still while objects change and etcd forgets how: its watches are answered with
/// 410 Gone and it has to list anew.
pub(crate) fn relist(world: &World) -> anyhow::Result<()> {
    let live = world.live();
    let scene = Scene::make(world, live.dns, "relist", ["10.96.41.1", "10.96.41.2"])?;
    let lists = live.metric("daymark_source_lists_total", "services")?;
    let askers = scene.ask(live.dns);
    askers[0].wait_for_more(5)?;
    live.program.signal("STOP")?;
    let changed = (|| {
        world.plane.kill_api_server()?;
        world.plane.start_again()?;
        scene.change(world, "10.96.41.3")?;
        world.plane.compact()?;
        // It would answer watches from its own memory otherwise.
        world.plane.kill_api_server()?;
        world.plane.start_again()
    })();
    live.program.signal("CONT")?;
    changed?;
    scene.wait_for_change(live.dns, "10.96.41.3")?;
    askers[0].wait_for_more(5)?;
    scene.judge(askers)?;
    ensure!(
        live.metric("daymark_source_lists_total", "services")? > lists,
        "nothing was listed anew: this test shows nothing"
    );
    Ok(())
}

/// The API server dies; the last state is served, `/ready` stays, and the data's age grows.
pub(crate) fn dead_api(world: &World) -> anyhow::Result<()> {
    let mut live = world.live();
    let scene = Scene::make(world, live.dns, "dead", ["10.96.42.1", "10.96.42.2"])?;
    let askers = scene.ask(live.dns);
    askers[0].wait_for_more(5)?;
    world.plane.kill_api_server()?;
    let metrics = live.metrics;
    let age = || daymark_tests::pages::metric(metrics, "daymark_cluster_age_seconds", "");
    let seen = (|| {
        live.program
            .wait_until("telling that its data is old", || age().is_ok_and(|age| age > 2.0))?;
        for asker in &askers {
            asker.wait_for_more(50)?;
        }
        ensure!(live.readiness()? == 200, "not ready without the API server");
        ensure!(live.metric("daymark_cluster_synced", "")? > 0.0, "not synced any more");
        Ok(())
    })();
    world.plane.start_again()?;
    seen?;
    scene.change(world, "10.96.42.3")?;
    scene.wait_for_change(live.dns, "10.96.42.3")?;
    live.program.wait_until("current again", || age().is_ok_and(|age| age < 2.0))?;
    ensure!(live.readiness()? == 200, "not ready with the API server back");
    scene.judge(askers)
}

/// What changes while the server can't reach the API is seen once it can: the API server is back, and
/// the server starts to follow only after the changes.
pub(crate) fn changed_while_dead(world: &World) -> anyhow::Result<()> {
    let live = world.live();
    let scene = Scene::make(world, live.dns, "late", ["10.96.43.1", "10.96.43.2"])?;
    let askers = scene.ask(live.dns);
    askers[0].wait_for_more(5)?;
    world.plane.kill_api_server()?;
    live.program.signal("STOP")?;
    let changed = world.plane.start_again().and_then(|()| scene.change(world, "10.96.43.3"));
    live.program.signal("CONT")?;
    changed?;
    scene.wait_for_change(live.dns, "10.96.43.3")?;
    scene.judge(askers)
}

/// A server that starts while the API server is dead answers SERVFAIL and is not ready; both change
/// when it is back.
pub(crate) fn first_list(world: &World) -> anyhow::Result<()> {
    let scene = Scene::make(world, world.live().dns, "first", ["10.96.44.1", "10.96.44.2"])?;
    world.plane.kill_api_server()?;
    let begun = Live::start(&follows(&world.plane), None).and_then(|live| {
        ensure!(live.readiness()? == 503, "ready before the first list");
        let early = answer(live.dns, &scene.stays.0, "A")?;
        ensure!(early == "SERVFAIL", "{early} before the first list");
        Ok(live)
    });
    world.plane.start_again()?;
    let mut live = begun?;
    live.wait_until_ready()?;
    for (name, want) in [&scene.stays, &scene.goes, &scene.turns] {
        let got = answer(live.dns, name, "A")?;
        ensure!(got == *want, "{name} is {got} once ready");
    }
    Ok(())
}
