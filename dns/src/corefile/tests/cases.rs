//! Tables of Corefiles in text files, each row accepted or refused.
//!
//! In a plugin's `cases.txt`, a line `in: CONTEXT` says which block the rows below stand in: `.` for the server
//! block itself, else a directive. A row is `+ LINE` (accepted) or `- LINE -> TEXT` (refused, with TEXT in the
//! message or its help); ` ; ` stands for a line's end. `-!` is refused though CoreDNS accepts it, `+!` is
//! accepted though CoreDNS refuses it: those are the differences that people are told about. `+~` is accepted
//! while CoreDNS would open files or wait for long, so that it cannot be asked about the row alone; `-~` is
//! refused while CoreDNS sometimes panics before it can be asked.
//!
//! In `grammar.txt` a case is a whole Corefile below `=== + NAME` or `=== - NAME -> TEXT`, perhaps with
//! `--- file PATH` and `--- env NAME=VALUE` parts.

use std::sync::LazyLock;

use crate::corefile::check::{Checked, Environment};
use crate::corefile::load_text;
use crate::corefile::mistake::Mistakes;
use crate::corefile::source::Memory;

/// What should become of a case.
pub(crate) enum Want<'a> {
    Accepted,
    Refused(&'a str),
}

/// Reads `text` as the Corefile of a machine that has a resolv.conf.
pub(crate) fn load(text: &str, machine: Memory) -> Result<Checked, Mistakes> {
    let machine = machine
        .file(
            "/etc/resolv.conf",
            "search example.org\nnameserver 10.0.0.10\nnameserver 2001:db8::53\n",
        )
        .file("/etc/none.conf", "# nameserver 10.0.0.10\n");
    let machine = with_webs(with_zones(with_certificates(machine)));
    load_text(
        "Corefile",
        text.to_owned(),
        &Environment { reader: &machine, default_port: 53, extensions: &[] },
    )
}

/// A certificate with its key in `/tls/good.*`, and another key.
fn with_certificates(machine: Memory) -> Memory {
    static FILES: LazyLock<[String; 3]> = LazyLock::new(|| {
        let certified = rcgen::generate_simple_self_signed(["dns.example.org".to_owned()]);
        let certified = certified.expect("a certificate for a name can be made");
        let other = rcgen::KeyPair::generate().expect("a key can be made");
        [certified.cert.pem(), certified.signing_key.serialize_pem(), other.serialize_pem()]
    });
    let [certificate, key, other] = &*FILES;
    let places =
        |end: &str| ["/tls/good.", "/etc/tls/tls.", "tls."].map(|path| path.to_owned() + end);
    let both = places("crt").into_iter().zip(std::iter::repeat(certificate));
    let both = both.chain(places("key").into_iter().zip(std::iter::repeat(key)));
    both.fold(machine.file("/tls/other.key", other.as_str()), |machine, (path, text)| {
        machine.file(path, text.as_str())
    })
}

/// Web configuration files of Prometheus's exporters.
fn with_webs(machine: Memory) -> Memory {
    let good = "tls_server_config:\n  cert_file: good.crt\n  key_file: good.key\n";
    machine
        .file("/tls/web.yml", good)
        .file(
            "/tls/web-clients.yml",
            format!(
                "{good}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: good.crt\n"
            ),
        )
        .file("/tls/web-none.yml", "http_server_config:\n  http2: false\n")
        .file("/tls/web-other.yml", good.replace("good.key", "other.key"))
        .file("/tls/web-nokey.yml", "tls_server_config:\n  cert_file: good.crt\n")
        .file("/tls/web-users.yml", format!("{good}basic_auth_users:\n  me: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi\n"))
}

/// Master files for any zone, one of them with a mistake and one without a SOA record.
fn with_zones(machine: Memory) -> Memory {
    let good = "$TTL 60\n@ SOA ns root 1 60 60 60 30\n@ NS ns\nns A 10.0.0.1\n";
    machine
        .file("/zones/db.example", good)
        .file("/zones/db.example.org", good)
        .file("/zones/db.bad", "$TTL 60\n@ SOA ns\n")
        .file("/zones/db.nosoa", "$TTL 60\nns A 10.0.0.1\n")
}

/// Reads `text`, which must have no mistakes.
pub(crate) fn good(text: &str) -> Checked {
    load(text, Memory::default()).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"))
}

/// Checks every row of a plugin's table and that there are enough of them.
pub(crate) fn check_plugin(table: &str) {
    let mut context = ".";
    let mut failures = Vec::new();
    let mut rows = 0;
    for row in table.lines().filter(|row| !row.is_empty() && !row.starts_with('#')) {
        if let Some(found) = row.strip_prefix("in: ") {
            context = found;
            continue;
        }
        let (line, want) = parse_row(row);
        let line = line.replace(" ; ", "\n");
        let text = match context {
            "." => format!(". {{\n{line}\n}}\n"),
            _ => {
                let open = if context.contains(" {") { "" } else { " {" };
                format!(". {{\n{}{open}\n{line}\n}}\n}}\n", context.replace(" ; ", "\n"))
            }
        };
        failures.extend(judge(row, &load(&text, Memory::default()), &want));
        rows += 1;
    }
    assert!(rows > 0, "the table is empty");
    assert!(failures.is_empty(), "{} of {rows} rows:\n{}", failures.len(), failures.join("\n"));
}

/// Why a case went wrong, if it did.
pub(crate) fn judge(
    name: &str,
    got: &Result<Checked, Mistakes>,
    want: &Want<'_>,
) -> Option<String> {
    match (got, want) {
        (Ok(_), Want::Accepted) => None,
        (Err(mistakes), Want::Refused(text)) if mistakes.to_string().contains(text) => None,
        (Ok(_), Want::Refused(_)) => Some(format!("{name}\n    accepted")),
        (Err(mistakes), _) => {
            Some(format!("{name}\n    {}", mistakes.to_string().replace('\n', "\n    ")))
        }
    }
}

/// Sign, text and expected message of a row.
pub(crate) fn parse_row(row: &str) -> (&str, Want<'_>) {
    let (sign, rest) = row.split_once(' ').unwrap_or_else(|| panic!("no row: {row}"));
    match sign.trim_end_matches(['!', '~']) {
        "+" => (rest, Want::Accepted),
        "-" => {
            let (line, message) =
                rest.rsplit_once(" -> ").unwrap_or_else(|| panic!("no message: {row}"));
            (line, Want::Refused(message))
        }
        _ => panic!("no row: {row}"),
    }
}
