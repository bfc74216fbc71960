//! DNS over HTTPS: requests as RFC 8484 wants them, many on a connection, and connections that break.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use futures::future::{BoxFuture, join_all};
use hickory_proto::op::{Message, ResponseCode};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    authority::Authority,
    scripted::{answer, until},
    setup::Setup,
};

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
const OLD: &[&[u8]] = &[b"http/1.1"];

/// A request as it came.
struct Seen {
    method: Method,
    version: Version,
    host: Option<String>,
    id: u16,
}

/// A server that does what it is told with each query.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepted: Arc<Mutex<usize>>,
    /// Ends all connections that there are.
    breaking: Arc<Mutex<CancellationToken>>,
    _serving: AbortOnDropHandle<()>,
}

type Script = Arc<dyn Fn(Message) -> BoxFuture<'static, Response<Bytes>> + Send + Sync>;

fn script<F: Future<Output = Response<Bytes>> + Send + 'static>(
    script: impl Fn(Message) -> F + Send + Sync + 'static,
) -> Script {
    Arc::new(move |query| Box::pin(script(query)))
}

fn well() -> Script {
    script(|query| async move { Response::new(answer(&query).into()) })
}

impl Server {
    async fn start(authority: &Authority, protocols: &[&[u8]], script: Script) -> Self {
        Self::with_streams(authority, protocols, script, None).await
    }

    /// One that takes so many streams at once.
    async fn with_streams(
        authority: &Authority,
        protocols: &[&[u8]],
        script: Script,
        streams: Option<u32>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(authority.server(false, protocols)));
        let (seen, accepted) = (Arc::default(), Arc::new(Mutex::new(0)));
        let breaking = Arc::new(Mutex::new(CancellationToken::new()));
        let (all, count, broken) =
            (Arc::clone(&seen), Arc::clone(&accepted), Arc::clone(&breaking));
        let serving = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *count.lock() += 1;
                let stop = broken.lock().clone();
                let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
                let all = Arc::clone(&all);
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let is_new = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let service = service_fn(move |request| {
                        respond(Arc::clone(&script), Arc::clone(&all), request)
                    });
                    let stream = TokioIo::new(stream);
                    let serve = async {
                        match is_new {
                            true => {
                                let mut server = http2::Builder::new(TokioExecutor::new());
                                server.max_concurrent_streams(streams);
                                drop(server.serve_connection(stream, service).await);
                            }
                            false => {
                                let server = http1::Builder::new();
                                drop(server.serve_connection(stream, service).await);
                            }
                        }
                    };
                    tokio::select! {
                        () = serve => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
        }));
        Server { address, seen, accepted, breaking, _serving: serving }
    }

    fn accepted(&self) -> usize {
        *self.accepted.lock()
    }

    fn break_connections(&self) {
        std::mem::take(&mut *self.breaking.lock()).cancel();
    }

    async fn forward(&self, authority: &Authority, options: &str) -> Setup {
        let (to, ca) = (self.address, authority.file("ca.pem"));
        Setup::new(&format!("forward . https://{to} {{\ntls {ca}\n{options}\n}}")).await
    }
}

async fn respond(
    script: Script,
    all: Arc<Mutex<Vec<Seen>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    assert_eq!(head.uri.path(), "/dns-query");
    assert_eq!(head.headers["accept"], "application/dns-message");
    let message = match head.method {
        Method::GET => {
            let text = head.uri.query().unwrap().strip_prefix("dns=").unwrap();
            BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
        }
        _ => {
            assert_eq!(head.headers["content-type"], "application/dns-message");
            body.collect().await.unwrap().to_bytes().to_vec()
        }
    };
    let query = Message::from_vec(&message).unwrap();
    let host = head.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
    let host = head.uri.authority().map(ToString::to_string).or(host);
    let seen = Seen { method: head.method, version: head.version, host, id: query.metadata.id };
    all.lock().push(seen);
    Ok(script(query).await.map(Full::new))
}

/// Queries that found an open connection, and those that did not.
fn reuse(setup: &Setup, server: &Server) -> (u64, u64) {
    let to = server.address.to_string();
    let labels = ["forward", &*to, "https"];
    let families = &setup.metrics.forward;
    (
        families.hits.with_label_values(&labels).get(),
        families.misses.with_label_values(&labels).get(),
    )
}

