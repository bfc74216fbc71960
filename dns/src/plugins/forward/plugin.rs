//! The `forward` plugin: which queries are for its upstreams, and what becomes of their replies.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::future::BoxFuture;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::Name,
};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::{
    attempts::{self, Bounds, MANY, Upstreams},
    config::{Config, Policy, Protocol},
    failure::{AskError, LEADS_BACK, NO_REACHABLE_AUTHORITY},
    health::State,
    latency::Budget,
    message::Outgoing,
    policy::{Order, Turns},
    remote::{Dial, Remote, Settings, Way},
    resolve::{self, ResolveError, message_name},
    secure, stream,
    tls::{self, TlsError},
    upstream, witness,
};
use crate::{
    metrics::ForwardMetrics,
    plugin::{Answer, Carrier, Failure, FailureReason, Next, Outcome, Plugin, Query},
    plugins::dnstap::Taps,
    server::admission::Admission,
};

/// Queries under way where `max_concurrent` sets no bound.
const ROOM: usize = 4096;
/// Time between looks for sockets that are idle for too long; never less.
const TIDY: Duration = Duration::from_secs(1);

/// One `forward`.
pub struct Forward {
    from: Name,
    except: Vec<Name>,
    remotes: Vec<Arc<Remote>>,
    turns: Turns,
    protocol: Protocol,
    bounds: Bounds,
    budget: Budget,
    limit: Arc<Admission>,
    rejected: Arc<str>,
    fail_fast: bool,
    /// Codes, and whether no data, go to the next plugin. It is another `forward`.
    next: Vec<u16>,
    next_on_nodata: bool,
    failover: Vec<u16>,
    metrics: Arc<ForwardMetrics>,
    taps: Taps,
    _tidying: AbortOnDropHandle<()>,
}

/// Why a `forward` can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An upstream that can't be found.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Forward {
    /// Makes ready to ask the upstreams of `config`. `followed` says that the next plugin is a
    /// `forward` too: only then do `next` and `next_on_nodata` mean anything, as in CoreDNS. `taps` are
    /// told of what is asked. Must run on the server's runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: &Config,
        metrics: &Arc<ForwardMetrics>,
        followed: bool,
        taps: Taps,
    ) -> Result<Arc<Self>, StartError> {
        let remotes = remotes(config, metrics).await?;
        let most = config.max_concurrent.map_or(ROOM, |most| most as usize);
        let attempts = match config.connections.max_attempts {
            None => 2 * remotes.len(),
            Some(0) => MANY,
            Some(most) => most as usize,
        };
        // In a fixed order the second upstream stands in for a first that failed. It may know other
        // names, so it must not win a race.
        let hedge =
            (config.policy != Policy::Sequential).then_some(config.connections.read_timeout / 4);
        Ok(Arc::new(Forward {
            from: message_name(&config.from),
            except: config.except.iter().map(message_name).collect(),
            turns: Turns::new(config.policy),
            protocol: config.protocol,
            bounds: Bounds { attempts, hedge },
            budget: Budget::default(),
            limit: Admission::open(most),
            rejected: format!("concurrent queries exceeded maximum {most}").into(),
            fail_fast: config.health.fail_fast,
            next: if followed { config.next.clone() } else { Vec::new() },
            next_on_nodata: followed && config.next_on_nodata,
            failover: config.failover.clone(),
            metrics: Arc::clone(metrics),
            taps,
            _tidying: tidying(&remotes, config.connections.expire),
            remotes,
        }))
    }

    /// The upstreams.
    pub fn remotes(&self) -> &[Arc<Remote>] {
        &self.remotes
    }

    /// The zone that is forwarded.
    pub fn from(&self) -> &Name {
        &self.from
    }

    /// Whether this `forward` is for `name`.
    pub fn takes(&self, name: &Name) -> bool {
        if !self.from.is_root() && !self.from.zone_of(name) {
            return false;
        }
        // The zone itself can't be excepted, as in CoreDNS.
        *name == self.from || !self.except.iter().any(|zone| zone.zone_of(name))
    }

    /// How upstreams are asked for a client that came over `client`.
    pub fn way(&self, client: Carrier) -> Way {
        match self.protocol {
            Protocol::Client => Way::Over(client),
            Protocol::Tcp => Way::Over(Carrier::Tcp),
            Protocol::Udp => Way::UdpThenTcp,
        }
    }

    async fn forward(&self, query: &Query, next: Next<'_>) -> Outcome {
        let Some(_place) = self.limit.admit(query.origin.client.ip()) else {
            self.metrics.rejects.inc();
            let reason = FailureReason::Overload(Arc::clone(&self.rejected));
            return Err(Failure::with_code("forward", ResponseCode::Refused, reason));
        };
        let Ok(outgoing) = Outgoing::new(&query.message) else {
            let what = "the query can't be encoded".to_owned();
            let reason = FailureReason::Upstream { to: self.names(), what, ede: 0 };
            return Err(Failure::with_code("forward", ResponseCode::FormErr, reason));
        };
        let reply = self.ask(Arc::new(outgoing), query).await?;
        let no_data =
            reply.metadata.response_code == ResponseCode::NoError && reply.answers.is_empty();
        if self.next.contains(&reply.metadata.response_code.into())
            || (self.next_on_nodata && no_data)
        {
            return next.serve(query).await;
        }
        Ok(Answer::relayed(reply))
    }

    async fn ask(&self, outgoing: Arc<Outgoing>, query: &Query) -> Result<Message, Failure> {
        let way = self.way(query.origin.transport.carrier());
        let states: Vec<_> = self.remotes.iter().map(|remote| remote.health.state()).collect();
        let (order, bounds) = match self.turns.order(&states) {
            Order::These(order) => (order, self.bounds),
            Order::AllDown(one) => {
                self.metrics.all_down.inc();
                if self.fail_fast {
                    return Err(self.unreachable("no healthy proxies"));
                }
                (vec![one], Bounds { attempts: 1, ..self.bounds })
            }
            Order::Nobody => return Err(self.unreachable(LEADS_BACK)),
        };
        self.budget.earn();
        let asking = Asking { forward: self, query, outgoing: &outgoing, way };
        attempts::run(&order, bounds, &asking).await.map_err(|given_up| {
            let remote = &self.remotes[given_up.upstream];
            if remote.health.state() == State::Cut {
                return self.unreachable(LEADS_BACK);
            }
            let reason = FailureReason::Upstream {
                to: remote.to.clone(),
                what: given_up.error.to_string(),
                ede: given_up.error.extended(),
            };
            Failure::new("forward", reason)
        })
    }

    fn unreachable(&self, what: &str) -> Failure {
        let reason = FailureReason::Upstream {
            to: self.names(),
            what: what.to_owned(),
            ede: NO_REACHABLE_AUTHORITY,
        };
        Failure::new("forward", reason)
    }

    fn names(&self) -> String {
        let all: Vec<&str> = self.remotes.iter().map(|remote| &*remote.to).collect();
        all.join(", ")
    }
}

