//! The CNI plugin as runtimes use it: through `cnitool`, and executed by hand with what no runtime
//! would say. Each trial has a node and pods of its own, in network namespaces, and an agent that
//! wires them for real; the datapath behind it only remembers.

#[path = "cni/attaching.rs"]
mod attaching;
#[path = "cni/chains.rs"]
mod chains;
#[path = "cni/faults.rs"]
mod faults;
#[path = "cni/network.rs"]
mod network;
#[path = "cni/node.rs"]
mod node;
#[path = "cni/said_wrong.rs"]
mod said_wrong;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use daymark_tests::{
    namespace::{Namespace, tool_path},
    peers,
    suite::Suite,
};

fn main() -> ExitCode {
    if let Some(ended) = node::agent_process() {
        eprintln!("the agent ended: {ended:?}");
        return ExitCode::FAILURE;
    }
    Suite::run("the CNI plugin can be tried", prepare)
}

fn prepare(suite: &mut Suite) -> anyhow::Result<()> {
    type Trial = fn(&Path, &Path) -> anyhow::Result<()>;
    let tool = match Namespace::unavailable() {
        Some(reason) => Err(reason),
        None => peers::program("cnitool"),
    };
    let namespaces = Namespace::unavailable().map_or(Ok(PathBuf::new()), Err);
    let with = |peer: &str| {
        let tool = tool.clone().and_then(|tool| peers::program(peer).map(|_| tool));
        match tool_path("nft") {
            None if peer == "portmap" => Err("nft is not installed".to_owned()),
            _ => tool,
        }
    };
    for case in attaching::cases() {
        let name = case.to_string();
        match &tool {
            Ok(tool) => {
                let (tool, folder) = (tool.clone(), suite.scratch().join(suite.size().to_string()));
                suite.trial(format!("cnitool: {name}"), move || {
                    std::fs::create_dir_all(&folder)?;
                    Ok(case.run(&folder, &tool).map_err(|error| format!("{error:#}"))?)
                });
            }
            Err(reason) => suite.skipped(&format!("cnitool: {name}"), reason),
        }
    }
    let by_tool: [(&str, Trial); 8] = [
        ("a pod has two links", attaching::two_links),
        ("IPv6 is switched on", attaching::ipv6_switched_on),
        ("an explicit MAC and address are given", attaching::asked_for),
        ("CHECK fails for what is removed", attaching::check_sees_what_is_gone),
        ("STATUS and ADD tell that no address is left", attaching::exhausted),
        ("GC frees what no runtime calls valid", attaching::collected),
        ("DNS of the configuration is passed through", attaching::dns),
        ("host ports are opened and closed", attaching::host_ports),
    ];
    for (name, trial) in by_tool {
        suite.trial_of("cnitool", tool.clone(), name, trial);
    }
    let chained: [(&str, &str, Trial); 5] = [
        ("portmap", "portmap behind us", chains::portmap_behind),
        ("bandwidth", "bandwidth behind us", chains::bandwidth_behind),
        ("bridge", "behind bridge", chains::behind_bridge),
        ("host-local", "addresses of host-local", chains::host_local),
        ("cnitool", "our own rate limits", chains::own_limits),
    ];
    for (peer, name, trial) in chained {
        suite.trial_of("chain", with(peer), name, trial);
    }
    let by_hand: [(&str, Trial); 4] = [
        ("what is said wrong is refused with its number", said_wrong::refused),
        ("VERSION answers whatever is asked", said_wrong::versions),
        ("the socket refuses what is no request", said_wrong::on_the_socket),
        ("a namespace that is none", said_wrong::namespaces),
    ];
    for (name, trial) in by_hand {
        suite.trial_of("plugin", namespaces.clone(), name, trial);
    }
    let between: [(&str, Trial); 3] = [
        ("pods of two nodes speak without NAT", network::native),
        ("a plan is made to hold, and another one after it", network::plans),
        ("nothing of ours stays, and all of others' does", network::cleaned),
    ];
    for (name, trial) in between {
        suite.trial_of("nodes", namespaces.clone(), name, trial);
    }
    let faults: [(&str, Trial); 8] = [
        ("agents killed at random points leave nothing", faults::agents_killed),
        ("a second agent on the same socket refuses", faults::second_agent),
        ("DEL without an agent is made up for", faults::deletion_is_made_up_for),
        ("DEL succeeds however little there is", faults::deleted_twice),
        ("a restart keeps pods and forgets those that ended", faults::restarted),
        ("a reboot leaks nothing", faults::rebooted),
        ("a failed ADD leaves nothing", faults::failed_add),
        ("plugins killed at random points leave nothing", faults::killed),
    ];
    for (name, trial) in faults {
        suite.trial_of("fault", namespaces.clone(), name, trial);
    }
    Ok(())
}
