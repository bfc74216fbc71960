//! Spans as each format has them, in one form.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use daymark_tests::{
    collector::Posted,
    protobuf::{self, Value as Field},
};
use serde_json::Value;

/// A span.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) service: String,
    /// When it began, in its format's unit.
    pub(super) begin: u64,
    /// What else is said, times left out.
    pub(super) facts: BTreeMap<String, String>,
}

/// Those of Zipkin's requests.
pub(super) fn of_zipkin(posted: &[Posted]) -> anyhow::Result<Vec<Span>> {
    let mut spans = Vec::new();
    for posted in posted {
        let all: Vec<Value> = serde_json::from_slice(&posted.body)?;
        for span in all {
            let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
            let mut facts = BTreeMap::new();
            for (name, value) in span["tags"].as_object().into_iter().flatten() {
                facts.insert(name.clone(), value.as_str().context("a text")?.to_owned());
            }
            for note in span["annotations"].as_array().into_iter().flatten() {
                let note = note["value"].as_str().context("a note")?;
                let (name, value) = note.split_once(':').context("a colon")?;
                facts.insert(name.to_owned(), value.to_owned());
            }
            for name in ["ipv4", "port"] {
                let value = &span["localEndpoint"][name];
                if !value.is_null() {
                    facts.insert(name.to_owned(), value.to_string());
                }
            }
            if span["shared"] == true {
                facts.insert("shared".to_owned(), "true".to_owned());
            }
            let begin = span["timestamp"].as_u64().context("a time")?;
            ensure!(begin > 1_700_000_000_000_000, "{span}");
            ensure!(span["duration"].as_u64().is_some_and(|took| took > 0), "{span}");
            spans.push(Span {
                trace: text("traceId"),
                id: text("id"),
                parent: text("parentId"),
                name: text("name"),
                kind: text("kind"),
                service: span["localEndpoint"]["serviceName"].as_str().unwrap_or_default().into(),
                begin,
                facts,
            });
        }
    }
    Ok(spans)
}

/// Those of OpenTelemetry's requests (`ExportTraceServiceRequest`).
pub(super) fn of_otlp(posted: &[Posted]) -> anyhow::Result<Vec<Span>> {
    let mut spans = Vec::new();
    for posted in posted {
        for resource_spans in messages(&posted.body, 1)? {
            let resource = messages(&resource_spans, 1)?;
            let mut facts = BTreeMap::new();
            attributes(resource.first().context("a resource")?, 1, &mut facts)?;
            let service = facts.remove("service.name").context("a service")?;
            for scope_spans in messages(&resource_spans, 2)? {
                for span in messages(&scope_spans, 2)? {
                    spans.push(otlp_span(&span, &service)?);
                }
            }
        }
    }
    Ok(spans)
}

fn otlp_span(span: &[u8], service: &str) -> anyhow::Result<Span> {
    let octets = |number| Ok::<_, anyhow::Error>(messages(span, number)?.pop().unwrap_or_default());
    let hexadecimal =
        |octets: Vec<u8>| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let mut facts = BTreeMap::new();
    attributes(span, 9, &mut facts)?;
    for event in messages(span, 11)? {
        attributes(&event, 3, &mut facts)?;
    }
    for status in messages(span, 15)? {
        facts.insert("status".to_owned(), number(&status, 3)?.to_string());
    }
    let (start, end) = (number(span, 7)?, number(span, 8)?);
    ensure!(end >= start && start > 1_700_000_000_000_000_000, "{start} to {end}");
    Ok(Span {
        trace: hexadecimal(octets(1)?),
        id: hexadecimal(octets(2)?),
        parent: hexadecimal(octets(4)?),
        name: String::from_utf8(octets(5)?)?,
        kind: if number(span, 6)? == 2 { "SERVER" } else { "" }.to_owned(),
        service: service.to_owned(),
        begin: start,
        facts,
    })
}

fn messages(message: &[u8], number: u64) -> anyhow::Result<Vec<Vec<u8>>> {
    let fields = protobuf::fields(message)?.into_iter();
    Ok(fields
        .filter_map(|field| match field {
            (of, Field::Octets(octets)) if of == number => Some(octets),
            _ => None,
        })
        .collect())
}

fn number(message: &[u8], number: u64) -> anyhow::Result<u64> {
    let found = protobuf::fields(message)?.into_iter().find_map(|field| match field {
        (of, Field::Number(value)) if of == number => Some(value),
        _ => None,
    });
    found.with_context(|| format!("field {number}"))
}

/// Attributes (`KeyValue`) with texts.
fn attributes(
    message: &[u8],
    number: u64,
    facts: &mut BTreeMap<String, String>,
) -> anyhow::Result<()> {
    for attribute in messages(message, number)? {
        let key = messages(&attribute, 1)?.pop().context("a key")?;
        let value = messages(&attribute, 2)?.pop().context("a value")?;
        let text = messages(&value, 1)?.pop().context("a text")?;
        facts.insert(String::from_utf8(key)?, String::from_utf8(text)?);
    }
    Ok(())
}

