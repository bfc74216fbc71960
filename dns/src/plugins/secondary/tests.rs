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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let serial = *serials.borrow();
            let mut request = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut request).await.unwrap();
            let mut reply = Message::from_vec(&request).unwrap();
            let text =
                format!("$TTL 9\n@ SOA ns root {serial} 3600 60 3600 30\nserial TXT {serial}\n");
            let origin = reply.queries[0].name.clone();
            let read = |_: &std::path::Path| Ok(text.as_bytes().to_vec());
            let zone = master::load(origin, "db".as_ref(), &read).unwrap().zone;
            let one = Held::new(&Domain::parse("a.test").unwrap(), Some(Arc::new(zone)));
            let outgoing = held(&[one], &reply.queries[0].name).unwrap().unwrap();
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
    Config { zones: vec![(Domain::parse("a.test").unwrap(), primaries)], fallthrough: Vec::new() }
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
    let told = Arc::new(parking_lot::Mutex::new(0));
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
    plugin.zones[0].replace(Arc::new(data));
    assert_eq!(code().await, Ok(ResponseCode::NoError));
    plugin.zones[0].expire(true);
    assert_eq!(code().await, Err(ResponseCode::ServFail));
    assert!(server.seen().is_empty());
}
