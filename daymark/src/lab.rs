//! `daymark lab`: the verbs around `daymark-lab`.

use std::{
    fmt::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, ensure};
use daymark_lab::{
    api::{self, Api, Server},
    definition::{Definition, Pod},
    kubelet::{Cluster, Status},
    lab,
};
use daymark_source::kubernetes::{Access, ApiConfig, Author};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    arguments::{LabOptions, LabVerb, StatusFormat},
    output::{complain, print},
};

/// Does what the verb says.
pub(crate) fn run(options: &LabOptions) -> ExitCode {
    act(options).map_or_else(
        |error| {
            complain(&format!("{error:#}\n"));
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn act(options: &LabOptions) -> anyhow::Result<()> {
    let labs = options.labs.as_path();
    ensure!(rustix::process::geteuid().is_root(), "a lab takes root: network namespaces and eBPF");
    match &options.verb {
        LabVerb::Up { file, kubeconfig } => {
            let definition = Definition::read(file)?;
            let kubeconfig = kubeconfig.as_deref().map(Path::canonicalize).transpose();
            let kubeconfig = kubeconfig.context("the kubeconfig")?;
            let status = lab::up(labs, &definition, file, kubeconfig.as_deref())?;
            print(&shown(&status));
            if let Some(example) = example(&definition, &status) {
                print(&format!("try: {example}\n"));
            }
            Ok(())
        }
        LabVerb::Status { name, output } => {
            let status = lab::status(labs, &chosen(labs, name.as_deref())?)?;
            match output {
                StatusFormat::Text => print(&shown(&status)),
                StatusFormat::Json => {
                    print(&format!("{}\n", serde_json::to_string_pretty(&status)?));
                }
            }
            Ok(())
        }
        LabVerb::Exec { name, place, command } => {
            lab::exec(labs, &chosen(labs, name.as_deref())?, place, command)
        }
        LabVerb::Capture { name, place, count, write } => {
            lab::capture(labs, &chosen(labs, name.as_deref())?, place, *count, write.as_deref())
        }
        LabVerb::Down { name } => match name {
            Some(name) => lab::down(labs, name),
            None => lab::names(labs)?.iter().try_for_each(|name| lab::down(labs, name)),
        },
        LabVerb::Keep { name, kubeconfig } => {
            let own = std::env::current_exe().context("finding this program")?;
            let beside = own.parent().map(Path::to_owned).unwrap_or_default();
            // Reference plugins too, for definitions that chain them.
            let path = std::env::var("CNI_PATH").ok().map(PathBuf::from);
            let folders: Vec<String> = std::iter::once(beside)
                .chain(path)
                .map(|folder| folder.display().to_string())
                .collect();
            lab::keep(labs, name, &folders.join(":"), &cluster(kubeconfig.as_deref())?)
        }
    }
}

/// Who tells the lab's agents of the cluster.
fn cluster(kubeconfig: Option<&Path>) -> anyhow::Result<Cluster> {
    let Some(path) = kubeconfig else { return Ok(Cluster::Manifests) };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("reading the kubeconfig {}", path.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let access = Access::Kubeconfig { path: path.to_owned(), context: None };
    let author = {
        let _inside = runtime.enter();
        Author::new(&ApiConfig::new(access))?
    };
    Ok(Cluster::Api(Server {
        address: api::address(&text)?,
        kubeconfig: path.to_owned(),
        api: Arc::new(Writer { runtime: Mutex::new(runtime), author }),
    }))
}

/// What the lab writes to the API, one request after the other.
struct Writer {
    runtime: Mutex<Runtime>,
    author: Author,
}

impl Api for Writer {
    fn create(&self, collection: &str, object: &Value) -> anyhow::Result<bool> {
        Ok(self.runtime.lock().block_on(self.author.create(collection, object))?)
    }

    fn merge(&self, object: &str, patch: &Value) -> anyhow::Result<()> {
        Ok(self.runtime.lock().block_on(self.author.merge(object, patch))?)
    }

    fn delete(&self, object: &str) -> anyhow::Result<()> {
        Ok(self.runtime.lock().block_on(self.author.delete(object))?)
    }
}

/// The lab that is meant where none is named: the only one.
fn chosen(labs: &Path, name: Option<&str>) -> anyhow::Result<String> {
    if let Some(name) = name {
        return Ok(name.to_owned());
    }
    let names = lab::names(labs)?;
    match names.as_slice() {
        [name] => Ok(name.clone()),
        [] => anyhow::bail!("no lab is up: `daymark lab up FILE` makes one"),
        _ => anyhow::bail!("several labs are up; name one by --name: {}", names.join(", ")),
    }
}

/// A status in words.
fn shown(status: &Status) -> String {
    let mut text = format!("lab {}\n", status.name);
    // Writing to a string does not fail.
    for node in &status.nodes {
        let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
        let ranges = node.pod_ranges.join(" ");
        let _ = writeln!(text, "node {:<20} {}  pods {ranges}", node.name, addresses.join(" "));
    }
    for pod in &status.pods {
        let ips: Vec<String> = pod.ips.iter().map(ToString::to_string).collect();
        let name = format!("{}/{}", pod.namespace, pod.name);
        let _ = writeln!(text, "pod  {name:<20} {}  {}", pod.node, ips.join(" "));
    }
    text
}

/// A command that shows something in this lab: a pod's answer to another one, of another node if there is
/// one. Definition and status have the same pods in the same order.
fn example(definition: &Definition, status: &Status) -> Option<String> {
    let from = status.pods.last()?;
    let port = |pod: &Pod| pod.ports.iter().find(|port| port.protocol == "TCP").cloned();
    let served = std::iter::zip(&status.pods, &definition.pods);
    let served: Vec<_> = served.filter_map(|(pod, defined)| Some((pod, port(defined)?))).collect();
    let elsewhere = served.iter().find(|(pod, _)| pod.node != from.node);
    let (to, port) = elsewhere.or(served.first())?;
    let address = SocketAddr::new(*to.ips.first()?, port.container_port);
    let [namespace, name] = [&from.namespace, &from.name];
    Some(format!("daymark lab exec {namespace}/{name} -- curl -s http://{address}"))
}
