use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::{
    corefile::{check::Environment, load_text, source::Memory},
    plugins::{PluginConfig, stand_in::query},
};

/// The taps of these directives. Nothing is sent.
fn taps(directives: &str) -> Taps {
    let reader = Memory::default();
    let environment = Environment { reader: &reader, default_port: 53, extensions: &[] };
    let text = format!(". {{\n{directives}\n}}\n");
    let checked = load_text("test", text, &environment).unwrap();
    let Some(PluginConfig::Dnstap(config)) = checked.servers[0].plugins.first() else {
        panic!("no dnstap");
    };
    Taps::new(config, &Metrics::new("test")).unwrap()
}

/// What waits for the receiver of a tap.
async fn waiting(tap: &Tap) -> Vec<Payload> {
    let Way::Connected(queue) = &tap.way else { panic!("it listens") };
    queue.close();
    let mut all = Vec::new();
    while let Some(payloads) = queue.take().await {
        all.extend(payloads.into_iter().map(|payload| Payload::decode(payload).unwrap()));
    }
    all
}

#[tokio::test]
async fn a_query_and_its_reply_are_told_to_every_tap() {
    let taps =
        taps("dnstap /a full {\n identity me\n version 1\n}\ndnstap /b {\n extra \"{name}\"\n}");
    let mut asked = query("WWW.example.org.", RecordType::A);
    asked.origin.client = "[::ffff:192.0.2.1]:4711".parse().unwrap();
    let visit = taps.query(&asked, b"query").unwrap();
    visit.answered(b"reply");
    let full = waiting(&taps.0[0]).await;
    let [came, went] = &full[..] else { panic!("{full:?}") };
    for (payload, kind) in [(came, Kind::ClientQuery), (went, Kind::ClientResponse)] {
        assert_eq!(payload.identity.as_deref(), Some(&b"me"[..]));
        assert_eq!((payload.version.as_deref(), &payload.extra), (Some(&b"1"[..]), &None));
        let seen = payload.message.as_ref().unwrap();
        assert_eq!(seen.kind, i32::from(kind));
        // IPv4 is told as such, whatever socket it came through.
        assert_eq!(seen.family, Some(Family::Inet.into()));
        assert_eq!(seen.query_address.as_deref(), Some(&[192, 0, 2, 1][..]));
        assert_eq!((seen.query_port, seen.protocol), (Some(4711), Some(Protocol::Udp.into())));
    }
    let (came, went) = (came.message.as_ref().unwrap(), went.message.as_ref().unwrap());
    assert_eq!(came.query_message.as_deref(), Some(&b"query"[..]));
    assert_eq!((&came.response_message, came.response_time_sec), (&None, None));
    assert_eq!(went.response_message.as_deref(), Some(&b"reply"[..]));
    // By which who reads it finds the query of a reply.
    assert_eq!(went.query_time_sec, came.query_time_sec);
    assert_eq!(went.query_time_nsec, came.query_time_nsec);
    let bare = waiting(&taps.0[1]).await;
    assert_eq!(bare.len(), 2);
    for payload in &bare {
        assert_eq!(payload.extra.as_deref(), Some(&b"www.example.org."[..]));
        let seen = payload.message.as_ref().unwrap();
        assert_eq!((&seen.query_message, &seen.response_message), (&None, &None));
    }
}

#[tokio::test]
async fn an_exchange_with_an_upstream_has_both_ends() {
    let taps = taps("dnstap /a full");
    let asked = query("www.example.org.", RecordType::A);
    let message = asked.message.to_vec().unwrap();
    let reply = crate::plugin::Answer::to(&asked).message;
    let forwarded = |from, reply| Forwarded {
        query: &asked,
        to: "[2001:db8::1]:853".parse().unwrap(),
        from,
        over: Transport::Tls,
        sent: SystemTime::now(),
        message: &message,
        reply,
    };
    taps.forwarded(&forwarded("[2001:db8::2]:4712".parse().ok(), Some(&reply)));
    taps.forwarded(&forwarded(None, None));
    let told = waiting(&taps.0[0]).await;
    let seen: Vec<&Seen> = told.iter().filter_map(|payload| payload.message.as_ref()).collect();
    let kinds: Vec<i32> = seen.iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds, [7, 8, 7]);
    assert_eq!(seen[0].query_port, Some(4712));
    assert_eq!(seen[0].query_address.as_ref().map(Vec::len), Some(16));
    assert_eq!(seen[0].query_message.as_deref(), Some(&message[..]));
    let reply = seen[1].response_message.as_deref().unwrap();
    assert_eq!(reply[..2], message[..2], "the reply has the client's id");
    assert_eq!((seen[2].query_port, &seen[2].query_address), (None, &None));
    for seen in seen {
        assert_eq!((seen.response_port, seen.protocol), (Some(853), Some(Protocol::Dot.into())));
        assert_eq!(seen.family, Some(Family::Inet6.into()));
    }
}

#[tokio::test]
async fn extra_has_fields_of_the_query_and_none_of_the_reply() {
    let text = "{type} {class} {proto} {remote}:{port} {local} {>id} {>opcode} {>do} {>bufsize} \
                {size} {rcode} {rsize} {duration} {>rflags} {/a/b} {c}";
    let taps = taps(&format!("dnstap /a {{\n extra \"{text}\"\n}}"));
    let mut asked = query("www.example.org.", RecordType::from(65280));
    asked.origin.client = "[2001:db8::7]:9".parse().unwrap();
    taps.query(&asked, b"");
    let told = waiting(&taps.0[0]).await;
    let extra = String::from_utf8(told[0].extra.clone().unwrap()).unwrap();
    let expected = "TYPE65280 IN udp [2001:db8::7]:9 127.0.0.1 7 0 false 512 33 - - - - - {c}";
    assert_eq!(extra, expected);
}

#[tokio::test]
async fn nobody_is_told_where_nobody_listens() {
    let taps = taps("dnstap listen /nowhere/tap");
    assert!(taps.query(&query("a.test.", RecordType::A), b"").is_some());
    assert!(!taps.0[0].has_receiver());
    assert!(Taps::default().query(&query("a.test.", RecordType::A), b"").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_goes_or_takes_nothing_is_left() {
    let queue = || {
        let lost = IntCounter::new("lost", "lost").unwrap();
        Queue::new(1000, OCTETS, lost)
    };
    // It goes while nothing is sent.
    let (mut ours, theirs) = duplex(64);
    drop(theirs);
    let idle = queue();
    assert!(sending::deliver(&mut ours, &idle).await.is_err());
    assert_eq!(idle.drops(), 0);
    // It stays and reads no more.
    let (mut ours, mut theirs) = duplex(64);
    let full = queue();
    (0..3).for_each(|_| full.push(Bytes::from(vec![0; 100])));
    let error = sending::deliver(&mut ours, &full).await.unwrap_err();
    assert_eq!((error.kind(), full.drops()), (std::io::ErrorKind::TimedOut, 3));
    // It has all, but does not say so.
    let (mut ours, mut silent) = duplex(1024);
    let closed = queue();
    closed.push(Bytes::from_static(b"one"));
    closed.close();
    assert!(sending::deliver(&mut ours, &closed).await.is_err());
    let mut got = [0; 7];
    silent.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"\0\0\0\x03one");
    theirs.shutdown().await.unwrap();
}
