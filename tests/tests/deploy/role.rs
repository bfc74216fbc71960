//! The chart's ClusterRole: daymark runs with a token of the chart's ServiceAccount and complains of
//! nothing; without any one of the role's resources it does.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use daymark_tests::{asking, control_plane::ControlPlane, pages, peers, ports, process::Program};
use http::Method;
use serde_json::{Value, json};

use super::{
    Test,
    helm::{DNS, rendered},
    test,
};

/// What a `kubernetes` block may say, and what the role has to allow for it.
const BLOCKS: [(&str, &str, &[&str]); 3] = [
    ("defaults", "pods insecure", &["endpointslices", "namespaces", "services"]),
    ("verified pods", "pods verified", &["endpointslices", "namespaces", "pods", "services"]),
    (
        "other clusters' services",
        "multicluster clusterset.local",
        &["endpointslices", "namespaces", "serviceimports", "services"],
    ),
];

pub(crate) fn tests(plane: &Arc<ControlPlane>) -> Vec<Test> {
    let mut tests = Vec::new();
    for (name, option, resources) in BLOCKS {
        let plane = Arc::clone(plane);
        tests.push(test(&format!("its role is enough and no more for {name}"), move || {
            let role = Role::of_chart(option)?;
            ensure!(role.resources() == resources, "it allows {:?}", role.resources());
            complaint(&plane, &format!("whole-{}", resources.len()), option, &role)?
                .map_or(Ok(()), |said| Err(anyhow::anyhow!("it complains:\n{said}")))?;
            for resource in resources {
                let less = role.without(resource);
                let said = complaint(&plane, &format!("no-{resource}"), option, &less)?;
                let said = said.with_context(|| format!("nothing is missed without {resource}"))?;
                ensure!(said.contains(resource), "without {resource} it says:\n{said}");
            }
            Ok(())
        }));
    }
    tests
}

/// Rules of a ClusterRole.
struct Role(Vec<Value>);

impl Role {
    fn of_chart(option: &str) -> anyhow::Result<Self> {
        let corefile = format!(
            "--set=corefile=.:53 {{ kubernetes cluster.local clusterset.local {{\n{option}\n}} }}"
        );
        let objects = rendered(DNS, &[&corefile, "--show-only=templates/clusterrole.yaml"])?;
        let rules = objects.first().and_then(|role| role["rules"].as_array());
        Ok(Role(rules.context("a ClusterRole")?.clone()))
    }

    fn resources(&self) -> Vec<&str> {
        let lists = self.0.iter().filter_map(|rule| rule["resources"].as_array());
        let mut all: Vec<&str> = lists.flatten().filter_map(Value::as_str).collect();
        all.sort_unstable();
        all
    }

    fn without(&self, resource: &str) -> Self {
        let mut rules = self.0.clone();
        for list in rules.iter_mut().filter_map(|rule| rule["resources"].as_array_mut()) {
            list.retain(|name| name != resource);
        }
        rules.retain(|rule| rule["resources"] != json!([]));
        Role(rules)
    }
}

/// What daymark complains of with a ServiceAccount that has this role alone; `None` if it answers and
/// complains of nothing.
fn complaint(
    plane: &ControlPlane,
    name: &str,
    option: &str,
    role: &Role,
) -> anyhow::Result<Option<String>> {
    let scratch = tempfile::tempdir()?;
    let name = format!("deploy-{name}-{}", option.replace([' ', '.'], "-"));
    let kubeconfig = account(plane, &name, role, scratch.path())?;
    let (port, ready) = (ports::free(), ports::free());
    let corefile = scratch.path().join("Corefile");
    std::fs::write(
        &corefile,
        format!(
            ".:{port} {{\n    bind 127.0.0.1\n    errors\n    ready 127.0.0.1:{ready}\n    \
             kubernetes cluster.local clusterset.local {{\n        kubeconfig {}\n        \
             {option}\n        startup_timeout 100ms\n    }}\n}}\n",
            kubeconfig.display()
        ),
    )?;
    let words = ["dns", "--conf", &corefile.display().to_string()].map(str::to_owned);
    let mut program = Program::start(&peers::daymark(), words, &scratch.path().join("log"))?;
    let log = program.output_path().to_owned();
    let ready = SocketAddr::from((Ipv4Addr::LOCALHOST, ready));
    let is_ready = || pages::page(ready, "/ready").is_ok_and(|(status, _)| status == 200);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    program.wait_until("ready or refused", || is_ready() || said().contains("forbidden"))?;
    if !is_ready() {
        return Ok(Some(said()));
    }
    let dns = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    asking::wait_for(dns, "web.shop.svc.cluster.local.", "A", "10.96.0.7")?;
    Ok(said().contains("forbidden").then(said))
}

/// Makes a ServiceAccount with this role alone, and a kubeconfig with a token of it.
fn account(
    plane: &ControlPlane,
    name: &str,
    role: &Role,
    scratch: &Path,
) -> anyhow::Result<PathBuf> {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let version = format!("{GROUP}/v1");
    plane.make(&json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": name, "namespace": "kube-system" },
    }))?;
    plane.make(&json!({
        "apiVersion": version,
        "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": role.0,
    }))?;
    plane.make(&json!({
        "apiVersion": version,
        "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": GROUP, "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": "kube-system" }],
    }))?;
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": { "expirationSeconds": 3600 },
    });
    let path = format!("/api/v1/namespaces/kube-system/serviceaccounts/{name}/token");
    let token = plane.call(Method::POST, &path, Some(&request))?;
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{
            "name": "test",
            "cluster": { "server": plane.url(), "certificate-authority": plane.pki("ca.crt") },
        }],
        "users": [{ "name": "test", "user": { "token": token["status"]["token"] } }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
    });
    let path = scratch.join("kubeconfig");
    std::fs::write(&path, kubeconfig.to_string())?;
    Ok(path)
}
