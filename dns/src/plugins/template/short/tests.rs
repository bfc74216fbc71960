//! What denials are, and what they write and count.

use super::*;
use crate::{
    corefile::{check::Environment, load_text, source::Memory},
    plugins::{
        PluginConfig,
        stand_in::{Chained, query},
        template::Template,
    },
    wire::{
        name::from_text,
        query::{Plain, Shape, read},
    },
};

fn rules(text: &str) -> Config {
    let machine = Memory::default();
    let environment = Environment { reader: &machine, default_port: 53, extensions: &[] };
    let text = format!(". {{\n{text}\nwhoami\n}}\n");
    let checked = load_text("Corefile", text, &environment).expect("a good Corefile");
    let mut plugins = checked.servers.into_iter().flat_map(|server| server.plugins);
    let found = plugins.find_map(|plugin| match plugin {
        PluginConfig::Template(config) => Some(*config),
        _ => None,
    });
    found.expect("a template")
}

fn denials(text: &str) -> Denials {
    Denials::new(&rules(text), &Metrics::new("test"))
}

fn folded(wire: &[u8]) -> FoldedName {
    let mut name = FoldedName::default();
    name.read(wire, 0).expect("a name");
    name
}

/// The code with which a question is denied; `on` and `long` if it is not.
fn judged(denials: &Denials, name: &[u8], qtype: u16) -> String {
    match denials.find(&folded(name), qtype) {
        Judgement::Pass => "on".to_owned(),
        Judgement::Denied(denial) => denial.code.to_string(),
        Judgement::Unsure => "long".to_owned(),
    }
}

#[test]
fn questions_are_denied_handed_on_or_left_to_the_long_way() {
    let denials = denials(
        "template ANY ANY blocked.test {\nrcode NXDOMAIN\n}\n\
         template IN AAAA a.test {\nmatch ^x[.] \\by\\b\nfallthrough sub.a.test\n}\n\
         template CH ANY . {\nrcode REFUSED\n}\n\
         template IN A b.test {\nanswer \"{{ .Name }} A 192.0.2.1\"\n}\n\
         template IN SRV c.test {\nmatch ^ip-\nanswer \"{{ .Name }} SRV 1 1 1 a.\"\nfallthrough\n}\n\
         template IN MX {\nrcode REFUSED\n}",
    );
    use rtype::{A, AAAA, SOA, TXT};
    const MX: u16 = 15;
    for (name, qtype, want) in [
        ("blocked.test.", A, "3"),
        ("www.blocked.test.", rtype::ANY, "3"),
        ("xblocked.test.", A, "on"),
        ("www.blocked.test.", 35, "long"),
        ("www.blocked.test.", rtype::AXFR, "long"),
        ("x.a.test.", AAAA, "0"),
        ("www.y.a.test.", AAAA, "0"),
        ("xy.a.test.", AAAA, "long"),
        ("xy.sub.a.test.", AAAA, "on"),
        ("x.a.test.", A, "on"),
        ("b.test.", A, "long"),
        ("b.test.", AAAA, "on"),
        ("b.test.", rtype::ANY, "long"),
        ("ip-1.c.test.", rtype::SRV, "long"),
        ("1.c.test.", rtype::SRV, "on"),
        ("1.c.test.", rtype::ANY, "5"),
        ("c.test.", MX, "5"),
        (".", MX, "5"),
        ("c.test.", TXT, "on"),
        ("c.test.", SOA, "on"),
    ] {
        let wire = from_text(name).expect("a name");
        assert_eq!(judged(&denials, &wire, qtype), want, "{name} {qtype}");
    }
    // A dot within a label is no end of one, and is escaped where patterns see it.
    assert_eq!(judged(&denials, b"\x09x.blocked\x04test\0", A), "on");
    assert_eq!(judged(&denials, b"\x01.\x07blocked\x04test\0", A), "3");
    assert_eq!(judged(&denials, b"\x03x.y\x01a\x04test\0", AAAA), "long");
}

