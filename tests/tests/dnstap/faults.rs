//! Receivers that go, come and do not listen; servers that end and reload.

use std::{net::TcpStream, os::unix::net::UnixStream, path::Path};

use anyhow::{Context, ensure};
use daymark_tests::{
    dns::Transport,
    dnstap::Receiver,
    pages, peers, ports,
    process::{Program, eventually, retried},
};

use super::served::{PLAIN, Served, filled, loopback};

pub(super) fn comes_and_goes(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let tap = folder.join("tap");
    let tap_text = tap.display().to_string();
    let mut served = Served::start(folder, program, PLAIN, &[("@TAP@", &tap_text)])?;
    served.program.wait_until_said("[ERROR] plugin/dnstap: No connection to dnstap endpoint")?;
    served.ask("one.example.", "A", Transport::Udp)?;
    let receiver = Receiver::unix(&tap)?;
    ensure!(receiver.wait_for(2)?.len() == 2);
    // Somebody else takes the place of the first, whose connection breaks.
    std::fs::remove_file(&tap)?;
    let log = folder.join("tool.log");
    let tool = peers::program("dnstap");
    if let Ok(tool) = tool {
        let mut tool = Program::start(&tool, ["-u", &tap_text, "-q"], &log)?;
        eventually("listening", || tap.exists())?;
        ensure!(!tool.has_ended()?);
    }
    Ok(())
}

pub(super) fn does_not_listen(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let metrics = loopback(ports::free());
    let (at, receiver) = Receiver::deaf()?;
    let corefile = ".:@PORT@ {
        bind 127.0.0.1
        prometheus @METRICS@
        dnstap tcp://@TAP@ full
        hosts {
            192.0.2.1 www.example
        }
    }
    ";
    let values = [("@TAP@", &*at.to_string()), ("@METRICS@", &metrics.to_string())];
    let mut served = Served::start(folder, program, corefile, &values)?;
    eventually("connected", || receiver.connections().0 == 1)?;
    let lost = || pages::metric(metrics, "daymark_dnstap_lost_total", "");
    let mut asked = 0;
    // The kernel's buffers take some, the queue 10,000, the rest is dropped.
    while lost()? == 0.0 {
        ensure!(asked < 200_000, "nothing is dropped");
        for _ in 0..2_000 {
            served.ask("www.example.", "A", Transport::Udp)?;
            asked += 1;
        }
    }
    served.program.wait_until_said("[WARNING] plugin/dnstap: Dropped dnstap messages: ")?;
    receiver.hear();
    // What was not dropped arrives, on this connection or the next.
    let told = receiver.wait_for(10_000)?;
    ensure!(told.iter().all(|told| told.field("type").starts_with("CLIENT_")));
    Ok(())
}

pub(super) fn sent_at_the_end(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let receiver = Receiver::unix(&folder.join("tap"))?;
    let mut served = Served::start(folder, program, PLAIN, &[("@TAP@", "@DIR@/tap full")])?;
    eventually("connected", || receiver.connections().0 == 1)?;
    for _ in 0..500 {
        served.ask("www.example.", "A", Transport::Udp)?;
    }
    served.program.signal("TERM")?;
    served.program.wait_for_end()?;
    ensure!(receiver.wait_for(1000)?.len() == 1000);
    ensure!(receiver.connections() == (1, 1), "{:?}", receiver.connections());
    Ok(())
}

pub(super) fn reload_keeps_telling(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let receiver = Receiver::unix(&folder.join("tap"))?;
    let listened = loopback(ports::free());
    let corefile = ".:@PORT@ {
        bind 127.0.0.1
        dnstap @DIR@/tap {
            identity @NAME@
        }
        dnstap listen tcp://@LISTEN@ {
            identity @NAME@
        }
        dnstap listen @DIR@/own {
            identity @NAME@
        }
        hosts {
            192.0.2.1 www.example
        }
    }
    ";
    let at = listened.to_string();
    let values = |name: &'static str| [("@NAME@", name), ("@LISTEN@", &*at).to_owned()];
    let served = Served::start(folder, program, corefile, &values("before"))?;
    served.ask("www.example.", "A", Transport::Udp)?;
    let before = receiver.wait_for(2)?;
    ensure!(before.iter().all(|told| told.field("identity") == "before"));
    let text = filled(corefile, folder, served.at, &values("after"));
    std::fs::write(folder.join("Corefile"), text)?;
    served.program.signal("USR1")?;
    retried(|| {
        served.ask("www.example.", "A", Transport::Udp)?;
        let told = receiver.wait_for(2)?;
        let last = told.last().context("the last one")?;
        ensure!(last.field("identity") == "after", "{last}");
        Ok(())
    })?;
    ensure!(receiver.connections().1 >= 1, "the first connection was not ended as it should be");
    let (over_tcp, over_unix) = (Receiver::default(), Receiver::default());
    over_tcp.spawn(retried(|| Ok(TcpStream::connect(listened)?))?);
    over_unix.spawn(retried(|| Ok(UnixStream::connect(folder.join("own"))?))?);
    for receiver in [over_tcp, over_unix] {
        retried(|| {
            served.ask("www.example.", "A", Transport::Udp)?;
            ensure!(receiver.count() > 0);
            let told = receiver.wait_for(1)?;
            ensure!(told[0].field("identity") == "after", "{}", told[0]);
            Ok(())
        })?;
    }
    Ok(())
}
