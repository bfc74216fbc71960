//! `forward FROM TO...`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::rcode;
use super::upstream::{self, Transport, Upstream};
use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::{Line, Token};

/// Most TO arguments of one directive.
pub const MAX_UPSTREAMS: usize = 15;

const PROPERTIES: &[&str] = &[
    "except",
    "force_tcp",
    "prefer_udp",
    "expire",
    "max_age",
    "max_idle_conns",
    "read_timeout",
    "max_fails",
    "max_connect_attempts",
    "doh_method",
    "tls",
    "tls_servername",
    "policy",
    "health_check",
    "max_concurrent",
    "next",
    "next_on_nodata",
    "failfast_all_unhealthy_upstreams",
    "failover",
    "source_address",
    "resolver",
];

/// The settings of one `forward`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Names in this are forwarded.
    pub from: Domain,
    /// Names in these are not.
    pub except: Vec<Domain>,
    /// At least one, no two alike; those of a file in its place.
    pub upstreams: Vec<Upstream>,
    /// In which order they are tried.
    pub policy: Policy,
    /// Which protocol plain upstreams are asked by.
    pub protocol: Protocol,
    /// How encrypted upstreams are trusted.
    pub tls: Tls,
    /// How messages go to upstreams over HTTPS.
    pub doh_method: DohMethod,
    /// Connections, and the bounds on them.
    pub connections: Connections,
    /// When an upstream counts as down.
    pub health: Health,
    /// Most queries under way; `None` is the server's own bound. What is above it gets REFUSED.
    pub max_concurrent: Option<u32>,
    /// A reply with one of these codes goes to the next plugin.
    pub next: Vec<u16>,
    /// So does one without data.
    pub next_on_nodata: bool,
    /// A reply with one of these codes goes to the next upstream.
    pub failover: Vec<u16>,
    /// Who is asked for upstreams' names; the machine's resolver if empty.
    pub resolvers: Vec<SocketAddr>,
}

/// In which order upstreams are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Any.
    Random,
    /// One after the other.
    RoundRobin,
    /// Always from the first.
    Sequential,
}

/// Which protocol a plain upstream is asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The client's.
    Client,
    /// TCP.
    Tcp,
    /// UDP, then TCP if the reply was cut.
    Udp,
}

/// Where a request of DNS over HTTPS has its message (RFC 8484 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DohMethod {
    /// In its URI: caches on the way can answer it.
    Get,
    /// In its body.
    Post,
}

/// How encrypted upstreams are trusted. Files are read when the server starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Our certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The authorities to trust; the machine's if `None`.
    pub ca: Option<PathBuf>,
    /// The name that certificates must have.
    pub server_name: Option<Arc<str>>,
}

/// Connections to upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// An idle one is closed after this.
    pub expire: Duration,
    /// Any is closed after this; 0 never. Not less than `expire`.
    pub max_age: Duration,
    /// Most idle ones for each upstream; 0 for no limit.
    pub max_idle: u32,
    /// How long a reply is waited for; above 0.
    pub read_timeout: Duration,
    /// Most attempts to connect for one query; `None` is twice the number of upstreams, 0 for no limit.
    pub max_attempts: Option<u32>,
    /// The address to ask from.
    pub source: Option<IpAddr>,
}

/// When an upstream counts as down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Failed checks in a row that make it down; 0 never does.
    pub max_fails: u32,
    /// Time between checks of an upstream that failed; 0 makes none.
    pub interval: Duration,
    /// Whether checks ask for recursion.
    pub recursion: bool,
    /// The name that checks ask for.
    pub domain: Domain,
    /// With all of them down, queries fail at once.
    pub fail_fast: bool,
}

/// Reads one directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let [from, to @ ..] = cx.args(line, 2..=usize::MAX, "a zone and one or more upstreams")? else {
        return None;
    };
    let mut config = defaults(zone(from, cx)?);
    for property in cx.properties(line) {
        set(&mut config, property, cx);
    }
    if !config.connections.max_age.is_zero()
        && config.connections.max_age < config.connections.expire
    {
        cx.mistake(line.span(), Cause::Conflict("`max_age` must not be less than `expire`"));
    }
    if let Some(surplus) = to.get(MAX_UPSTREAMS) {
        let span = surplus.span.to(line.span());
        let want = format!("at most {MAX_UPSTREAMS} upstreams");
        cx.mistake(span, Cause::Arguments { name: "forward".to_owned(), want, found: to.len() });
        return None;
    }
    upstreams(&mut config, to, cx)?;
    Some(config)
}

