//! Knot as the primary of a catalog (RFC 9432).

use std::path::Path;

use anyhow::ensure;
use daymark_tests::{
    ports,
    process::{Program, retried},
};

use super::{answer, daymark, loopback, same_answers, transferred, zone};

/// Where Debian has Knot.
pub(super) const KNOT: &str = "/usr/sbin/knotd";

/// Knot makes a catalog of the zones that its configuration has.
pub(super) fn makes_a_catalog(folder: &Path, _: &Path) -> anyhow::Result<()> {
    let (primary, port) = (ports::free(), ports::free());
    let (at, conf) = (folder.display(), folder.join("knot.conf"));
    for name in ["one", "two", "three"] {
        std::fs::write(folder.join(format!("{name}.test.zone")), zone(1))?;
    }
    let configure = |members: &[&str]| {
        let members = members.iter().map(|name| {
            format!(
                "  - domain: {name}.test\n    storage: \"{at}\"\n    file: {name}.test.zone\n    acl: all\n    \
                 catalog-role: member\n    catalog-zone: catalog.test\n"
            )
        });
        let text = format!(
            "server:\n  rundir: \"{at}\"\n  listen: 127.0.0.1@{primary}\ndatabase:\n  storage: \"{at}/db\"\n\
             log:\n  - target: stderr\n    any: info\n\
             remote:\n  - id: us\n    address: 127.0.0.1@{port}\n\
             acl:\n  - id: all\n    address: 127.0.0.1\n    action: transfer\n\
             zone:\n  - domain: catalog.test\n    storage: \"{at}\"\n    catalog-role: generate\n    acl: all\n    \
             notify: us\n{}",
            members.collect::<String>()
        );
        std::fs::write(&conf, text)
    };
    std::fs::create_dir(folder.join("db"))?;
    configure(&["one", "two"])?;
    let arguments = ["-c", &conf.display().to_string()].map(str::to_owned);
    let mut knot = Program::start(Path::new(KNOT), arguments, &folder.join("knot.log"))?;
    knot.wait_until_listening(loopback(primary))?;
    let corefile = format!(
        ".:{port} {{\n  bind 127.0.0.1\n  secondary catalog.test {{\n    \
         transfer from 127.0.0.1:{primary}\n    catalog test\n  }}\n  transfer {{\n    to *\n  }}\n}}\n"
    );
    let _server = daymark(folder, &corefile, None, port)?;
    for zone in ["one.test.", "two.test."] {
        let records = retried(|| transferred(loopback(port), zone))?;
        same_answers(loopback(port), loopback(primary), &records)?;
    }
    configure(&["two", "three"])?;
    knot.signal("HUP")?;
    let records = retried(|| transferred(loopback(port), "three.test."))?;
    same_answers(loopback(port), loopback(primary), &records)?;
    let (code, _) = answer(loopback(port), "a.one.test.", "A")?;
    ensure!(code == "Server Failure", "a zone that is gone: {code}");
    Ok(())
}
