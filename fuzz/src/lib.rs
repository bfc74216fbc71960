//! Fuzz targets: one function for each parser of outside bytes. A target must not panic, whatever
//! it is given.
//!
//! cargo-fuzz wants a nightly compiler, so the bodies are plain functions: `cargo xtask test` runs
//! them over the corpora in `corpus/` and over random and mangled input for a bounded time, and a
//! fuzzer's harness is one line that calls them.
#![forbid(unsafe_code)]

use std::path::Path;

use daymark_cluster::{Kind, Needs};
use daymark_cni_spec::{
    AddResult, Arguments, AttachmentId, Configuration, ConfigurationList, Version, configuration,
    deletions, protocol,
};
use daymark_dns::{
    authority::{answer, incoming::Incoming, master},
    corefile::{self, check::Environment, source::Memory},
    plugins::{
        forward::{
            message::{self, Outgoing},
            quic,
        },
        template::text::{Data, Field, Text, Value},
    },
    wire::{
        HEADER,
        name::FoldedName,
        query::{self, Shape},
        record_text, reply,
    },
};
use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};

/// A datagram: told apart without a panic, and a reject is never longer than a header.
pub fn message(bytes: &[u8]) {
    let mut name = FoldedName::default();
    let shape = query::read(bytes, &mut name);
    let mut out = [0; HEADER];
    match shape {
        Shape::Reject(code) => assert_eq!(reply::reject(&mut out, bytes, code), HEADER),
        Shape::Plain(plain) => {
            // What the short way takes for plain, the long way must be able to decode.
            let decoded = Message::from_vec(bytes).expect("a plain question decodes");
            assert_eq!(decoded.queries.len(), 1);
            assert_eq!(u16::from(decoded.queries[0].query_type), plain.qtype);
            assert_eq!(decoded.edns.is_some(), plain.edns.is_some());
        }
        Shape::Odd => drop(Message::from_vec(bytes)),
        Shape::Ignore => {}
    }
}

/// A Corefile: checked without a panic.
pub fn corefile(bytes: &[u8]) {
    let reader = Memory::default();
    let environment = Environment { reader: &reader, default_port: 53, extensions: &[] };
    let text = String::from_utf8_lossy(bytes).into_owned();
    // Mistakes must also be printable.
    if let Err(mistakes) = corefile::load_text("Corefile", text, &environment) {
        assert!(!mistakes.to_string().is_empty());
    }
}

/// A manifest: parsed without a panic.
pub fn manifest(bytes: &[u8]) {
    let name = Path::new("fuzzed.yaml").display().to_string();
    let kinds = Kind::ALL.into_iter().collect();
    let needs =
        Needs { kinds, labels: kinds, endpoint_pods: true, endpoint_zones: true, externals: true };
    if let Err(mistakes) = daymark_source::manifests::parse(&name, bytes, &needs) {
        assert!(!mistakes.render().is_empty());
    }
}

/// A watch of the Kubernetes API in protobuf: read without a panic, and wherever it is cut, as much
/// is read.
pub fn watch(bytes: &[u8]) {
    let kinds = Kind::ALL.into_iter().collect();
    let needs =
        Needs { kinds, labels: kinds, endpoint_pods: true, endpoint_zones: true, externals: true };
    let (start, end) = bytes.split_at(bytes.len() / 2);
    for kind in Kind::ALL {
        let whole = daymark_source::kubernetes::read_watch(kind, needs, &[bytes]);
        assert_eq!(daymark_source::kubernetes::read_watch(kind, needs, &[start, end]), whole);
    }
}

/// A state that was saved: read without a panic, and half of it is none.
pub fn state(bytes: &[u8]) {
    if daymark_source::kubernetes::read_state("fuzzed", bytes).is_some() {
        let half = &bytes[..bytes.len() / 2];
        assert_eq!(daymark_source::kubernetes::read_state("fuzzed", half), None);
    }
}

/// The URI of a GET for DNS over HTTPS: read without a panic.
pub fn doh(bytes: &[u8]) {
    let uri = String::from_utf8_lossy(bytes);
    if let Ok(request) = http::Request::get(uri.as_ref()).body(()) {
        let (head, ()) = request.into_parts();
        drop(daymark_dns::server::doh::asked(&head));
    }
}

/// An expression of `view`: compiled and evaluated over a query without a panic.
pub fn expression(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = daymark_dns::expression::Expression::compile(&text, &Default::default()) {
        assert!(error.at <= text.len() && !error.what.is_empty());
    }
}

/// A Go template: compiled without a panic, and filled in with data that have nothing.
pub fn template(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    match Text::compile(&source, &Default::default()) {
        Ok(text) => drop(text.fill(&NoData)),
        Err(error) => assert!(error.at <= source.len() && !error.what.is_empty()),
    }
}

struct NoData;

