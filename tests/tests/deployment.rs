//! As the kube-dns Deployment runs it: kubeadm's Corefile and arguments, a user that is not root with
//! one capability, a read-only root, a network of its own, a ServiceAccount that may list and watch
//! three kinds, and a token that is rotated. CoreDNS runs beside it in the same way.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, ensure};
use daymark_tests::{
    asking,
    control_plane::ControlPlane,
    folder,
    namespace::Namespace,
    pages, peers,
    process::{Program, retried},
    rules,
};
use http::Method;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "deployment/pod.rs"]
mod pod;
#[path = "deployment/questions.rs"]
mod questions;
#[path = "deployment/relay.rs"]
mod relay;

use pod::{Image, Pod};

/// Where the resolvers outside are.
const RESOLVER: &str = "10.53.0.53";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The last ones change what the others ask.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    let peer = |name| peers::program(name).err();
    let missing = ["etcd", "kube-apiserver", "coredns"].into_iter().find_map(peer);
    if let Some(reason) = Namespace::unavailable().or(missing) {
        let name = format!("the Deployment: {reason}");
        return vec![Trial::test(name, || Ok(())).with_ignored_flag(true)];
    }
    World::start().map(Arc::new).and_then(|world| trials_in(&world)).unwrap_or_else(|error| {
        let what = format!("{error:#}");
        vec![Trial::test("the Deployment comes up", || Err(Failed::from(what)))]
    })
}

fn trials_in(world: &Arc<World>) -> anyhow::Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for (group, server) in [("coredns", world.coredns.port(53)?), ("daymark", world.dns)] {
        for case in questions::all()? {
            let expected = match &case.coredns {
                Some(difference) if group == "coredns" && difference.skip => continue,
                _ if group == "coredns" && questions::is_cached_by_coredns(&case) => continue,
                Some(difference) if group == "coredns" => difference.expected.clone(),
                _ => case.expected.clone(),
            };
            let (world, name) = (Arc::clone(world), format!("{group}: {}", case.name));
            trials.push(trial(name, move || {
                world.node.inside(|| rules::check(&case, server, &expected))
            }));
        }
    }
    let tests: [(&str, Test); 4] = [
        ("it has one capability, no root and nothing to write to", confined),
        ("its pages are at the ports that the Deployment names", shows_pages),
        ("it goes on with a rotated token when the old one is void", rotated),
        ("it ends well after lameduck when told to", ends),
    ];
    for (name, test) in tests {
        let world = Arc::clone(world);
        trials.push(trial(name.to_owned(), move || test(&world)));
    }
    Ok(trials)
}

type Test = fn(&World) -> anyhow::Result<()>;

fn trial(name: String, test: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || test().map_err(|error| Failed::from(format!("{error:#}"))))
}

/// A control plane, a node that routes, resolvers outside, and two Pods.
struct World {
    daymark: Mutex<Pod>,
    dns: SocketAddr,
    coredns: Pod,
    _resolver: Program,
    node: Namespace,
    plane: ControlPlane,
    scratch: TempDir,
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let scratch = tempfile::Builder::new().prefix("daymark-deployment-").tempdir()?;
        let plane = ControlPlane::start()?;
        folder::load_into(&plane)?;
        allow(&plane)?;
        let node = Namespace::new()?;
        node.address("lo", "10.96.0.1/32")?;
        node.address("lo", &format!("{RESOLVER}/32"))?;
        let api = plane.url().trim_start_matches("https://").parse()?;
        relay::start(&node, "10.96.0.1:443".parse()?, api)?;
        let resolver = resolver(&node, &scratch)?;
        let (token, ca) = (token(&plane)?, plane.pki("ca.crt"));
        let pod = |number, program: PathBuf| {
            let image = Image { program: &program, number, ca: &ca, token: &token };
            let mut pod = Pod::start(&image, &node, RESOLVER, scratch.path())?;
            let ready = pod.port(8181)?;
            let is_ready = || node.inside(|| pages::page(ready, "/ready"));
            let is_ready = || is_ready().is_ok_and(|(status, _)| status == 200);
            pod.program.wait_until("ready", is_ready)?;
            anyhow::Ok(pod)
        };
        let daymark = pod(1, peers::daymark())?;
        let coredns = pod(2, peers::program("coredns").map_err(anyhow::Error::msg)?)?;
        // CoreDNS's `ready` may say so before port 53 is open. Ours may not.
        let serving = coredns.port(53)?;
        node.inside(|| asking::wait_for(serving, "web.shop.svc.cluster.local.", "A", "10.96.0.7"))?;
        let dns = daymark.port(53)?;
        let daymark = Mutex::new(daymark);
        Ok(World { daymark, dns, coredns, _resolver: resolver, node, plane, scratch })
    }
}

