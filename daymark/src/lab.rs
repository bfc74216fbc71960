//! `daymark lab`: the verbs around `daymark-lab`.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use daymark_lab::{definition::Definition, kubelet::Status, lab};

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
        LabVerb::Up { file } => {
            let definition = Definition::read(file)?;
            print(&shown(&lab::up(labs, &definition, file)?));
            print(&format!("try: {}\n", example(&definition)));
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
        LabVerb::Keep { name } => {
            let own = std::env::current_exe().context("finding this program")?;
            let beside = own.parent().map(Path::to_owned).unwrap_or_default();
            // Reference plugins too, for definitions that chain them.
            let path = std::env::var("CNI_PATH").ok().map(PathBuf::from);
            let folders: Vec<String> = std::iter::once(beside)
                .chain(path)
                .map(|folder| folder.display().to_string())
                .collect();
            lab::keep(labs, name, &folders.join(":"))
        }
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

/// A command that shows something in this lab.
fn example(definition: &Definition) -> String {
    let ports = |port: &str| {
        let has = move |pod: &&daymark_lab::definition::Pod| {
            pod.ports.iter().any(|open| open.protocol == port)
        };
        definition.pods.iter().find(has)
    };
    match (definition.pods.first(), ports("TCP")) {
        (Some(from), Some(to)) => format!(
            "daymark lab exec {}/{} -- curl -s http://$(daymark lab status -o json | jq -r \
             '.pods[] | select(.name==\"{}\").ips[0]'):{}",
            from.namespace, from.name, to.name, to.ports[0].container_port
        ),
        _ => format!("daymark lab status --name {}", definition.name),
    }
}