/// Those of requests to Datadog's agent.
pub(super) fn of_datadog(posted: &[Posted]) -> anyhow::Result<Vec<Span>> {
    let mut spans = Vec::new();
    for posted in posted {
        let mut body = &posted.body[..];
        let Packed::List(traces) = unpack(&mut body)? else { bail!("no list of traces") };
        ensure!(body.is_empty(), "{} octets behind the traces", body.len());
        let said: usize = posted.fields["x-datadog-trace-count"].parse()?;
        ensure!(said == traces.len(), "{said} traces are {}", traces.len());
        for trace in traces {
            let Packed::List(all) = trace else { bail!("no list of spans") };
            for span in all {
                spans.push(datadog_span(span)?);
            }
        }
    }
    Ok(spans)
}

fn datadog_span(span: Packed) -> anyhow::Result<Span> {
    let Packed::Map(mut span) = span else { bail!("no span") };
    let mut text = |name: &str| match span.remove(name) {
        Some(Packed::Text(text)) => Ok(text),
        Some(Packed::Number(number)) => Ok(number.to_string()),
        other => bail!("{name} is {other:?}"),
    };
    let (trace, id, parent) = (text("trace_id")?, text("span_id")?, text("parent_id")?);
    let (name, service) = (text("name")?, text("service")?);
    ensure!(text("resource")? == name && text("type")?.is_empty());
    let begin = text("start")?.parse()?;
    ensure!(begin > 1_700_000_000_000_000_000, "{begin}");
    text("duration")?.parse::<u64>()?;
    let error = text("error")?;
    let mut facts = BTreeMap::from([("error".to_owned(), error)]);
    for of in ["meta", "metrics"] {
        let Some(Packed::Map(all)) = span.remove(of) else { bail!("no {of}") };
        for (name, value) in all {
            facts.insert(name, format!("{value:?}"));
        }
    }
    Ok(Span { trace, id, parent, name, kind: String::new(), service, begin, facts })
}

/// A value of MessagePack.
#[derive(Debug)]
enum Packed {
    Number(i128),
    Float,
    Text(String),
    List(Vec<Packed>),
    Map(BTreeMap<String, Packed>),
}

fn unpack(rest: &mut &[u8]) -> anyhow::Result<Packed> {
    let head = *rest.split_off_first().context("a value")?;
    let mut length = |octets: usize| {
        let taken = rest.split_off(..octets).context("a length")?;
        anyhow::Ok(taken.iter().fold(0_u64, |all, octet| all << 8 | u64::from(*octet)))
    };
    Ok(match head {
        0..=0x7f => Packed::Number(head.into()),
        0x80..=0x8f => map(rest, usize::from(head & 15))?,
        0xde => {
            let count = length(2)? as usize;
            map(rest, count)?
        }
        0x90..=0x9f => list(rest, usize::from(head & 15))?,
        0xdc => {
            let count = length(2)? as usize;
            list(rest, count)?
        }
        0xa0..=0xbf => text(rest, usize::from(head & 31))?,
        0xd9..=0xdb => {
            let octets = length(1 << (head - 0xd9))? as usize;
            text(rest, octets)?
        }
        0xcb => {
            length(8)?;
            Packed::Float
        }
        0xcc..=0xcf => Packed::Number(length(1 << (head - 0xcc))?.into()),
        0xd0..=0xd3 => Packed::Number(length(1 << (head - 0xd0))?.into()),
        other => bail!("{other:#x}"),
    })
}

fn list(rest: &mut &[u8], count: usize) -> anyhow::Result<Packed> {
    Ok(Packed::List((0..count).map(|_| unpack(rest)).collect::<anyhow::Result<_>>()?))
}

fn map(rest: &mut &[u8], count: usize) -> anyhow::Result<Packed> {
    let entry = |_| match unpack(rest)? {
        Packed::Text(name) => Ok((name, unpack(rest)?)),
        other => bail!("{other:?} is no name"),
    };
    Ok(Packed::Map((0..count).map(entry).collect::<anyhow::Result<_>>()?))
}

fn text(rest: &mut &[u8], octets: usize) -> anyhow::Result<Packed> {
    let text = rest.split_off(..octets).context("a text")?;
    Ok(Packed::Text(std::str::from_utf8(text)?.to_owned()))
}

/// The traces, each as a tree: a line for a span, indented by its depth. Times and numbers are left out,
/// and of spans of one name within another only the first is there.
pub(super) fn trees(spans: &[Span]) -> Vec<String> {
    let roots = spans.iter().filter(|span| {
        !spans.iter().any(|other| other.id == span.parent && other.trace == span.trace)
    });
    roots.map(|root| tree(root, spans, 0)).collect()
}

fn tree(span: &Span, spans: &[Span], depth: usize) -> String {
    let Span { name, kind, service, facts, .. } = span;
    let facts: Vec<String> = facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut text = format!("{:depth$}{name} {kind} {service} {}\n", "", facts.join(" "));
    let mut seen = Vec::new();
    let within = |other: &&Span| other.parent == span.id && other.trace == span.trace;
    for child in spans.iter().filter(within) {
        if child.id != span.id && !seen.contains(&&child.name) {
            seen.push(&child.name);
            text += &tree(child, spans, depth + 1);
        }
    }
    text
}