fn defaults(from: Domain) -> Config {
    Config {
        from,
        except: Vec::new(),
        upstreams: Vec::new(),
        policy: Policy::Random,
        protocol: Protocol::Client,
        tls: Tls::default(),
        doh_method: DohMethod::Post,
        connections: Connections {
            expire: Duration::from_secs(10),
            max_age: Duration::ZERO,
            max_idle: 0,
            read_timeout: Duration::from_secs(2),
            max_attempts: None,
            source: None,
        },
        health: Health {
            max_fails: 2,
            interval: Duration::from_millis(500),
            recursion: true,
            domain: Domain::root(),
            fail_fast: false,
        },
        max_concurrent: None,
        next: Vec::new(),
        next_on_nodata: false,
        failover: Vec::new(),
        resolvers: Vec::new(),
    }
}

/// FROM; of a network that is several zones only the first is used, as in CoreDNS.
fn zone(token: &Token, cx: &mut Checker<'_>) -> Option<Domain> {
    let zones = cx.zone_list(std::slice::from_ref(token));
    if zones.len() > 1 {
        cx.warn(
            token.span,
            "this network is several zones, and only the first of them is forwarded",
        );
    }
    zones.into_iter().next()
}

fn upstreams(config: &mut Config, to: &[Token], cx: &mut Checker<'_>) -> Option<()> {
    let mut good = true;
    for token in to {
        let Some(found) = upstream::parse(token, cx) else {
            good = false;
            continue;
        };
        for upstream in found {
            let named =
                matches!(&upstream.transport, Transport::Secure { server_name: Some(_), .. });
            if named && config.tls.server_name.is_some() {
                let cause = Cause::Conflict(
                    "the TLS name is given by `tls_servername` and with the upstream",
                );
                cx.mistake_with(token.span, cause, "leave one of them out");
                good = false;
            }
            if !config.upstreams.contains(&upstream) {
                config.upstreams.push(upstream);
            }
        }
    }
    if good && config.upstreams.is_empty() {
        let span = to[0].span.to(to[to.len() - 1].span);
        cx.mistake(span, Cause::Conflict("there is no upstream: the files have no name server"));
        return None;
    }
    good.then_some(())
}

fn set(config: &mut Config, line: &Line, cx: &mut Checker<'_>) {
    match &*line.name().text {
        "except" => {
            let zones = cx.some(line, "one or more zones").unwrap_or_default();
            config.except.extend(cx.zone_list(zones));
        }
        "policy" => {
            let policies = [
                ("random", Policy::Random),
                ("round_robin", Policy::RoundRobin),
                ("sequential", Policy::Sequential),
            ];
            let token = cx.one(line, "one argument: random, round_robin or sequential");
            config.policy = token
                .and_then(|token| cx.choice(token, "a policy", &policies))
                .unwrap_or(config.policy);
        }
        // CoreDNS looks at force_tcp first.
        "force_tcp" if cx.none(line) => config.protocol = Protocol::Tcp,
        "prefer_udp" if cx.none(line) && config.protocol == Protocol::Client => {
            config.protocol = Protocol::Udp;
        }
        "force_tcp" | "prefer_udp" => {}
        "tls" | "tls_servername" => set_tls(&mut config.tls, line, cx),
        "max_fails" | "health_check" | "failfast_all_unhealthy_upstreams" => {
            set_health(&mut config.health, line, cx);
        }
        "max_concurrent" => {
            let number = cx.one(line, "one argument, a number");
            let most = number.and_then(|token| cx.integer(token, "max_concurrent", 0..=u32::MAX));
            config.max_concurrent = most.filter(|&most| most > 0);
        }
        "next" => config.next.extend(rcode::parse(line, cx)),
        "next_on_nodata" => config.next_on_nodata |= cx.none(line),
        "failover" => {
            let codes = rcode::parse(line, cx);
            if codes.contains(&0) {
                cx.mistake(
                    line.span(),
                    Cause::Conflict("NOERROR is no failure, `failover` cannot name it"),
                );
            }
            config.failover.extend(codes);
        }
        "doh_method" => {
            let methods = [("GET", DohMethod::Get), ("POST", DohMethod::Post)];
            let token = cx.one(line, "one argument, GET or POST");
            config.doh_method = token
                .and_then(|token| cx.choice(token, "a method", &methods))
                .unwrap_or(config.doh_method);
        }
        "resolver" => {
            let resolvers = cx.some(line, "one or more addresses").unwrap_or_default();
            config.resolvers =
                resolvers.iter().filter_map(|token| cx.socket_address(token)).collect();
        }
        _ => set_connections(&mut config.connections, line, cx),
    }
}

