//! DNS over QUIC: a stream for each query, and connections that break.

use std::{net::SocketAddr, sync::Arc};

use futures::future::join_all;
use hickory_proto::op::Message;
use parking_lot::Mutex;
use quinn::{Connection, Endpoint, ServerConfig, VarInt, crypto::rustls::QuicServerConfig};
use tokio_util::task::AbortOnDropHandle;

use super::{authority::Authority, scripted::answer, setup::Setup};

/// What a server sends on a stream.
type Script = fn(&Message) -> Vec<u8>;

struct Server {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Connection>>>,
    _serving: AbortOnDropHandle<()>,
}

fn framed(reply: &[u8]) -> Vec<u8> {
    [&(reply.len() as u16).to_be_bytes(), reply].concat()
}

impl Server {
    fn start(authority: &Authority, script: Script) -> Self {
        let tls = authority.server(false, &[b"doq"]);
        let crypto = QuicServerConfig::try_from(tls).unwrap();
        let config = ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = endpoint.local_addr().unwrap();
        let connections = Arc::<Mutex<Vec<Connection>>>::default();
        let all = Arc::clone(&connections);
        let serving = tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let Ok(connection) = incoming.await else { continue };
                all.lock().push(connection.clone());
                tokio::spawn(async move {
                    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                        let query = receive.read_to_end(1 << 16).await.unwrap();
                        let query = Message::from_vec(&query[2..]).unwrap();
                        assert_eq!(query.metadata.id, 0);
                        // The client may be gone.
                        let _ = send.write_all(&script(&query)).await;
                        let _ = send.finish();
                    }
                });
            }
        });
        Server { address, connections, _serving: AbortOnDropHandle::new(serving) }
    }

    async fn forward(&self, authority: &Authority, options: &str) -> Setup {
        let (to, ca) = (self.address, authority.file("ca.pem"));
        Setup::new(&format!("forward . quic://{to} {{\ntls {ca}\n{options}\n}}")).await
    }

    fn accepted(&self) -> usize {
        self.connections.lock().len()
    }
}

#[tokio::test]
async fn queries_share_a_connection_each_on_its_own_stream() {
    let authority = Authority::new("doq-streams");
    let server = Server::start(&authority, |query| framed(&answer(query)));
    for options in ["", "tls_servername dns.example"] {
        let before = server.accepted();
        let setup = server.forward(&authority, options).await;
        let names: Vec<String> = (0..50).map(|n| format!("n{n}.example.org.")).collect();
        let asked = join_all(names.iter().map(|name| setup.ask(name))).await;
        for (name, outcome) in names.iter().zip(asked) {
            assert_eq!(outcome.unwrap().message.queries[0].name.to_ascii(), *name);
        }
        setup.ask("www.example.org.").await.unwrap();
        assert_eq!(server.accepted(), before + 1);
        let to = server.address.to_string();
        let hits = &setup.metrics.forward.hits;
        assert!(hits.with_label_values(&["forward", &*to, "quic"]).get() >= 1);
    }
}

#[tokio::test]
async fn a_connection_that_the_upstream_ended_is_replaced() {
    let authority = Authority::new("doq-broken");
    let server = Server::start(&authority, |query| framed(&answer(query)));
    let setup = server.forward(&authority, "max_connect_attempts 1").await;
    for round in 1..=4 {
        setup.ask("www.example.org.").await.unwrap();
        assert_eq!(server.accepted(), round);
        server.connections.lock().last().unwrap().close(VarInt::from_u32(0), b"");
    }
}

#[tokio::test]
async fn another_certificate_or_reply_is_a_failure() {
    let authority = Authority::new("doq-failures");
    let no_length: Script = |query| answer(query);
    let other_id: Script = |query| {
        let mut query = query.clone();
        query.metadata.id = 1;
        framed(&answer(&query))
    };
    let good: Script = |query| framed(&answer(query));
    for (script, options, want) in [
        (good, "tls_servername other.example", "certificate"),
        (no_length, "", "malformed reply"),
        (other_id, "", "malformed reply"),
    ] {
        let server = Server::start(&authority, script);
        let setup = server.forward(&authority, options).await;
        let failure = setup.ask("www.example.org.").await.unwrap_err();
        let text = failure.reason.to_string();
        assert!(text.contains(want), "{options}: {text}");
    }
}
