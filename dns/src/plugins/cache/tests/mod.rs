//! The cache in a chain before an upstream that says what the test wants, by a clock it moves.

mod bounds;
mod keeping;
mod own;
mod renewal;
mod ways;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CNAME, SOA},
    },
};
use parking_lot::Mutex;

use super::{
    Cache,
    config::Config,
    counts::{Counts, Labels, Side},
    moment::Moment,
};
use crate::{
    corefile::{self, check::Environment, source::Memory},
    metrics::{Metrics, Series},
    plugin::{
        Answer, Chain, Failure, FailureReason, Next, Origin, Outcome, Plugin, Query, Transport,
        Upward,
    },
    plugins::{PluginConfig, kubernetes::wire::Asked, metadata::Metadata, trace::span::Current},
    server::{
        routes::Routes,
        short::{AnswerShort, Short},
    },
    wire::{
        name::FoldedName,
        query::{self, Shape},
    },
};

type Says = Box<dyn Fn(&Query) -> Outcome + Send + Sync>;

/// The rest of the chain.
pub(super) struct Upstream {
    says: Mutex<Says>,
    asked: AtomicUsize,
    /// Taken by whoever asks: a test may hold it.
    pub(super) gate: tokio::sync::Mutex<()>,
}

impl Plugin for Upstream {
    fn name(&self) -> &'static str {
        "upstream"
    }

    fn serve<'a>(&'a self, query: &'a Query, _next: Next<'a>) -> BoxFuture<'a, Outcome> {
        async move {
            self.asked.fetch_add(1, SeqCst);
            drop(self.gate.lock().await);
            (self.says.lock())(query)
        }
        .boxed()
    }
}

/// A cache, an upstream, a clock.
pub(super) struct Rig {
    pub(super) cache: Cache,
    pub(super) upstream: Arc<Upstream>,
    pub(super) counts: Arc<Counts>,
    now: Arc<AtomicU64>,
    chain: Chain,
    routes: Arc<Routes>,
}

impl Rig {
    /// A cache with these settings, as a Corefile has them (`30 {; prefetch 2 ;}`).
    pub(super) fn new(settings: &str) -> Self {
        let now = Arc::new(AtomicU64::new(1_000_000));
        let counts = Arc::new(Counts::default());
        let clock = Arc::clone(&now);
        let cache = Cache::with_clock(
            &config(settings),
            Arc::clone(&counts),
            Arc::new(move || Moment(clock.load(SeqCst))),
        );
        let upstream = Arc::new(Upstream {
            says: Mutex::new(Box::new(|_| Err(Failure::new("upstream", FailureReason::Refused)))),
            asked: AtomicUsize::new(0),
            gate: tokio::sync::Mutex::new(()),
        });
        let chain: Chain =
            vec![Arc::new(cache.clone()) as Arc<dyn Plugin>, Arc::clone(&upstream) as _].into();
        let series = Series {
            server: String::new(),
            zone: String::new(),
            view: String::new(),
            plugin: String::new(),
        };
        let dropped = Metrics::new("test").queries().series(&series);
        let routes = Arc::new(Routes::new(Vec::new(), dropped));
        Rig { cache, upstream, counts, now, chain, routes }
    }

    /// From now on upstream gives replies with what `fill` puts in.
    pub(super) fn upstream_gives(&self, fill: impl Fn(&mut Message) + Send + Sync + 'static) {
        *self.upstream.says.lock() = Box::new(move |query| {
            let mut message = Answer::to(query).message;
            fill(&mut message);
            Ok(Answer::relayed(message))
        });
    }

    /// From now on upstream does this.
    pub(super) fn upstream_does(&self, says: impl Fn(&Query) -> Outcome + Send + Sync + 'static) {
        *self.upstream.says.lock() = Box::new(says);
    }

    /// From now on upstream can't be reached.
    pub(super) fn upstream_fails(&self) {
        self.upstream_does(|_| {
            let reason = FailureReason::Upstream {
                to: "192.0.2.1:53".into(),
                what: "timeout".into(),
                ede: 23,
            };
            Err(Failure::new("forward", reason))
        });
    }

    /// How often upstream was asked since the last time.
    pub(super) fn asked(&self) -> usize {
        self.upstream.asked.swap(0, SeqCst)
    }

    /// Moves the clock.
    pub(super) fn wait(&self, duration: Duration) {
        self.now.fetch_add(duration.as_millis() as u64, SeqCst);
    }

    /// A question as a client sends it.
    pub(super) fn query(&self, message: &Message) -> Query {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        Query {
            message: Arc::new(message.clone()),
            size: 0,
            origin: Origin {
                client: any,
                local: any,
                transport: Transport::Udp,
                received: Instant::now(),
                parent: None,
            },
            upward: Upward { routes: Arc::clone(&self.routes), depth: 0 },
            metadata: Metadata::default(),
            labels: Arc::default(),
            span: Current::default(),
        }
    }

    /// Asks on the long way.
    pub(super) async fn long(&self, message: &Message) -> Outcome {
        Next::all(&self.chain).serve(&self.query(message)).await
    }

    /// Asks on the long way, in a test that is not asynchronous.
    pub(super) fn ask(&self, message: &Message) -> Message {
        block_on(self.long(message)).expect("a reply").message
    }

    /// Asks on the short way; gives the decoded reply as well.
    pub(super) fn short(&self, message: &Message, rotation: u32) -> (Short, Option<Message>) {
        let request = message.to_vec().expect("a query");
        let mut name = FoldedName::default();
        let Shape::Plain(plain) = query::read(&request, &mut name) else { panic!("not plain") };
        let mut out = vec![0; 65_535];
        let limit = plain.udp_limit();
        let asked = Asked {
            message: &request,
            plain: &plain,
            name: &name,
            limit,
            renamed: false,
            rotation,
        };
        let short = self.cache.answer(&mut out, &asked);
        let reply = match short {
            Short::Answered(written) | Short::AnsweredRefresh(written) => {
                assert!(written.len <= limit);
                Some(Message::from_vec(&out[..written.len]).expect("a message"))
            }
            Short::Long => None,
        };
        (short, reply)
    }
}

/// Runs what needs no other task.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

pub(super) fn config(settings: &str) -> Config {
    let machine = Memory::default();
    let environment = Environment { reader: &machine, default_port: 53, extensions: &[] };
    let text = format!(". {{\n    cache {}\n}}\n", settings.replace(';', "\n"));
    let checked = corefile::load_text("test", text, &environment).expect("a Corefile");
    let plugin = checked.servers[0].plugins.iter().find_map(|plugin| match plugin {
        PluginConfig::Cache(config) => Some(Config::clone(config)),
        _ => None,
    });
    plugin.expect("a cache")
}

pub(super) fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// A question with RD set.
pub(super) fn question(text: &str, rtype: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Question::query(name(text), rtype));
    message
}

/// A question with EDNS, DO set.
pub(super) fn dnssec(mut message: Message) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(1232).set_dnssec_ok(true);
    message.edns = Some(edns);
    message
}

pub(super) fn a(owner: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A(Ipv4Addr::new(192, 0, 2, last))))
}

pub(super) fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

pub(super) fn soa(ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(name("ns.example.org."), name("root.example.org."), 1, 2, 3, 4, minimum);
    Record::from_rdata(name("example.org."), ttl, RData::SOA(soa))
}

pub(super) fn nxdomain(message: &mut Message) {
    message.metadata.response_code = ResponseCode::NXDomain;
    message.authorities.push(soa(60, 60));
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
