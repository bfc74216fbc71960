use std::sync::Arc;

use hickory_proto::{op::ResponseCode, rr::RecordType};
use prometheus::IntGaugeVec;
use tokio::sync::watch;

use super::{Fatal, Loop, config::Config};
use crate::{
    corefile::domain::Domain,
    plugin::{Outcome, Plugin, Transport},
    plugins::forward::{
        health::State,
        tests::{
            scripted::{Scripted, until},
            setup::Setup,
        },
    },
};

/// A block of `zone` with `loop` and a `forward` of `from` to two upstreams.
struct Block {
    setup: Setup,
    upstreams: [Scripted; 2],
    looping: Arc<Loop>,
    detected: IntGaugeVec,
}

impl Block {
    async fn start(zone: &str, from: &str, fatal: Option<Fatal>) -> Self {
        let upstreams = [Scripted::well().await, Scripted::well().await];
        let [first, second] = [upstreams[0].address, upstreams[1].address];
        let mut setup = Setup::new(&format!("forward {from} {first} {second}")).await;
        let config = Config { zone: Domain::parse(zone).unwrap() };
        let detected = setup.metrics.loop_detected.clone();
        let looping = Loop::new(&config, detected.clone(), fatal);
        let mut chain: Vec<Arc<dyn Plugin>> = vec![Arc::clone(&looping) as Arc<dyn Plugin>];
        chain.extend(setup.chain.iter().cloned());
        setup.chain = chain.into();
        looping.watch(&setup.forwards);
        let block = Block { setup, upstreams, looping, detected };
        until(|| block.upstreams.iter().all(|upstream| !upstream.seen().is_empty())).await;
        block
    }

    /// The name that the upstream was probed with.
    fn probe(&self, upstream: usize) -> String {
        let query = self.upstreams[upstream].seen()[0].query.clone();
        assert_eq!(query.queries[0].query_type, RecordType::HINFO);
        query.queries[0].name.to_ascii()
    }

    async fn hinfo(&self, name: &str) -> Outcome {
        self.setup.ask_for(name, RecordType::HINFO, Transport::Udp).await
    }

    fn states(&self) -> Vec<State> {
        self.setup.forwards[0].remotes().iter().map(|remote| remote.health.state()).collect()
    }

    fn gauge(&self, upstream: usize) -> i64 {
        let to = self.upstreams[upstream].address.to_string();
        self.detected.with_label_values(&[".", &*to]).get()
    }
}

#[tokio::test]
async fn the_upstream_whose_question_comes_back_is_cut_and_the_other_asked() {
    let block = Block::start(".", ".", None).await;
    assert_ne!(block.probe(0), block.probe(1));
    for _ in 0..3 {
        let failure = block.hinfo(&block.probe(1)).await.unwrap_err();
        assert_eq!((failure.plugin, failure.code), ("loop", ResponseCode::ServFail));
    }
    assert_eq!(block.states(), [State::Up, State::Cut]);
    assert_eq!((block.gauge(0), block.gauge(1)), (0, 1));
    let before = block.upstreams[1].seen().len();
    for _ in 0..10 {
        assert_eq!(block.setup.code("www.example.org.").await, ResponseCode::NoError);
    }
    assert_eq!(block.upstreams[1].seen().len(), before);
}

#[tokio::test]
async fn only_the_very_question_counts() {
    let block = Block::start(".", ".", None).await;
    let name = block.probe(0);
    assert!(block.hinfo("1.2.").await.is_ok());
    assert!(block.setup.ask(&name).await.is_ok(), "another type");
    assert!(block.hinfo(&format!("3.{name}")).await.is_ok());
    assert_eq!(block.states(), [State::Up, State::Up]);
}

#[tokio::test]
async fn with_loop_exit_the_process_is_told_to_end_with_coredns_s_words() {
    let (fatal, told) = watch::channel(None);
    let block = Block::start(".", ".", Some(fatal)).await;
    let name = block.probe(0);
    assert!(block.hinfo(&name).await.is_err());
    let message = told.borrow().clone().unwrap();
    assert!(message.starts_with("Loop (10.0.0.1:1234 -> 10.0.0.1:1234) detected for zone \".\","));
    assert!(message.ends_with(&format!("Query: \"HINFO {name}\"")), "{message}");
    assert_eq!(block.states(), [State::Up, State::Up]);
}

#[tokio::test]
async fn the_question_is_for_a_name_that_is_forwarded() {
    for (zone, from, suffix) in [
        ("example.org", ".", ".example.org."),
        (".", "corp.example", ".corp.example."),
        ("example.org", "a.example.org", ".a.example.org."),
    ] {
        let block = Block::start(zone, from, None).await;
        let name = block.probe(0);
        assert!(name.ends_with(suffix), "{name}");
        assert_eq!(name.trim_end_matches(suffix).matches('.').count(), 1, "{name}");
    }
}

#[tokio::test]
async fn the_gauge_falls_when_a_reload_does_away_with_the_block() {
    let block = Block::start(".", ".", None).await;
    assert!(block.hinfo(&block.probe(0)).await.is_err());
    assert_eq!(block.gauge(0), 1);
    let Block { setup, upstreams, looping, detected } = block;
    drop((setup, looping));
    let to = upstreams[0].address.to_string();
    assert_eq!(detected.with_label_values(&[".", &*to]).get(), 0);
}
