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

use std::{path::Path, process::ExitCode};

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
    for (name, trial) in both {
        suite.trial_of("daymark", Ok(peers::daymark()), name, trial);
        suite.trial_of("coredns", peers::program("coredns"), name, trial);
    }
    for (name, trial) in ours {
        suite.trial_of("daymark", Ok(peers::daymark()), name, trial);
    }
    let missing = ["coredns", "dnstap"].into_iter().find_map(|peer| peers::program(peer).err());
    let with_peers = match missing {
        None => Ok(peers::daymark()),
        Some(reason) => Err(reason),
    };
    suite.trial_of("both", with_peers.clone(), "the same is told", compared::same_is_told);
    suite.trial_of("both", with_peers, "the tool prints the same", compared::tool_prints_the_same);
    Ok(())
}
