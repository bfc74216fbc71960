//! The agent's chart: the API server takes what it makes, wrong values are refused, and the agent gets
//! no more than it needs. That this is enough is seen on real nodes (`tests/node`).

use std::sync::Arc;

use anyhow::{Context, ensure};
use daymark_tests::control_plane::ControlPlane;
use serde_json::{Value, json};

use super::{
    Test,
    helm::{AGENT, folder, helm, rendered},
    test,
};

/// Values that differ from the defaults, each a set of its own.
const VALUES: [(&str, &[&str]); 4] = [
    ("defaults", &[]),
    ("an API server without a Service", &["--set=api.host=api.example.com,api.port=443"]),
    (
        "all that can be said",
        &[
            "--set=routing=vxlan,masquerade=false,nativeRanges={192.168.0.0/16,2001:db8::/32}",
            "--set=logFormat=json,imagePullSecrets[0].name=registry,seLinuxOptions.type=spc_t",
            "--set=podLabels.team=net,listen.address=0.0.0.0,updateStrategy.type=OnDelete",
            "--set=updateStrategy.rollingUpdate=null",
            "--set-string=podAnnotations.note=1,serviceAccount.annotations.note=2",
        ],
    ),
    ("folders of another distribution", &["--set=paths.cniBin=/usr/libexec/cni,paths.state=/data"]),
];

/// What the schema refuses.
const WRONG: [&str; 7] = [
    "routing=geneve",
    "routings=native",
    "image.repository=",
    "paths.cniBin=opt/cni/bin",
    "listen.port=0",
    "nativeRanges={everything}",
    "masquerade=maybe",
];

pub(crate) fn tests(plane: &Arc<ControlPlane>) -> Vec<Test> {
    let mut tests = vec![test("helm finds nothing wrong with the agent's", || {
        helm(&["lint", "--strict", &folder(AGENT).display().to_string()]).map(drop)
    })];
    for (name, values) in VALUES {
        let plane = Arc::clone(plane);
        tests.push(test(&format!("the API server takes the agent with {name}"), move || {
            for object in rendered(AGENT, values)? {
                plane.dry_run(&object).with_context(|| format!("{object:#}"))?;
            }
            Ok(())
        }));
    }
    for wrong in WRONG {
        tests.push(test(&format!("{wrong} is refused for the agent"), move || {
            let outcome = rendered(AGENT, &[&format!("--set={wrong}")]);
            let said = outcome.err().context("it was not refused")?.to_string();
            ensure!(said.contains("schema"), "{said}");
            Ok(())
        }));
    }
    tests.push(test("the agent may do what it needs and no more", bounded));
    tests
}

fn bounded() -> anyhow::Result<()> {
    let objects = rendered(AGENT, &[])?;
    let find = |kind: &str| objects.iter().find(|object| object["kind"] == kind).context("missing");
    let rules = &find("ClusterRole")?["rules"];
    let nodes = json!([{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "patch"] }]);
    ensure!(*rules == nodes, "{rules}");
    let pod = &find("DaemonSet")?["spec"]["template"]["spec"];
    let allowed = |container: &Value| -> Vec<String> {
        let added = container["securityContext"]["capabilities"]["add"].as_array().cloned();
        added.iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for (container, capabilities) in [
        (&pod["initContainers"][0], &["NET_BIND_SERVICE"][..]),
        (&pod["containers"][0], &["NET_ADMIN", "SYS_ADMIN", "NET_BIND_SERVICE"][..]),
    ] {
        let security = &container["securityContext"];
        ensure!(security["privileged"] != true, "{security}");
        ensure!(security["readOnlyRootFilesystem"] == true, "{security}");
        ensure!(security["capabilities"]["drop"] == json!(["ALL"]), "{security}");
        ensure!(allowed(container) == capabilities, "{security}");
    }
    ensure!(pod["tolerations"] == json!([{ "operator": "Exists" }]), "{}", pod["tolerations"]);
    ensure!(
        pod["hostPID"].is_null() && pod["hostIPC"].is_null(),
        "it shares more than the network"
    );
    Ok(())
}