/// The resolvers outside: those of tests/dns/corefiles.
fn resolver(node: &Namespace, scratch: &TempDir) -> anyhow::Result<Program> {
    let (nsenter, mut words) = node.enter();
    let corefile = peers::repository().join("tests/dns/corefiles/upstream.corefile");
    words.extend([peers::daymark().display().to_string(), "dns".into(), "--conf".into()]);
    words.push(corefile.display().to_string());
    let mut program = Program::start(&nsenter, words, &scratch.path().join("resolver.log"))?;
    let address = SocketAddr::new(RESOLVER.parse()?, 53);
    program.wait_until("resolving", || {
        node.inside(|| asking::answer(address, "www.example.com.", "A")).is_ok()
    })?;
    Ok(program)
}

const ACCOUNTS: &str = "/api/v1/namespaces/kube-system/serviceaccounts";

fn account() -> Value {
    let metadata = json!({ "name": "coredns", "namespace": "kube-system" });
    json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata })
}

/// The ServiceAccount, and what the manifests' role lets it do.
fn allow(plane: &ControlPlane) -> anyhow::Result<()> {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let version = format!("{GROUP}/v1");
    let role = peers::repository().join("deploy/manifests/clusterrole.yaml");
    let role: Value = serde_saphyr::from_str(&std::fs::read_to_string(role)?)?;
    retried(|| plane.make(&account()))?;
    plane.make(&json!({
        "apiVersion": version,
        "kind": "ClusterRole",
        "metadata": { "name": "tests:coredns" },
        "rules": role["rules"],
    }))?;
    plane.make(&json!({
        "apiVersion": version,
        "kind": "ClusterRoleBinding",
        "metadata": { "name": "tests:coredns" },
        "roleRef": { "apiGroup": GROUP, "kind": "ClusterRole", "name": "tests:coredns" },
        "subjects": [{ "kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system" }],
    }))
}

fn token(plane: &ControlPlane) -> anyhow::Result<String> {
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": { "expirationSeconds": 3600 },
    });
    let path = format!("{ACCOUNTS}/coredns/token");
    let reply = plane.call(Method::POST, &path, Some(&request))?;
    Ok(reply["status"]["token"].as_str().context("a token")?.to_owned())
}

fn confined(world: &World) -> anyhow::Result<()> {
    let pod = world.daymark.lock().unwrap_or_else(PoisonError::into_inner);
    let status = std::fs::read_to_string(format!("/proc/{}/status", pod.program.id()))?;
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>()
    };
    ensure!(line("Uid:") == [pod::USER; 4], "user: {status}");
    ensure!(line("Groups:").is_empty(), "groups: {status}");
    // Bit 10 is CAP_NET_BIND_SERVICE.
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        ensure!(line(set) == ["0000000000000400"], "capabilities: {status}");
    }
    ensure!(line("NoNewPrivs:") == ["1"], "privileges: {status}");
    let (coredns, touched) = (pod.root.join("coredns"), pod.root.join("touched"));
    ensure!(pod.namespace.run(&["test", "-L", &coredns.display().to_string()]).is_ok(), "no root");
    let written = pod.namespace.run(&["touch", &touched.display().to_string()]);
    let said = written.err().context("the root can be written to")?.to_string();
    ensure!(said.contains("Read-only"), "{said}");
    let log = pod.program.output();
    ensure!(!log.contains("[ERROR]") && !log.contains("forbidden"), "the log complains:\n{log}");
    Ok(())
}

