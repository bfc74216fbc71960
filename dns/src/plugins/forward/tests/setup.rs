//! A chain of `forward`s from a Corefile, and queries for it.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use futures::future::BoxFuture;
use hickory_proto::{
    op::{Edns, Message, Query as Question, ResponseCode},
    rr::{Name, RecordType},
};

use crate::{
    corefile::{check::Environment, load_text, source::Memory},
    metrics::{Metrics, Series},
    plugin::{Answer, Chain, Next, Origin, Outcome, Plugin, Query, Transport, Upward},
    plugins::metadata::Metadata,
    plugins::{PluginConfig, dnstap::Taps, forward::Forward, trace::span::Current},
    server::routes::Routes,
};

/// A chain whose last plugin answers NOTZONE.
pub(crate) struct Setup {
    pub(crate) chain: Chain,
    pub(crate) forwards: Vec<Arc<Forward>>,
    pub(crate) metrics: Arc<Metrics>,
    routes: Arc<Routes>,
}

struct Last;

impl Plugin for Last {
    fn name(&self) -> &'static str {
        "last"
    }

    fn serve<'a>(&'a self, query: &'a Query, _: Next<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async { Ok(Answer::with_code(query, ResponseCode::NotZone)) })
    }
}

impl Setup {
    /// The directives of one server block.
    pub(crate) async fn new(directives: &str) -> Self {
        let reader = Memory::default();
        let environment = Environment { reader: &reader, default_port: 53, extensions: &[] };
        let text = format!(". {{\n{directives}\n}}\n");
        let checked = load_text("test", text, &environment).expect("a good Corefile");
        let configs: Vec<_> = checked.servers[0]
            .plugins
            .iter()
            .filter_map(|plugin| match plugin {
                PluginConfig::Forward(config) => Some(config),
                _ => None,
            })
            .collect();
        let metrics = Arc::new(Metrics::new("test"));
        let mut forwards = Vec::new();
        for (number, config) in configs.iter().enumerate() {
            let followed = number + 1 < configs.len();
            forwards.push(
                Forward::start(config, &metrics.forward, followed, Taps::default()).await.unwrap(),
            );
        }
        let mut chain: Vec<Arc<dyn Plugin>> = Vec::new();
        chain.extend(forwards.iter().map(|forward| Arc::clone(forward) as Arc<dyn Plugin>));
        chain.push(Arc::new(Last));
        let dropped = metrics.queries().series(&Series {
            server: String::new(),
            zone: String::new(),
            view: String::new(),
            plugin: String::new(),
        });
        let routes = Arc::new(Routes::new(Vec::new(), dropped));
        Setup { chain: chain.into(), forwards, metrics, routes }
    }

    /// Asks over UDP.
    pub(crate) async fn ask(&self, name: &str) -> Outcome {
        self.ask_over(name, Transport::Udp).await
    }

    pub(crate) async fn ask_over(&self, name: &str, transport: Transport) -> Outcome {
        self.ask_for(name, RecordType::A, transport).await
    }

    pub(crate) async fn ask_for(
        &self,
        name: &str,
        rtype: RecordType,
        transport: Transport,
    ) -> Outcome {
        let query = self.query(name, rtype, transport);
        Next::all(&self.chain).serve(&query).await
    }

    /// Asks for a client with this address.
    pub(crate) async fn ask_from(&self, client: SocketAddr, name: &str) -> Outcome {
        let mut query = self.query(name, RecordType::A, Transport::Udp);
        query.origin.client = client;
        Next::all(&self.chain).serve(&query).await
    }

    /// The code of the reply, or of the failure.
    pub(crate) async fn code(&self, name: &str) -> ResponseCode {
        self.ask(name).await.map_or_else(|failure| failure.code, |answer| answer.code())
    }

    fn query(&self, name: &str, rtype: RecordType, transport: Transport) -> Query {
        let mut message = Message::query();
        message.add_query(Question::query(Name::from_ascii(name).unwrap(), rtype));
        message.edns = Some(Edns::new());
        let client: SocketAddr = "10.0.0.1:1234".parse().unwrap();
        let origin =
            Origin { client, local: client, transport, received: Instant::now(), parent: None };
        let upward = Upward { routes: Arc::clone(&self.routes), depth: 0 };
        let (metadata, labels) = (Metadata::default(), Arc::default());
        Query {
            message: Arc::new(message),
            size: 40,
            origin,
            upward,
            metadata,
            labels,
            span: Current::default(),
        }
    }
}