impl Data for NoData {
    fn field(&self, _field: &Field) -> Value {
        Value::text("a.example.")
    }

    fn meta(&self, _label: &str) -> String {
        String::new()
    }
}

/// The words of a `rewrite` rule, in a Corefile: checked without a panic.
pub fn rewrite(bytes: &[u8]) {
    let words = String::from_utf8_lossy(bytes).replace(['\n', '{', '}'], " ");
    corefile(format!(". {{\nrewrite {words}\n}}\n").as_bytes());
}

/// The words of a `forward`, in a Corefile: checked without a panic.
pub fn forward(bytes: &[u8]) {
    let words = String::from_utf8_lossy(bytes).replace(['\n', '{', '}'], " ");
    corefile(format!(". {{\nforward {words}\n}}\n").as_bytes());
}

/// What an upstream sends, as a datagram, a response's body or a stream: judged and read without a
/// panic.
pub fn upstream(bytes: &[u8]) {
    let name = Name::from_ascii("www.example.org.").expect("a name");
    let mut query = Message::query();
    query.add_query(Query::query(name, RecordType::A));
    let query = Outgoing::new(&query).expect("a query encodes");
    for reply in [Some(bytes), quic::message_of(bytes)].into_iter().flatten() {
        let id = reply.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
        if query.is_answered_by(id, reply) {
            drop(message::read(reply, false));
            drop(message::read(reply, true));
        }
    }
}

/// A record in presentation form, as a template makes it: read without a panic, and what is read can
/// be sent.
pub fn record(bytes: &[u8]) {
    if let Ok(record) = record_text::record(&String::from_utf8_lossy(bytes)) {
        let mut message = Message::query();
        message.answers.push(record);
        drop(message.to_vec());
    }
}

/// A master file, also as one that it includes: read without a panic, and the zone that it makes answers for all
/// of its names, and is sent whole.
pub fn zone(bytes: &[u8]) {
    let origin = Name::from_ascii("a.test.").expect("a name");
    let read = |path: &Path| {
        let text: &[u8] = if path.ends_with("fuzzed") { bytes } else { b"b 5 A 10.0.0.1\n" };
        Ok(text.to_vec())
    };
    let Ok(loaded) = master::load(origin, Path::new("fuzzed"), &read) else { return };
    let zone = loaded.zone;
    assert!(!zone.is_empty());
    for node in zone.nodes().take(50) {
        for rtype in [RecordType::A, RecordType::ANY, RecordType::DS] {
            let reply = answer::reply(&zone, &node.name(), rtype, true);
            let mut message = Message::query();
            message.answers = reply.answers;
            message.authorities = reply.authorities;
            drop(message.to_vec());
        }
    }
}

/// A message of an incoming zone transfer: taken or refused without a panic.
pub fn transfer(bytes: &[u8]) {
    let zone = Name::from_ascii("a.test.").expect("a name");
    let id = bytes.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let mut incoming = Incoming::new(zone, id);
    // The same message again, as long as that makes sense.
    let mut more = true;
    for _ in 0..3 {
        more = more && matches!(incoming.take(bytes), Ok(false));
    }
    if let Ok(zone) = incoming.finish() {
        assert!(!zone.is_empty());
    }
}

#[cfg(test)]
mod tests;

/// What a runtime writes to the CNI plugin's stdin: read without a panic, alike whether the plugin or
/// the agent reads it, and a result in it can be shaped for every version.
pub fn cni(bytes: &[u8]) {
    drop(configuration::version_of(bytes));
    drop(ConfigurationList::parse(bytes));
    let read = Configuration::parse(bytes);
    if let Ok(value) = serde_json::from_slice(bytes) {
        // A key that is there twice is refused in text, and gone once it is a value.
        if read.is_ok() {
            assert_eq!(Configuration::from_json(&value), read);
        }
        if let Ok(result) = AddResult::parse(&value) {
            for version in Version::ALL {
                let shaped = AddResult::parse(&result.to_json(version)).expect("what we wrote");
                assert_eq!(shaped.ips, result.ips);
            }
        }
    }
    let text = String::from_utf8_lossy(bytes);
    drop(Arguments::parse(&text));
    if let Some(id) = AttachmentId::parse(&text) {
        assert_eq!(AttachmentId::parse(&id.to_string()), Some(id));
    }
}

/// What comes over the agent's socket, and what lies in its folders: read without a panic.
pub fn cni_message(bytes: &[u8]) {
    if let Ok(message) = protocol::read(bytes)
        && let Ok(request) = serde_json::from_slice::<protocol::Request>(&message)
    {
        let again = protocol::encode(&request).expect("no longer than it was");
        let again = protocol::read(&again[..]).expect("whole");
        assert_eq!(serde_json::from_slice::<protocol::Request>(&again).ok(), Some(request));
    }
    drop(deletions::parse(bytes));
    drop(daymark_cni::record::parse(bytes));
}