#[test]
fn rules_that_do_more_than_deny_are_for_the_long_way() {
    let soa = "SOA a.test. b.test. (1 1 1 1 1)";
    for (rule, want) in [
        ("", "0"),
        ("rcode REFUSED", "5"),
        ("match a", "0"),
        ("rcode SERVFAIL", "long"),
        ("rcode BADKEY", "long"),
        ("ederror 15", "long"),
        ("var x 1", "long"),
        ("expr true", "long"),
        ("match \\w{20}", "long"),
        ("answer \"{{ .Name }} A 192.0.2.1\"", "long"),
        ("additional \"{{ .Zone }} A 192.0.2.1\"", "long"),
        ("authority \"{{ .Zone }} 60 {{ .Class }} SOA\"", "long"),
        (&format!("authority \"{{{{ .Zone }}}} 60 {{{{ .Class }}}} {soa}\""), "0"),
        (&format!("authority \"{{{{ .Name }}}} 60 {soa}\""), "long"),
        (
            &format!("authority \"{{{{ if .Remote }}}}x.{{{{ end }}}}{{{{ .Zone }}}} 60 {soa}\""),
            "long",
        ),
        (&format!("authority \"{{{{ .Meta `a/b` }}}}{{{{ .Zone }}}} 60 {soa}\""), "long"),
        ("authority \"{{ .Zone }} NS a.test.\" \"{{ .Zone }} NS b.test.\"", "long"),
        ("rcode NXDOMAIN\nauthority \"{{ .Zone }} NS a.test.\" \"{{ .Zone }} NS b.test.\"", "3"),
    ] {
        let denials = denials(&format!("template IN A a.test {{\n{rule}\n}}"));
        assert_eq!(judged(&denials, b"\x01a\x04test\0", rtype::A), want, "{rule}");
    }
    let escaped = denials("template IN A \\097.test");
    assert_eq!(judged(&escaped, b"\x01a\x04test\0", rtype::A), "long");
}

#[tokio::test]
async fn a_denial_is_written_with_its_records_and_counted_as_on_the_long_way() {
    let config = rules(
        "template ANY TXT a.test b.a.test {\nrcode NXDOMAIN\nauthority \"{{ .Zone }} 60 IN NS x.{{ .Zone }}\"\n}",
    );
    let metrics = Metrics::new("test");
    let labels = Labels { server: "dns://:53".to_owned(), ..Labels::default() };
    let denials = Denials::new(&config, &metrics).counting_as(&Arc::new(labels));
    let message = b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x01C\x01b\x01A\x04test\0\0\xff\0\x01";
    let mut name = FoldedName::default();
    let Shape::Plain(plain) = read(message, &mut name) else { panic!("plain") };
    let write = |out: &mut [u8], limit| {
        let Judgement::Denied(denial) = denials.find(&name, plain.qtype) else { panic!("denied") };
        let plain = Plain { ..plain };
        let asked =
            Asked { message, plain: &plain, name: &name, limit, renamed: false, rotation: 0 };
        denial.write(out, &asked)
    };
    let mut out = [0; 512];
    let written = write(&mut out, 512).expect("it fits");
    let reply = hickory_proto::op::Message::from_vec(&out[..written.len]).expect("a message");
    assert_eq!(u16::from(reply.metadata.response_code), 3);
    assert!(reply.metadata.authoritative && reply.answers.is_empty());
    assert_eq!(reply.queries[0].name.to_ascii(), "C.b.A.test.");
    assert_eq!(reply.authorities[0].to_string(), "b.a.test. 60 IN NS x.b.a.test.");
    assert_eq!(write(&mut out, 59), None, "the long way cuts");
    let count = |zone, rtype| {
        let labels = ["dns://:53", zone, "", "IN", rtype];
        Counts::new(&metrics).matches.with_label_values(&labels).get()
    };
    assert_eq!((count("b.a.test.", "TXT"), count("a.test.", "TXT")), (1, 0));
    let long = Chained::failing(Template::new(&config, &metrics));
    let query = query("c.b.a.test.", hickory_proto::rr::RecordType::ANY);
    long.serve(&query).await.expect("denied");
    assert_eq!(count("b.a.test.", "TXT"), 2);
}
