use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Instant,
};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::{MessageType, OpCode, Query as Question},
    rr::{
        RecordType,
        rdata::{A, opt::NSIDPayload},
    },
};

use super::*;
use crate::{
    metrics::{Metrics, Series},
    plugin::{Next, Outcome, Plugin, Transport},
    plugins::{dnstap::Taps, stand_in::StandIn},
};

/// A server with one block of these plugins for all names.
struct Rig {
    routes: Arc<Routes>,
    recorder: Arc<Recorder>,
}

impl Rig {
    fn new(chain: Vec<Arc<dyn Plugin>>) -> Self {
        let metrics = Metrics::new("test");
        let series = |zone: &str| {
            metrics.queries().series(&Series {
                server: "dns://:53".to_owned(),
                zone: zone.to_owned(),
                view: String::new(),
                plugin: "errors".to_owned(),
            })
        };
        let block = Block {
            zone: vec![0],
            chain: chain.into(),
            short: None,
            series: Some(series(".")),
            errors: None,
            log: None,
            taps: Taps::default(),
            payload: Some(1232),
            panics: Arc::default(),
            labels: Arc::default(),
            metadata: None,
            view: None,
        };
        let routes = Arc::new(Routes::new(vec![block], series("dropped")));
        let recorder = metrics.queries().recorder();
        Rig { routes, recorder }
    }

    fn saying(says: impl Fn(&Query) -> Outcome + Send + Sync + 'static) -> Self {
        Rig::new(vec![StandIn::saying(says)])
    }

    async fn ask(&self, message: &Message) -> Option<Message> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        let received = Instant::now();
        let origin =
            Origin { client: any, local: any, transport: Transport::Udp, received, parent: None };
        let request = message.to_vec().unwrap();
        let answer = answer(&self.routes, &self.recorder, &request, origin, Purpose::Reply);
        answer.await.map(|bytes| Message::from_vec(&bytes).unwrap())
    }
}

fn question(class: DNSClass, edns: Option<Edns>) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    let mut question =
        Question::query(Name::from_ascii("Www.example.org.").unwrap(), RecordType::A);
    question.query_class = class;
    message.add_query(question);
    message.edns = edns;
    message
}

fn with_options(size: u16, codes: &[u16]) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(size);
    for code in codes {
        edns.options_mut().insert(option(*code, 4));
    }
    edns
}

fn option(code: u16, len: usize) -> EdnsOption {
    match code {
        3 => EdnsOption::NSID(NSIDPayload::new(vec![0; len]).unwrap()),
        _ => EdnsOption::Unknown(code, vec![0; len]),
    }
}

fn codes(reply: &Message) -> Option<Vec<u16>> {
    let edns = reply.edns.as_ref()?;
    Some(edns.options().as_ref().iter().map(|(code, _)| u16::from(*code)).collect())
}

/// Replies whose OPT has all of these options, from an upstream that is at odds with the client.
fn generous(query: &Query) -> Outcome {
    let mut answer = Answer::relayed(Answer::to(query).message);
    let mut edns = with_options(512, &[3, 10, 11, 12, 15, 65001, 65002]);
    edns.set_dnssec_ok(true);
    answer.message.edns = Some(edns);
    Ok(answer)
}

#[tokio::test]
async fn a_client_gets_an_extended_error_and_the_options_that_it_asked_for() {
    let rig = Rig::saying(generous);
    for (asked, want) in [
        (None, None),
        (Some(vec![]), Some(vec![15])),
        (Some(vec![3]), Some(vec![3, 15])),
        (Some(vec![10, 11, 12]), Some(vec![15])),
        (Some(vec![65002, 4711]), Some(vec![15, 65002])),
    ] {
        let edns = asked.as_ref().map(|codes| with_options(1400, codes));
        let reply = rig.ask(&question(DNSClass::IN, edns)).await.unwrap();
        assert_eq!(codes(&reply), want, "{asked:?}");
        if let Some(edns) = reply.edns {
            assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (1232, false));
        }
    }
}

#[tokio::test]
async fn options_that_leave_no_room_for_the_question_go_first() {
    let rig = Rig::saying(|query| {
        let mut answer = Answer::to(query);
        let mut edns = Edns::new();
        edns.options_mut().insert(option(3, 500));
        answer.message.edns = Some(edns);
        let owner = query.name().clone();
        answer.message.answers.push(Record::from_rdata(
            owner,
            5,
            RData::A(A([10, 0, 0, 1].into())),
        ));
        Ok(answer)
    });
    let small = rig.ask(&question(DNSClass::IN, Some(with_options(512, &[3])))).await.unwrap();
    assert_eq!((codes(&small), small.answers.len()), (Some(vec![]), 1));
    let large = rig.ask(&question(DNSClass::IN, Some(with_options(1232, &[3])))).await.unwrap();
    assert_eq!((codes(&large), large.answers.len()), (Some(vec![3]), 1));
}

#[tokio::test]
async fn a_dropped_query_gets_no_reply_and_is_counted_as_coredns_counts_it() {
    let rig = Rig::saying(|_| Err(Failure::new("acl", FailureReason::Dropped)));
    assert!(rig.ask(&question(DNSClass::IN, None)).await.is_none());
    let series = rig.routes.blocks()[0].series.unwrap();
    let counted = rig.recorder.values(series).unwrap();
    let [nobody, chain] = &counted.responses;
    assert_eq!((nobody[0].get(), chain[0].get()), (1, 0));
    assert_eq!(counted.reply_size[0].sum.get(), 0);
}

/// Stands in for a plugin of this name and classes.
struct Named(&'static str, bool);

impl Plugin for Named {
    fn name(&self) -> &'static str {
        self.0
    }

    fn knows(&self, class: DNSClass) -> bool {
        self.1 || class == DNSClass::IN
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        match self.1 {
            true => next.serve(query).boxed(),
            false => std::future::ready(Ok(Answer::to(query))).boxed(),
        }
    }
}

#[tokio::test]
async fn other_classes_need_chaos_or_forward_and_pass_over_plugins_that_do_not_know_them() {
    use ResponseCode::{NoError, Refused, ServFail};
    for (plugins, class, want) in [
        (vec![Named("hosts", false)], DNSClass::IN, NoError),
        (vec![Named("hosts", false)], DNSClass::CH, Refused),
        (vec![Named("chaos", true), Named("hosts", false)], DNSClass::CH, ServFail),
        (vec![Named("hosts", false), Named("forward", true)], DNSClass::HS, ServFail),
        (vec![Named("chaos", true), Named("hosts", false)], DNSClass::IN, NoError),
    ] {
        let names: Vec<&str> = plugins.iter().map(|plugin| plugin.0).collect();
        let chain = plugins.into_iter().map(|plugin| Arc::new(plugin) as Arc<dyn Plugin>);
        let reply = Rig::new(chain.collect()).ask(&question(class, None)).await.unwrap();
        assert_eq!(reply.metadata.response_code, want, "{names:?} {class}");
    }
}