fn shows_pages(world: &World) -> anyhow::Result<()> {
    let pod = world.daymark.lock().unwrap_or_else(PoisonError::into_inner);
    for (port, path, want) in
        [(8080, "/health", "OK"), (8181, "/ready", "OK"), (9153, "/metrics", "coredns_build_info")]
    {
        let address = pod.port(port)?;
        let (status, body) = world.node.inside(|| pages::page(address, path))?;
        ensure!(status == 200 && body.contains(want), "{path} is {status}: {body}");
    }
    Ok(())
}

/// The account is made anew, so that its old token is void, and the API server started anew, so that
/// everyone has to show a token again.
fn rotated(world: &World) -> anyhow::Result<()> {
    let plane = &world.plane;
    let old = token(plane)?;
    plane.call(Method::DELETE, &format!("{ACCOUNTS}/coredns"), None)?;
    plane.make(&account())?;
    let (program, token, ca) = (peers::daymark(), token(plane)?, plane.pki("ca.crt"));
    let pod = world.daymark.lock().unwrap_or_else(PoisonError::into_inner);
    pod.rotate(&Image { program: &program, number: 1, ca: &ca, token: &token })?;
    plane.kill_api_server()?;
    plane.start_again()?;
    retried(|| {
        ensure!(status_with(world, &old)? == "401", "the old token is good");
        ensure!(status_with(world, &token)? == "200", "the new token is not good");
        Ok(())
    })?;
    let path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/db-1";
    let endpoints = json!([{ "addresses": ["10.0.2.77"], "conditions": { "ready": true } }]);
    plane.call(Method::PATCH, path, Some(&json!({ "endpoints": endpoints })))?;
    let name = "db.shop.svc.cluster.local.";
    world
        .node
        .inside(|| asking::wait_for(world.dns, name, "A", "10.0.2.77"))
        .with_context(|| pod.program.output())?;
    let log = pod.program.output();
    let unclear =
        log.lines().find(|line| line.starts_with("[ERROR]") && !line.contains("10.96.0.1"));
    ensure!(unclear.is_none(), "an error does not say whom it is about: {unclear:?}");
    Ok(())
}

/// Status of a list that the account may make, with a token.
fn status_with(world: &World, token: &str) -> anyhow::Result<String> {
    let header = world.scratch.path().join("header");
    std::fs::write(&header, format!("Authorization: Bearer {token}\n"))?;
    let output = Command::new("curl")
        .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"])
        .arg(world.plane.pki("ca.crt"))
        .arg("-H")
        .arg(format!("@{}", header.display()))
        .arg(format!("{}/api/v1/namespaces?limit=1", world.plane.url()))
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ends(world: &World) -> anyhow::Result<()> {
    let mut pod = world.daymark.lock().unwrap_or_else(PoisonError::into_inner);
    let early =
        world.node.inside(|| asking::answer(world.dns, "web.shop.svc.cluster.local.", "A"))?;
    ensure!(early == "10.96.0.7", "{early} before the end");
    pod.program.signal("TERM")?;
    let log = pod.program.output_path().to_owned();
    let is_lame = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("lameduck"));
    pod.program.wait_until("in lameduck", is_lame)?;
    let late =
        world.node.inside(|| asking::answer(world.dns, "web.shop.svc.cluster.local.", "A"))?;
    ensure!(late == "10.96.0.7", "{late} in its last seconds");
    let status = pod.program.wait_for_end()?;
    ensure!(status.success(), "ended with {status}:\n{}", pod.program.output());
    Ok(())
}
