//! `dnstap`: what is told is what CoreDNS tells; receivers of every kind; receivers that go, come and
//! do not listen; and the tool that people read it with.

#[path = "dnstap/compared.rs"]
mod compared;
#[path = "dnstap/faults.rs"]
mod faults;
#[path = "dnstap/receivers.rs"]
mod receivers;
#[path = "dnstap/served.rs"]
mod served;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use daymark_tests::{peers, suite::Suite};

fn main() -> ExitCode {
    Suite::run("dnstap can be received", prepare)
}

fn prepare(suite: &mut Suite) -> anyhow::Result<()> {
    type Trial = fn(&Path, &Path) -> anyhow::Result<()>;
    let both: [(&str, Trial); 5] = [
        ("a transfer is told message by message", receivers::transfers),
        ("a receiver over a unix socket and one over TCP", receivers::told_to_two),
        ("a receiver over TLS", receivers::receiver_over_tls),
        ("receivers that connect", receivers::receivers_that_connect),
        ("receivers that connect over TLS", receivers::receivers_that_connect_over_tls),
    ];
    let ours: [(&str, Trial); 5] = [
        ("a receiver that comes late and goes misses nothing", faults::comes_and_goes),
        ("a receiver that does not listen holds up nobody", faults::does_not_listen),
        ("what waits at the end is sent", faults::sent_at_the_end),
        ("a reload keeps telling", faults::reload_keeps_telling),
        ("encrypted transports have their names", receivers::encrypted_transports),
    ];
    let mut add = |group: &str, program: Result<PathBuf, String>, name: &str, trial: Trial| {
        let name = format!("{group}: {name}");
        let program = match program {
            Ok(program) => program,
            Err(reason) => return suite.skipped(&name, &reason),
        };
        let folder = suite.scratch().join(suite.size().to_string());
        suite.trial(name, move || {
            std::fs::create_dir_all(&folder)?;
            trial(&folder, &program).map_err(|error| {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                format!("{error:#}\n{log}").into()
            })
        });
    };
    for (name, trial) in both {
        add("daymark", Ok(peers::daymark()), name, trial);
        add("coredns", peers::program("coredns"), name, trial);
    }
    for (name, trial) in ours {
        add("daymark", Ok(peers::daymark()), name, trial);
    }
    let missing = ["coredns", "dnstap"].into_iter().find_map(|peer| peers::program(peer).err());
    let with_peers = match missing {
        None => Ok(peers::daymark()),
        Some(reason) => Err(reason),
    };
    add("both", with_peers.clone(), "the same is told", compared::same_is_told);
    add("both", with_peers, "the tool prints the same", compared::tool_prints_the_same);
    Ok(())
}
