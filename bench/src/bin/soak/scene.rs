//! The cluster, the server and the upstream, what happens to them, and who asks.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::sleep,
    time::Duration,
};

use daymark_bench::{cluster::Cluster, queries, servers};
use daymark_tests::{
    asking,
    control_plane::ControlPlane,
    peers, ports,
    process::{Program, retried},
};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::truth::{SERVICES, Truth, Version};

/// Services that stay as they are.
const STEADY: usize = 500;
/// Names of the upstream.
const OUTSIDE: usize = 50;

/// What goes wrong, and is mended before the next trouble.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// The API server and etcd are away for some seconds.
    ApiAway,
    /// The API server's history is gone.
    Compaction,
    /// The upstream says nothing for some seconds.
    UpstreamSilent,
    /// The Corefile is read anew.
    Reload,
    /// The server is killed and started again.
    ServerKilled,
    /// The server is killed and started again while the API is away.
    ServerKilledWithoutApi,
}

impl Trouble {
    /// The trouble of this turn; in the second half none that ends the server.
    pub(crate) fn number(number: usize, second_half: bool) -> Self {
        let all = [
            Trouble::ApiAway,
            Trouble::UpstreamSilent,
            Trouble::Reload,
            Trouble::Compaction,
            Trouble::ServerKilled,
            Trouble::ServerKilledWithoutApi,
        ];
        all[number % if second_half { 4 } else { all.len() }]
    }
}

pub(crate) struct Scene {
    folder: TempDir,
    plane: ControlPlane,
    upstream: servers::Server,
    server: Mutex<Program>,
    dns: SocketAddr,
    /// Held by whoever changes objects: while the API is away nobody does.
    api: Mutex<()>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scene {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let plane = ControlPlane::start()?;
        Cluster { services: STEADY }.load(&plane)?;
        let objects: Vec<Value> = (0..SERVICES).flat_map(|n| [service(n), slice(n, 0)]).collect();
        plane.make_all(&objects)?;
        let mut upstream = servers::unbound(folder.path(), &queries::outside_zone(OUTSIDE))?;
        upstream.wait_for("host1.example.com.")?;
        let dns = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
        let corefile = format!(
            ".:{} {{\n bind 127.0.0.1\n errors\n kubernetes cluster.local in-addr.arpa {{\n \
             kubeconfig {}\n pods insecure\n fallthrough in-addr.arpa\n }}\n \
             cache 5\n forward . 127.0.0.1:{}\n loadbalance\n reload\n}}\n",
            dns.port(),
            plane.kubeconfig().display(),
            upstream.port,
        );
        std::fs::write(folder.path().join("Corefile"), corefile)?;
        std::fs::create_dir(folder.path().join("state"))?;
        let server = Mutex::new(start_server(folder.path(), dns)?);
        Ok(Scene { folder, plane, upstream, server, dns, api: Mutex::new(()) })
    }

    /// The server's process.
    pub(crate) fn server_id(&self) -> u32 {
        locked(&self.server).id()
    }

