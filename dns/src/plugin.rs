//! The plugin chain of the long way: what a plugin is given, what it gives back, and how it hands on.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use futures::future::BoxFuture;
use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{DNSClass, Name, Record, RecordType},
};

use crate::{
    plugins::{
        metadata::Metadata,
        trace::span::{Current, Parent},
    },
    server::routes::Routes,
    wire::{MAX_MESSAGE, MIN_UDP},
};

/// How a query came in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// Plain UDP.
    Udp,
    /// Plain TCP.
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484), on HTTP/1.1 or HTTP/2.
    Https,
    /// DNS over HTTPS on HTTP/3.
    Https3,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

/// What carries a transport: CoreDNS tells no more in metrics, logs and rules.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Carrier {
    /// UDP, also below QUIC.
    Udp,
    /// TCP.
    Tcp,
}

impl Transport {
    /// What is below it.
    pub const fn carrier(self) -> Carrier {
        match self {
            Transport::Udp | Transport::Https3 | Transport::Quic => Carrier::Udp,
            Transport::Tcp | Transport::Tls | Transport::Https => Carrier::Tcp,
        }
    }

    /// `udp` or `tcp`, as metrics and logs have it.
    pub fn label(self) -> &'static str {
        match self.carrier() {
            Carrier::Udp => "udp",
            Carrier::Tcp => "tcp",
        }
    }
}

/// Where a query came from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The client.
    pub client: SocketAddr,
    /// The address that was asked.
    pub local: SocketAddr,
    /// Over which transport.
    pub transport: Transport,
    /// When it was read from the socket.
    pub received: Instant,
    /// The client's span that it belongs to, for `trace`.
    pub parent: Option<Parent>,
}

/// A query on the long way.
#[derive(Clone)]
pub struct Query {
    /// The request, decoded. It has exactly one question.
    pub message: Arc<Message>,
    /// Octets of the request.
    pub size: usize,
    /// Where it came from.
    pub origin: Origin,
    /// The server it came to: for plugins that have to ask it something themselves.
    pub upward: Upward,
    /// What plugins of its block know about it, if the block has `metadata`.
    pub metadata: Metadata,
    /// What metrics say of the block that it came to.
    pub labels: Arc<Labels>,
    /// The span that it is in, for `trace`.
    pub span: Current,
}

/// What metrics say of a server block, on one address for one zone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Labels {
    /// `server`, such as `dns://:53`.
    pub server: String,
    /// `zone`, with its last dot.
    pub zone: String,
    /// `view`; empty without one.
    pub view: String,
}

/// Lets a plugin put a question to the server that runs it, through all of its blocks.
#[derive(Clone)]
pub struct Upward {
    pub(crate) routes: Arc<Routes>,
    /// Questions nested so far: a plugin that asks upward may be asked itself.
    pub(crate) depth: u8,
}

/// Most questions nested within a question.
pub const MAX_DEPTH: u8 = 8;

impl Query {
    /// The question's name, in the client's case.
    pub fn name(&self) -> &Name {
        &self.message.queries[0].name
    }

    /// The question's type.
    pub fn rtype(&self) -> RecordType {
        self.message.queries[0].query_type
    }

    /// The question's class.
    pub fn class(&self) -> DNSClass {
        self.message.queries[0].query_class
    }

    /// Whether the client set the DO bit (RFC 3225).
    pub fn dnssec_ok(&self) -> bool {
        self.message.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok)
    }

    /// The client's UDP payload size as sent, 512 without EDNS.
    pub fn payload_size(&self) -> u16 {
        self.message.edns.as_ref().map_or(512, hickory_proto::op::Edns::max_payload)
    }

    /// Most octets of the reply: what the client can take in a datagram (at least 512), 65,535 over
    /// everything else.
    pub fn size_limit(&self) -> usize {
        match self.origin.transport {
            Transport::Udp => usize::from(self.payload_size()).max(MIN_UDP),
            _ => MAX_MESSAGE,
        }
    }

    /// The same query, asking for another name or type.
    #[must_use]
    pub fn with_question(&self, name: Name, rtype: RecordType) -> Query {
        let mut message = Message::clone(&self.message);
        message.queries[0].name = name;
        message.queries[0].query_type = rtype;
        Query { message: Arc::new(message), ..self.clone() }
    }

    /// Puts this query to the whole server, as a question nested in another.
    ///
    /// # Errors
    /// What the chain failed with, or [`FailureReason::TooDeep`].
    pub async fn ask_server(&self) -> Outcome {
        let mut nested = self.clone();
        nested.upward.depth += 1;
        if nested.upward.depth > MAX_DEPTH {
            return Err(Failure::new("server", FailureReason::TooDeep));
        }
        let routes = Arc::clone(&self.upward.routes);
        Box::pin(async move { routes.resolve(&nested).await }).await
    }
}

/// A reply on its way back through the chain. The server sets id, question, and OPT.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The reply.
    pub message: Message,
    /// Records that follow as many as they are, over several messages: a zone transfer (RFC 5936).
    /// `message` has none of its own then. Only for a client on a stream.
    pub transfer: Option<Transfer>,
    /// Made by this server from what it knows now. A cache does not keep it: the next answer may
    /// be another.
    pub local: bool,
}

impl Answer {
    /// An empty reply to `query`, to be filled here: RD and CD copied, NOERROR.
    pub fn to(query: &Query) -> Self {
        let request = &query.message.metadata;
        let mut message = Message::new(request.id, MessageType::Response, request.op_code);
        message.queries = query.message.queries.clone();
        if request.op_code == OpCode::Query {
            message.metadata.recursion_desired = request.recursion_desired;
            message.metadata.checking_disabled = request.checking_disabled;
        }
        Answer { message, transfer: None, local: true }
    }