#[tokio::test]
async fn requests_are_those_of_the_rfc_and_share_one_connection() {
    let authority = Authority::new("doh-requests");
    for (protocols, version) in [(BOTH, Version::HTTP_2), (OLD, Version::HTTP_11)] {
        let server = Server::start(&authority, protocols, well()).await;
        let port = server.address.port();
        for (options, method, host) in [
            ("", Method::POST, format!("127.0.0.1:{port}")),
            ("doh_method GET", Method::GET, format!("127.0.0.1:{port}")),
            ("tls_servername dns.example", Method::POST, format!("dns.example:{port}")),
        ] {
            let before = server.accepted();
            let setup = server.forward(&authority, options).await;
            for _ in 0..5 {
                let reply = setup.ask("www.Example.org.").await.unwrap().message;
                assert_eq!(reply.answers.len(), 1);
            }
            assert_eq!(server.accepted(), before + 1, "{options} {version:?}");
            assert_eq!(reuse(&setup, &server), (4, 1));
            for seen in server.seen.lock().drain(..) {
                assert_eq!((seen.method, seen.version, seen.id), (method.clone(), version, 0));
                assert_eq!(seen.host.as_deref(), Some(&*host));
            }
        }
    }
}

#[tokio::test]
async fn a_name_of_the_upstream_is_what_its_certificate_must_have() {
    let authority = Authority::new("doh-name");
    let server = Server::start(&authority, BOTH, well()).await;
    let (ca, port) = (authority.file("ca.pem"), server.address.port());
    for (to, good) in [
        (format!("https://127.0.0.1%dns.example:{port}"), true),
        (format!("https://127.0.0.1%other.example:{port}"), false),
    ] {
        let setup = Setup::new(&format!("forward . {to} {{\ntls {ca}\n}}")).await;
        assert_eq!(setup.ask("www.example.org.").await.is_ok(), good, "{to}");
    }
}

/// Answers once `all` queries are there.
fn together(all: u32) -> Script {
    let (arrived, open) = (Arc::new(Mutex::new(0)), Arc::new(Semaphore::new(0)));
    script(move |query| {
        let (arrived, open) = (Arc::clone(&arrived), Arc::clone(&open));
        async move {
            let last = {
                let mut arrived = arrived.lock();
                *arrived += 1;
                *arrived == all
            };
            if last {
                open.add_permits(all as usize);
            }
            open.acquire().await.unwrap().forget();
            Response::new(answer(&query).into())
        }
    })
}

#[tokio::test]
async fn queries_at_once_are_streams_of_one_connection_up_to_a_bound() {
    let authority = Authority::new("doh-streams");
    for (queries, connections) in [(100, 1), (150, 2)] {
        let server = Server::start(&authority, BOTH, together(queries)).await;
        let setup = server.forward(&authority, "read_timeout 30s").await;
        let names: Vec<String> = (0..queries).map(|n| format!("n{n}.example.org.")).collect();
        let asked = join_all(names.iter().map(|name| setup.ask(name))).await;
        for (name, outcome) in names.iter().zip(asked) {
            assert_eq!(outcome.unwrap().message.queries[0].name.to_ascii(), *name);
        }
        assert_eq!(server.accepted(), connections, "{queries} queries");
    }
}

#[tokio::test]
async fn a_server_that_takes_few_streams_gets_no_more() {
    let authority = Authority::new("doh-few-streams");
    for streams in [Some(1), Some(7)] {
        let server = Server::with_streams(&authority, BOTH, well(), streams).await;
        let setup = server.forward(&authority, "read_timeout 30s\nmax_connect_attempts 1").await;
        let asked = join_all((0..100).map(|_| setup.ask("www.example.org."))).await;
        assert!(asked.iter().all(Result::is_ok), "{streams:?}");
        assert_eq!((server.accepted(), server.seen.lock().len()), (1, 100));
    }
}

#[tokio::test]
async fn with_http_1_queries_at_once_have_connections_of_their_own() {
    let authority = Authority::new("doh-old");
    let server = Server::start(&authority, OLD, well()).await;
    let setup = server.forward(&authority, "").await;
    setup.ask("first.example.org.").await.unwrap();
    let asked = join_all((0..20).map(|_| setup.ask("www.example.org."))).await;
    assert!(asked.iter().all(Result::is_ok));
    assert!((2..=20).contains(&server.accepted()), "{}", server.accepted());
}

#[tokio::test]
async fn a_connection_that_broke_is_replaced_and_the_query_asked_again() {
    let authority = Authority::new("doh-broken");
    for protocols in [BOTH, OLD] {
        let server = Server::start(&authority, protocols, well()).await;
        let setup = server.forward(&authority, "max_connect_attempts 1").await;
        for round in 1..=4 {
            setup.ask("www.example.org.").await.unwrap();
            assert_eq!(server.accepted(), round);
            server.break_connections();
        }
    }
}