fn set_connections(config: &mut Connections, line: &Line, cx: &mut Checker<'_>) {
    const TIME: &str = "one argument, a duration";
    const NUMBER: &str = "one argument, a number";
    match &*line.name().text {
        "expire" => {
            let time = cx.one(line, TIME).and_then(|token| cx.duration(token, "expire"));
            config.expire = time.unwrap_or(config.expire);
        }
        "max_age" => {
            let time = cx.one(line, TIME).and_then(|token| cx.duration(token, "max_age"));
            config.max_age = time.unwrap_or(config.max_age);
        }
        "read_timeout" => {
            let time =
                cx.one(line, TIME).and_then(|token| cx.positive_duration(token, "read_timeout"));
            config.read_timeout = time.unwrap_or(config.read_timeout);
        }
        "max_idle_conns" => {
            let number = cx
                .one(line, NUMBER)
                .and_then(|token| cx.integer(token, "max_idle_conns", 0..=u32::MAX));
            config.max_idle = number.unwrap_or(config.max_idle);
        }
        "max_connect_attempts" => {
            let token = cx.one(line, NUMBER);
            config.max_attempts =
                token.and_then(|token| cx.integer(token, "max_connect_attempts", 0..=u32::MAX));
        }
        "source_address" => {
            config.source = cx.one(line, "one address").and_then(|token| cx.ip(token));
        }
        _ => cx.unknown(line, PROPERTIES),
    }
}

fn set_tls(tls: &mut Tls, line: &Line, cx: &mut Checker<'_>) {
    if &*line.name().text == "tls_servername" {
        tls.server_name = cx.one(line, "one argument, a name").map(|token| token.text.clone());
        return;
    }
    let args = cx.args(line, 0..=3, "a CA, a certificate and key, or a certificate, key and CA");
    let path = |token: &Token| cx.path(token);
    match args {
        None => {}
        Some([]) => (tls.certificate, tls.ca) = (None, None),
        Some([ca]) => (tls.certificate, tls.ca) = (None, Some(path(ca))),
        Some([certificate, key, ca @ ..]) => {
            (tls.certificate, tls.ca) =
                (Some((path(certificate), path(key))), ca.first().map(path));
        }
    }
}

fn set_health(health: &mut Health, line: &Line, cx: &mut Checker<'_>) {
    match &*line.name().text {
        "max_fails" => {
            let number = cx.one(line, "one argument, a number");
            let fails = number.and_then(|token| cx.integer(token, "max_fails", 0..=u32::MAX));
            health.max_fails = fails.unwrap_or(health.max_fails);
        }
        "health_check" => {
            let Some([time, options @ ..]) =
                cx.some(line, "a duration, and perhaps no_rec and domain NAME")
            else {
                return;
            };
            health.interval = cx.duration(time, "health_check").unwrap_or(health.interval);
            health.domain = Domain::root();
            let mut options = options.iter();
            while let Some(option) = options.next() {
                match cx.choice(
                    option,
                    "an option of `health_check`",
                    &[("no_rec", false), ("domain", true)],
                ) {
                    Some(false) => health.recursion = false,
                    Some(true) => match options.next() {
                        Some(name) => health.domain = cx.domain(name).unwrap_or_else(Domain::root),
                        None => cx.not(option, "complete: a name must follow"),
                    },
                    None => {}
                }
            }
        }
        _ => health.fail_fast |= cx.none(line),
    }
}