    /// A reply that was made elsewhere, or has been kept since.
    pub fn relayed(message: Message) -> Self {
        Answer { message, transfer: None, local: false }
    }

    /// An empty reply with this code.
    pub fn with_code(query: &Query, code: ResponseCode) -> Self {
        let mut answer = Answer::to(query);
        answer.message.metadata.response_code = code;
        answer
    }

    /// The reply's code.
    pub fn code(&self) -> ResponseCode {
        self.message.metadata.response_code
    }

    /// Every record of the reply, OPT not included.
    pub fn records_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        let message = &mut self.message;
        message.answers.iter_mut().chain(&mut message.authorities).chain(&mut message.additionals)
    }
}

/// The records of a zone, made one after the other as the client takes them.
#[derive(Clone)]
pub struct Transfer(pub Arc<dyn Fn() -> ZoneRecords + Send + Sync>);

/// Records in the order in which they are sent.
pub type ZoneRecords = Box<dyn Iterator<Item = Record> + Send>;

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transfer")
    }
}

/// Why a chain gave no reply. The server answers with [`Failure::code`], the `errors` plugin logs it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The plugin that failed.
    pub plugin: &'static str,
    /// RCODE for the client.
    pub code: ResponseCode,
    /// What went wrong.
    pub reason: FailureReason,
}

/// What went wrong in a chain.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FailureReason {
    /// The last plugin handed on.
    #[error("no next plugin found")]
    NoNextPlugin,
    /// Too many questions nested.
    #[error("more than {MAX_DEPTH} questions nested in one")]
    TooDeep,
    /// A plugin panicked; the panic was logged where it was caught.
    #[error("a plugin panicked")]
    Panicked,
    /// Policy says that there is to be no reply at all; nothing went wrong. Nothing is sent.
    #[error("dropped")]
    Dropped,
    /// The time for a query was up.
    #[error("not answered within {0:?}")]
    Deadline(std::time::Duration),
    /// Policy says no; nothing went wrong. Not logged as an error.
    #[error("refused")]
    Refused,
    /// No upstream gave a usable reply.
    #[error("{to}: {what}")]
    Upstream {
        /// The last upstream tried.
        to: String,
        /// What happened.
        what: String,
        /// Extended DNS Error info-code for the client (RFC 8914).
        ede: u16,
    },
    /// A bound was hit.
    #[error("{0}")]
    Overload(Arc<str>),
    /// What a plugin made by its rules can't be used.
    #[error("{0}")]
    Unusable(Arc<str>),
}

impl Failure {
    /// SERVFAIL because of `reason`.
    pub fn new(plugin: &'static str, reason: FailureReason) -> Self {
        Failure { plugin, code: ResponseCode::ServFail, reason }
    }

    /// A failure with another code than SERVFAIL.
    pub fn with_code(plugin: &'static str, code: ResponseCode, reason: FailureReason) -> Self {
        Failure { plugin, code, reason }
    }
}

/// What a chain gives back.
pub type Outcome = Result<Answer, Failure>;

/// A plugin: answers a query or hands it on.
pub trait Plugin: Send + Sync {
    /// The plugin's name in the Corefile.
    fn name(&self) -> &'static str;

    /// Whether the plugin understands questions of this class. One that knows records of class IN
    /// alone is passed over for others.
    fn knows(&self, _class: DNSClass) -> bool {
        true
    }

    /// Answers `query`, or hands it on. `next` is taken by value: handing on twice does not compile.
    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome>;
}

/// Plugins in the order of execution.
pub type Chain = Arc<[Arc<dyn Plugin>]>;

/// The rest of the chain.
pub struct Next<'a> {
    chain: &'a Chain,
    at: usize,
}

/// The rest of the chain, kept beyond the query: for work behind the client's back (a prefetch).
#[derive(Clone)]
pub struct Rest {
    chain: Chain,
    at: usize,
}

impl<'a> Next<'a> {
    /// The whole chain.
    pub fn all(chain: &'a Chain) -> Self {
        Next { chain, at: 0 }
    }

    /// Hands `query` on.
    ///
    /// # Errors
    /// What the rest of the chain fails with; [`FailureReason::NoNextPlugin`] at its end.
    pub async fn serve(self, query: &Query) -> Outcome {
        let mut rest = self.chain.iter().enumerate().skip(self.at);
        match rest.find(|(_, plugin)| plugin.knows(query.class())) {
            Some((at, plugin)) => {
                let next = Next { chain: self.chain, at: at + 1 };
                match query.span.child(plugin.name()) {
                    None => plugin.serve(query, next).await,
                    Some(open) => {
                        let query = Query { span: open.current(), ..query.clone() };
                        plugin.serve(&query, next).await
                    }
                }
            }
            None => Err(Failure::new("server", FailureReason::NoNextPlugin)),
        }
    }

    /// The rest of the chain, to be run later.
    pub fn rest(&self) -> Rest {
        Rest { chain: Arc::clone(self.chain), at: self.at }
    }
}

impl Rest {
    /// Runs the rest of the chain.
    ///
    /// # Errors
    /// As [`Next::serve`].
    pub async fn serve(&self, query: &Query) -> Outcome {
        Next { chain: &self.chain, at: self.at }.serve(query).await
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} from {}", self.name(), self.rtype(), self.origin.client)
    }
}

/// Family label of an address in CoreDNS's metrics: `1` for IPv4, `2` for IPv6.
pub fn family(address: IpAddr) -> usize {
    match address.to_canonical() {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => 1,
    }
}