#[tokio::test]
async fn queries_under_way_on_a_connection_that_breaks_are_asked_again_on_another() {
    let authority = Authority::new("doh-under-way");
    // The first three never get an answer.
    let count = Arc::new(Mutex::new(0));
    let some = script(move |query| {
        let number = {
            let mut count = count.lock();
            *count += 1;
            *count
        };
        async move {
            if (2..=4).contains(&number) {
                std::future::pending::<()>().await;
            }
            Response::new(answer(&query).into())
        }
    });
    let server = Server::start(&authority, BOTH, some).await;
    let setup = server.forward(&authority, "read_timeout 30s\nmax_connect_attempts 1").await;
    setup.ask("www.example.org.").await.unwrap();
    let asked = join_all((0..3).map(|_| setup.ask("www.example.org.")));
    let breaking = async {
        until(|| server.seen.lock().len() == 4).await;
        server.break_connections();
    };
    let (asked, ()) = futures::join!(asked, breaking);
    assert!(asked.iter().all(Result::is_ok));
    assert_eq!(server.accepted(), 2, "they share the new one");
}

#[tokio::test]
async fn responses_without_a_reply_are_failures_that_say_so() {
    let authority = Authority::new("doh-failures");
    let status = script(|query| async move {
        let mut response = Response::new(answer(&query).into());
        *response.status_mut() = StatusCode::FORBIDDEN;
        response
    });
    let page = script(|_| async { Response::new(Bytes::from_static(b"<html></html>")) });
    let long = script(|_| async { Response::new(Bytes::from(vec![0; 1 << 20])) });
    let other = script(|query| async move {
        let mut other = query.clone();
        other.queries[0].name = "other.example.".parse().unwrap();
        Response::new(answer(&other).into())
    });
    for (what, script, want) in [
        ("a status", status, "HTTP status 403"),
        ("a page", page, "malformed reply"),
        ("too much", long, "connection closed"),
        ("another question", other, "malformed reply"),
    ] {
        let server = Server::start(&authority, BOTH, script).await;
        let setup = server.forward(&authority, "health_check 1h").await;
        let failure = setup.ask("www.example.org.").await.unwrap_err();
        let text = failure.reason.to_string();
        assert_eq!(failure.code, ResponseCode::ServFail);
        assert!(
            text.contains(want) && text.contains(&server.address.to_string()),
            "{what}: {text}"
        );
    }
}

#[tokio::test]
async fn ttls_are_less_by_the_age_of_the_response() {
    let authority = Authority::new("doh-age");
    let aged = script(|query| async move {
        let mut response = Response::new(answer(&query).into());
        response.headers_mut().insert("age", "20".parse().unwrap());
        response
    });
    let server = Server::start(&authority, BOTH, aged).await;
    let setup = server.forward(&authority, "").await;
    assert_eq!(setup.ask("www.example.org.").await.unwrap().message.answers[0].ttl, 40);
}

#[tokio::test]
async fn an_upstream_that_fails_is_checked_over_https_until_it_answers() {
    let authority = Authority::new("doh-check");
    let well = Arc::new(Mutex::new(false));
    let answers = Arc::clone(&well);
    let sometimes = script(move |query| {
        let good = *answers.lock();
        async move {
            let mut response = Response::new(answer(&query).into());
            if !good {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
    });
    let server = Server::start(&authority, BOTH, sometimes).await;
    let setup = server.forward(&authority, "health_check 10ms\nmax_fails 1").await;
    assert!(setup.ask("www.example.org.").await.is_err());
    let failures = || {
        let families = &setup.metrics.forward;
        families.check_failures.with_label_values(&["forward", &server.address.to_string()]).get()
    };
    until(|| failures() > 2).await;
    assert!(setup.ask("www.example.org.").await.is_err());
    assert_eq!(setup.metrics.forward.all_down.get(), 1);
    *well.lock() = true;
    let up = || setup.forwards[0].remotes()[0].health.state() == super::super::health::State::Up;
    until(up).await;
    setup.ask("www.example.org.").await.unwrap();
}

#[tokio::test]
async fn idle_and_old_connections_are_closed() {
    let authority = Authority::new("doh-idle");
    let server = Server::start(&authority, BOTH, well()).await;
    for options in ["expire 20ms", "expire 10ms\nmax_age 20ms"] {
        let setup = server.forward(&authority, options).await;
        let before = server.accepted();
        setup.ask("www.example.org.").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        setup.ask("www.example.org.").await.unwrap();
        assert_eq!(server.accepted(), before + 2, "{options}");
    }
}
