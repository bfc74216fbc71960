use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::{op::Message, rr::RecordType};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    authority::{held::Held, master},
    plugins::{
        stand_in::{Chained, query},
        transfer::source::held,
    },
};

/// A plugin under test that the test keeps hold of.
struct Shared(Arc<Secondary>);

impl Plugin for Shared {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        self.0.serve(query, next)
    }
}

/// A primary for `a.test` with this serial, for as many connections as it is asked for.
async fn primary(serials: tokio::sync::watch::Receiver<u32>) -> SocketAddr {
    primary_of(serials, |_, serial| format!("serial TXT {serial}\n")).await
}

/// A primary for any zone, with these records beside the SOA record.
async fn primary_of(
    serials: tokio::sync::watch::Receiver<u32>,
    records: fn(&Name, u32) -> String,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let serial = *serials.borrow();
            let mut request = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut request).await.unwrap();
            let mut reply = Message::from_vec(&request).unwrap();
            let origin = reply.queries[0].name.clone();
            let records = records(&origin, serial);
            let text = format!("$TTL 9\n@ SOA ns root {serial} 3600 60 3600 30\n{records}");
            let read = |_: &std::path::Path| Ok(text.as_bytes().to_vec());
            let domain = Domain::parse(&origin.to_string()).unwrap();
            let zone = master::load(origin, "db".as_ref(), &read).unwrap().zone;
            let one = Held::new(&domain, Some(Arc::new(zone)));
            let outgoing = held(&Zones::new([one]), &reply.queries[0].name).unwrap().unwrap();
            reply.metadata.message_type = hickory_proto::op::MessageType::Response;
            reply.answers.push(outgoing.soa.clone());
            if reply.queries[0].query_type == RecordType::AXFR {
                reply.answers.extend((outgoing.records)());
                reply.answers.push(outgoing.soa);
            }
            let bytes = reply.to_vec().unwrap();
            stream.write_u16(bytes.len() as u16).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        }
    });
    address
}

fn config(primaries: Vec<SocketAddr>) -> Config {
    let name = Domain::parse("a.test").unwrap();
    let zone = config::Zone { name, primaries, catalog: None };
    Config { zones: vec![zone], fallthrough: Vec::new() }
}

fn notify(client: &str) -> Query {
    let mut notify = crate::plugins::stand_in::from(query("a.test.", RecordType::SOA), client);
    Arc::make_mut(&mut notify.message).metadata.op_code = OpCode::Notify;
    notify
}

async fn until(mut done: impl AsyncFnMut() -> bool) {
    while !done().await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_zone_is_fetched_and_again_when_its_primary_tells_of_a_change() {
    let (serials, watch) = tokio::sync::watch::channel(1);
    let address = primary(watch).await;
    let dead = "127.0.0.1:1".parse().unwrap();
    let told = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&told);
    let notified: Notify = Arc::new(move |_| *counted.lock() += 1);
    let plugin = Secondary::start(&config(vec![dead, address]), Some(&notified));
    let server = Chained::failing(Shared(Arc::clone(&plugin)));
    let text = async || {
        let answer = server.serve(&query("serial.a.test.", RecordType::TXT)).await;
        answer.map(|answer| answer.message.answers[0].data.to_string()).ok()
    };
    until(async || text().await.as_deref() == Some("1")).await;
    serials.send(2).unwrap();
    assert_eq!(server.serve(&notify("10.0.0.9")).await.unwrap().code(), ResponseCode::Refused);
    assert_eq!(text().await.as_deref(), Some("1"), "who told of it is no primary");
    let reply = server.serve(&notify("127.0.0.1")).await.unwrap();
    assert!(reply.code() == ResponseCode::NoError && reply.message.metadata.authoritative);
    until(async || text().await.as_deref() == Some("2")).await;
    assert_eq!(*told.lock(), 2, "those behind were told");
    assert!(source::Source::zone(&*plugin, &zone_name()).unwrap().is_some());
}

fn zone_name() -> Name {
    Name::from_ascii("A.test.").unwrap()
}

