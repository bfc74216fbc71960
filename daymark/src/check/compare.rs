//! `daymark check compare`: asks two servers the same, and tells where they do not say the same.

use std::{collections::BTreeSet, fmt::Write, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use daymark_dns::metrics::rcode_label;
use futures::{StreamExt, stream};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{RData, Record},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::questions::{Question, questions};
use crate::{
    arguments::CompareOptions,
    output::{complain, print},
};

/// Questions under way at once.
const AT_ONCE: usize = 32;
/// How long a reply may take, and how often it is asked for.
const PATIENCE: Duration = Duration::from_secs(3);
const TRIES: usize = 3;
/// A difference is looked at again after this: what changes meanwhile is none.
const AGAIN: Duration = Duration::from_millis(500);

/// Asks both servers everything and reports.
pub(crate) fn compare(options: &CompareOptions) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime
        .context("starting the runtime")
        .and_then(|runtime| runtime.block_on(compare_all(options)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("{error:#}\n"));
            ExitCode::from(2)
        }
    }
}

/// Tells whether all is the same.
async fn compare_all(options: &CompareOptions) -> anyhow::Result<bool> {
    let questions = questions(options).await?;
    let count = questions.len();
    let asked = questions.into_iter().map(|question| async move {
        let found = differs(&question, options).await;
        (question, found)
    });
    let mut replies = stream::iter(asked).buffered(AT_ONCE);
    let mut different = 0;
    while let Some((question, found)) = replies.next().await {
        if let Some(text) = found? {
            different += 1;
            print(&format!("{} {}\n{text}", question.name, question.rtype));
        }
    }
    print(&format!("{count} questions, {different} answered differently\n"));
    Ok(different == 0)
}

/// What differs, as lines with `-` for the old server and `+` for the new one.
async fn differs(question: &Question, options: &CompareOptions) -> anyhow::Result<Option<String>> {
    let mut last = None;
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(AGAIN).await;
        }
        let both = tokio::join!(ask(options.old, question), ask(options.new, question));
        let old = both.0.with_context(|| format!("{} (--old)", options.old))?;
        let new = both.1.with_context(|| format!("{} (--new)", options.new))?;
        last = difference(&told(&old, options.ttl), &told(&new, options.ttl));
        if last.is_none() {
            break;
        }
    }
    Ok(last)
}

fn difference(old: &BTreeSet<String>, new: &BTreeSet<String>) -> Option<String> {
    let mut text = String::new();
    for (sign, these, others) in [('-', old, new), ('+', new, old)] {
        for line in these.difference(others) {
            // Writing to a String can't fail.
            let _ = writeln!(text, "  {sign} {line}");
        }
    }
    (!text.is_empty()).then_some(text)
}

/// What of a reply matters to whoever asked, in any order.
fn told(reply: &Message, with_ttl: bool) -> BTreeSet<String> {
    let header = &reply.metadata;
    let mut told =
        BTreeSet::from([format!("rcode {}", rcode_label(u16::from(header.response_code).into()))]);
    if header.authoritative {
        told.insert("authoritative".to_owned());
    }
    let sections = [
        ("answer", &reply.answers),
        ("authority", &reply.authorities),
        ("additional", &reply.additionals),
    ];
    for (section, records) in sections {
        told.extend(records.iter().map(|record| format!("{section} {}", shown(record, with_ttl))));
    }
    told
}

fn shown(record: &Record, with_ttl: bool) -> String {
    let ttl = if with_ttl { format!("{} ", record.ttl) } else { String::new() };
    let data = match &record.data {
        // Each server counts its serials in its own way.
        RData::SOA(soa) => format!("{} {} …", soa.mname, soa.rname),
        data => data.to_string(),
    };
    format!("{} {ttl}{} {data}", record.name.to_lowercase(), record.record_type())
}

async fn ask(server: SocketAddr, question: &Question) -> anyhow::Result<Message> {
    let id = rand::random();
    let mut query = Message::new(id, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    let mut asked = Query::query(question.name.clone(), question.rtype);
    asked.set_query_class(hickory_proto::rr::DNSClass::IN);
    query.add_query(asked);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    query.set_edns(edns);
    let octets = query.to_vec()?;
    for _ in 0..TRIES {
        match timeout(PATIENCE, over_udp(server, id, &octets)).await {
            Ok(Ok(reply)) if !reply.metadata.truncation => return Ok(reply),
            Ok(Ok(_)) => return timeout(PATIENCE, over_tcp(server, &octets)).await?,
            // Refused by the machine, or nothing came: once more.
            Ok(Err(_)) | Err(_) => {}
        }
    }
    bail!("no reply to {} {}", question.name, question.rtype)
}

async fn over_udp(server: SocketAddr, id: u16, query: &[u8]) -> anyhow::Result<Message> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut reply = vec![0; usize::from(u16::MAX)];
    loop {
        let len = socket.recv(&mut reply).await?;
        if let Ok(reply) = Message::from_vec(&reply[..len])
            && reply.metadata.id == id
        {
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> anyhow::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_u16(query.len() as u16).await?;
    stream.write_all(query).await?;
    let len = stream.read_u16().await?;
    let mut reply = vec![0; usize::from(len)];
    stream.read_exact(&mut reply).await?;
    Ok(Message::from_vec(&reply)?)
}