    /// Changes one Service after the other, until it is over.
    pub(crate) fn keep_changing(&self, truth: &Truth, over: &AtomicBool) {
        for number in (0..SERVICES).cycle() {
            if over.load(Relaxed) {
                return;
            }
            let _there = locked(&self.api);
            let version = truth.send(number);
            let path = format!(
                "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/changing-{number}"
            );
            let body = json!({ "endpoints": endpoints(number, version) });
            // A change that fails may have come through all the same.
            if self.plane.call(Method::PATCH, &path, Some(&body)).is_ok() {
                truth.acknowledge(number, version);
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Asks, until it is over.
    pub(crate) fn keep_asking(&self, truth: &Truth, over: &AtomicBool, seed: u64) {
        let mut state = seed;
        while !over.load(Relaxed) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = (state >> 33) as usize;
            match number % 10 {
                0 => self.ask_missing(truth, number),
                1 => self.ask_outside(truth, number % OUTSIDE),
                2 => self.ask_steady(truth, number % STEADY),
                _ => self.ask_changing(truth, number % SERVICES),
            }
            sleep(Duration::from_millis(1));
        }
    }

    fn ask(&self, name: &str) -> Option<String> {
        asking::answer(self.dns, name, "A").ok()
    }

    fn ask_changing(&self, truth: &Truth, number: usize) {
        let asked = truth.ask(number);
        let name = format!("changing-{number}.default.svc.cluster.local.");
        match self.ask(&name).as_deref() {
            None => truth.count("no reply"),
            Some("SERVFAIL") => truth.count("SERVFAIL"),
            Some(text) => match version_of(number, text) {
                Some(version) => truth.judge(number, version, asked),
                None => truth.note_wrong(&format!("{name} is {text}")),
            },
        }
    }

    fn ask_steady(&self, truth: &Truth, number: usize) {
        let made = daymark_bench::cluster::MadeService::number(number);
        let name = format!("{}.", made.domain());
        self.judge_fixed(truth, &name, |text| text.starts_with("10.96.") || made.is_headless());
    }

    fn ask_missing(&self, truth: &Truth, number: usize) {
        let name = format!("missing-{number}.default.svc.cluster.local.");
        self.judge_fixed(truth, &name, |text| text == "NXDOMAIN");
    }

    fn ask_outside(&self, truth: &Truth, number: usize) {
        let (name, want) =
            (format!("host{number}.example.com."), format!("192.0.2.{}", number % 250 + 1));
        self.judge_fixed(truth, &name, |text| text == want);
    }

    fn judge_fixed(&self, truth: &Truth, name: &str, right: impl Fn(&str) -> bool) {
        match self.ask(name) {
            None => truth.count("no reply"),
            Some(text) if text == "SERVFAIL" => truth.count("SERVFAIL"),
            Some(text) if right(&text) => truth.count("right"),
            Some(text) => truth.note_wrong(&format!("{name} is {text}")),
        }
    }

    /// Makes a trouble and mends it.
    pub(crate) fn make(&self, trouble: Trouble, truth: &Truth) -> anyhow::Result<()> {
        truth.set_well(false);
        match trouble {
            Trouble::ApiAway => self.without_api(|| {
                sleep(Duration::from_secs(3));
                Ok(())
            })?,
            Trouble::Compaction => self.plane.compact()?,
            Trouble::UpstreamSilent => {
                self.upstream.program.signal("STOP")?;
                sleep(Duration::from_secs(5));
                self.upstream.program.signal("CONT")?;
            }
            Trouble::Reload => locked(&self.server).signal("USR1")?,
            Trouble::ServerKilled => self.kill_server(truth)?,
            Trouble::ServerKilledWithoutApi => self.without_api(|| self.kill_server(truth))?,
        }
        truth.set_well(true);
        Ok(())
    }

    fn without_api(&self, meanwhile: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let _nobody_changes = locked(&self.api);
        self.plane.stop()?;
        let outcome = meanwhile();
        self.plane.start_again()?;
        retried(|| {
            self.plane.call(Method::GET, "/readyz", None).map(drop).or_else(|error| {
                // The page is text, which is no JSON.
                if format!("{error:#}").contains("expected value") { Ok(()) } else { Err(error) }
            })
        })?;
        outcome
    }

    fn kill_server(&self, truth: &Truth) -> anyhow::Result<()> {
        let mut server = locked(&self.server);
        server.signal("KILL")?;
        server.wait_for_end()?;
        truth.forget_seen();
        *server = start_server(self.folder.path(), self.dns)?;
        truth.forget_seen();
        Ok(())
    }
}

fn start_server(folder: &Path, dns: SocketAddr) -> anyhow::Result<Program> {
    let at = |file: &str| folder.join(file).display().to_string();
    let words = ["dns", "--state-dir", &at("state"), "-conf", &at("Corefile")];
    let mut server = Program::start(&peers::daymark(), words, &folder.join("log"))?;
    server.wait_until_listening(dns)?;
    Ok(server)
}

fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": format!("changing-{number}"), "namespace": "default" },
        "spec": { "clusterIP": "None", "ports": [{ "name": "http", "port": 80 }] },
    })
}

fn slice(number: usize, version: Version) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("changing-{number}"), "namespace": "default",
            "labels": { "kubernetes.io/service-name": format!("changing-{number}") },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080 }],
        "endpoints": endpoints(number, version),
    })
}

/// An endpoint whose address tells Service and version.
fn endpoints(number: usize, version: Version) -> Value {
    let [_, high, middle, low] = version.to_be_bytes();
    // The version's highest octets never get beyond 6 bits in a run.
    let address = Ipv4Addr::new(20 + (high & 63), middle, low, number as u8);
    json!([{ "addresses": [address.to_string()], "conditions": { "ready": true } }])
}

/// The version that an answer about a Service tells; `None` if it is none of its addresses.
fn version_of(number: usize, answer: &str) -> Option<Version> {
    let [high, middle, low, of] = answer.parse::<Ipv4Addr>().ok()?.octets();
    let version = u32::from_be_bytes([0, high.checked_sub(20)?, middle, low]);
    (usize::from(of) == number).then_some(version)
}
