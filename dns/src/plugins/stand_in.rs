//! For tests: a query, and a chain of the plugin under test and one that stands in for the rest.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query as Question},
    rr::{Name, RecordType},
};
use parking_lot::Mutex;

use crate::{
    metrics::{Metrics, Series},
    plugin::{
        Chain, Failure, FailureReason, Labels, Next, Origin, Outcome, Plugin, Query, Transport,
        Upward,
    },
    plugins::{dnstap::Taps, metadata::Metadata, trace::span::Current},
    server::routes::{Block, Routes},
};

type Says = Box<dyn Fn(&Query) -> Outcome + Send + Sync>;

/// What stands behind the plugin under test: it does as the test says and remembers.
pub(crate) struct StandIn {
    says: Says,
    seen: Mutex<Vec<Query>>,
}

/// A plugin under test in front of a [`StandIn`].
pub(crate) struct Chained {
    chain: Chain,
    behind: Arc<StandIn>,
}

impl StandIn {
    /// One that answers so.
    pub(crate) fn saying(says: impl Fn(&Query) -> Outcome + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(StandIn { says: Box::new(says), seen: Mutex::default() })
    }
}

impl Plugin for StandIn {
    fn name(&self) -> &'static str {
        "stand_in"
    }

    fn serve<'a>(&'a self, query: &'a Query, _next: Next<'a>) -> BoxFuture<'a, Outcome> {
        self.seen.lock().push(query.clone());
        std::future::ready((self.says)(query)).boxed()
    }
}

impl Chained {
    /// `plugin`, and behind it one that answers so.
    pub(crate) fn of(
        plugin: impl Plugin + 'static,
        says: impl Fn(&Query) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        let behind = StandIn::saying(says);
        let chain: Vec<Arc<dyn Plugin>> = vec![Arc::new(plugin), Arc::clone(&behind) as _];
        Chained { chain: chain.into(), behind }
    }

    /// `plugin`, and behind it one that fails.
    pub(crate) fn failing(plugin: impl Plugin + 'static) -> Self {
        Chained::of(plugin, |_| Err(Failure::new("stand_in", FailureReason::NoNextPlugin)))
    }

    /// Runs the chain.
    pub(crate) async fn serve(&self, query: &Query) -> Outcome {
        Next::all(&self.chain).serve(query).await
    }

    /// The queries that came through since the last time.
    pub(crate) fn seen(&self) -> Vec<Query> {
        std::mem::take(&mut self.behind.seen.lock())
    }

    /// The query, as one that came to a server which runs this chain for all names.
    pub(crate) fn at_home(&self, query: Query) -> Query {
        let mut query = query;
        query.upward.routes = routes(vec![Block {
            zone: vec![0],
            chain: Arc::clone(&self.chain),
            short: None,
            series: None,
            errors: None,
            log: None,
            taps: Taps::default(),
            payload: None,
            panics: Arc::default(),
            labels: Arc::default(),
            metadata: None,
            view: None,
        }]);
        query
    }
}

/// A question over UDP from 127.0.0.1, without EDNS, RD set.
pub(crate) fn query(name: &str, rtype: RecordType) -> Query {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Question::query(Name::from_ascii(name).expect("a name"), rtype));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
    Query {
        message: Arc::new(message),
        size: 0,
        origin: Origin {
            client: any,
            local: any,
            transport: Transport::Udp,
            received: Instant::now(),
            parent: None,
        },
        upward: Upward { routes: routes(Vec::new()), depth: 0 },
        metadata: Metadata::default(),
        labels: Arc::new(Labels { server: "dns://:53".to_owned(), ..Labels::default() }),
        span: Current::default(),
    }
}

/// The query, from another client.
pub(crate) fn from(mut query: Query, client: &str) -> Query {
    query.origin.client = SocketAddr::new(client.parse().expect("an address"), 4711);
    query
}

fn routes(blocks: Vec<Block>) -> Arc<Routes> {
    let labels = Series {
        server: "dns://:53".to_owned(),
        zone: "dropped".to_owned(),
        view: String::new(),
        plugin: String::new(),
    };
    let dropped = Metrics::new("test").queries().series(&labels);
    Arc::new(Routes::new(blocks, dropped))
}