/// A query for the upstreams.
struct Asking<'a> {
    forward: &'a Forward,
    query: &'a Query,
    outgoing: &'a Arc<Outgoing>,
    way: Way,
}

impl Upstreams for Asking<'_> {
    type Reply = Message;

    fn ask(&self, upstream: usize) -> impl Future<Output = Result<Message, AskError>> + Send {
        let remote = &self.forward.remotes[upstream];
        self.query.metadata.set("forward/upstream", || remote.to.clone());
        witness::ask(remote, self.query, self.outgoing, self.way, &self.forward.taps)
    }

    fn pass_over(&self, reply: &Message) -> bool {
        let failover = &self.forward.failover;
        !failover.is_empty() && failover.contains(&reply.metadata.response_code.into())
    }

    fn late_after(&self, upstream: usize) -> Option<Duration> {
        self.forward.remotes[upstream].latency.late_after()
    }

    fn may_hurry(&self) -> bool {
        self.forward.budget.spend()
    }
}

impl Plugin for Forward {
    fn name(&self) -> &'static str {
        "forward"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match self.takes(query.name()) {
                true => self.forward(query, next).await,
                false => next.serve(query).await,
            }
        })
    }
}

async fn remotes(
    config: &Config,
    metrics: &Arc<ForwardMetrics>,
) -> Result<Vec<Arc<Remote>>, StartError> {
    let found = resolve::upstreams(config).await?;
    let client = match found.iter().any(|(_, transport)| *transport != upstream::Transport::Dns) {
        true => Some(tls::client(&config.tls)?),
        false => None,
    };
    let settings = Settings {
        connections: config.connections,
        health: config.health.clone(),
        check_over: match config.protocol {
            Protocol::Tcp => Carrier::Tcp,
            Protocol::Client | Protocol::Udp => Carrier::Udp,
        },
        check_name: message_name(&config.health.domain),
        metrics: Arc::clone(metrics),
    };
    let remote = |(address, transport): (SocketAddr, upstream::Transport)| {
        let dial = match (transport, &client) {
            (upstream::Transport::Secure { over, server_name }, Some(client)) => {
                let name = server_name.or_else(|| config.tls.server_name.clone());
                secure::dial(address, over, name, client, config)?
            }
            _ => {
                let settings = config.connections;
                Dial::Plain(stream::Dial { upstream: address, tls: None, settings })
            }
        };
        Ok(Remote::new(address, dial, settings.clone()))
    };
    found.into_iter().map(remote).collect()
}

fn tidying(remotes: &[Arc<Remote>], expire: Duration) -> AbortOnDropHandle<()> {
    let remotes: Vec<Weak<Remote>> = remotes.iter().map(Arc::downgrade).collect();
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            sleep(expire.max(TIDY)).await;
            for remote in remotes.iter().filter_map(Weak::upgrade) {
                remote.tidy();
            }
        }
    }))
}