#[tokio::test]
async fn a_zone_that_is_missing_or_too_old_is_servfail() {
    let plugin = Secondary::start(&config(vec!["127.0.0.1:1".parse().unwrap()]), None);
    let server = Chained::failing(Shared(Arc::clone(&plugin)));
    let code = async || {
        let outcome = server.serve(&query("a.test.", RecordType::SOA)).await;
        outcome.map(|answer| answer.code()).map_err(|failure| failure.code)
    };
    assert_eq!(code().await, Err(ResponseCode::ServFail));
    let read = |_: &std::path::Path| Ok(b"@ 9 SOA ns root 1 60 60 60 30\n".to_vec());
    let data = master::load(zone_name(), "db".as_ref(), &read).unwrap().zone;
    plugin.state.load().zones.named(&zone_name()).unwrap().replace(Arc::new(data));
    assert_eq!(code().await, Ok(ResponseCode::NoError));
    plugin.state.load().zones.named(&zone_name()).unwrap().expire(true);
    assert_eq!(code().await, Err(ResponseCode::ServFail));
    assert!(server.seen().is_empty());
}

/// What is in the catalog `a.test` with each serial; other zones tell their name and serial.
fn cataloged(origin: &Name, serial: u32) -> String {
    let members = match serial {
        1 => "x.zones PTR b.test.\ny.zones PTR out.example.\nz.zones PTR a.test.\n",
        2 => "x.zones PTR b.test.\nc.zones PTR c.test.\n",
        3 => "c.zones PTR c.test.\nd.zones PTR c.test.\n",
        _ => "",
    };
    match *origin == zone_name() {
        true => format!("@ NS invalid.\nversion TXT 2\n{members}"),
        false => format!("told TXT {origin}{serial}\n"),
    }
}

#[tokio::test]
async fn the_members_of_a_catalog_are_served_for_as_long_as_it_has_them() {
    let (serials, watch) = tokio::sync::watch::channel(1);
    let mut config = config(vec![primary_of(watch, cataloged).await]);
    config.zones[0].catalog = Some(vec![Domain::parse("test").unwrap()]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let notified: Notify = Arc::new(move |zone| heard.lock().push(zone.to_string()));
    let plugin = Secondary::start(&config, Some(&notified));
    let server = Chained::failing(Shared(Arc::clone(&plugin)));
    let text = async |zone: &str| {
        let answer = server.serve(&query(&format!("told.{zone}"), RecordType::TXT)).await;
        answer.map(|answer| answer.message.answers[0].data.to_string()).ok()
    };
    until(async || text("b.test.").await.as_deref() == Some("b.test.1")).await;
    assert_eq!(*told.lock(), ["a.test.", "b.test."]);
    let zones = || {
        let state = plugin.state.load();
        let mut all: Vec<String> = state.zones.iter().map(|zone| zone.name.to_string()).collect();
        all.sort();
        all
    };
    assert_eq!(zones(), ["a.test.", "b.test."], "neither what is not allowed nor itself");

    let tell = async |serial| {
        serials.send(serial).unwrap();
        let reply = server.serve(&notify("127.0.0.1")).await.unwrap();
        assert_eq!(reply.code(), ResponseCode::NoError);
    };
    tell(2).await;
    until(async || text("c.test.").await.as_deref() == Some("c.test.2")).await;
    assert_eq!(text("b.test.").await.as_deref(), Some("b.test.1"), "a member is left as it is");

    tell(3).await;
    // It has one zone twice: what was known stays, until there is a better one.
    tell(4).await;
    until(async || zones() == ["a.test."]).await;
    server.seen();
    assert_eq!(text("c.test.").await, None);
    assert_eq!(server.seen().len(), 1, "it is the next plugin's");
}

#[tokio::test]
async fn a_catalog_that_is_none_is_not_taken() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let counted = |origin: &Name, serial| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        cataloged(origin, serial)
    };
    let (_serials, watch) = tokio::sync::watch::channel(3);
    let mut config = config(vec![primary_of(watch, counted).await]);
    config.zones[0].catalog = Some(Vec::new());
    let plugin = Secondary::start(&config, None);
    let server = Chained::failing(Shared(plugin));
    until(async || ASKED.load(Ordering::Relaxed) > 1).await;
    let outcome = server.serve(&query("a.test.", RecordType::SOA)).await;
    assert_eq!(outcome.unwrap_err().code, ResponseCode::ServFail);
}
