//! An HTTPS server where the API server should be: it shows the certificate that a test gives it, and
//! answers in one manner, which the test can change. It keeps no objects and knows no rights.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};

use crate::certificates::{Authority, Identity};

/// How everything is answered. Watches that are open when the manner changes are closed.
#[derive(Clone, Debug)]
pub enum Manner {
    /// These objects, each with the resource that it is one of (`services`). Watches stay open.
    Serves(Vec<(&'static str, Value)>),
    /// This status. `RESOURCE` in the message becomes what was asked for.
    Refuses {
        /// HTTP's code.
        code: u16,
        /// The API's word for it.
        reason: &'static str,
        /// The API's sentence.
        message: &'static str,
    },
}

/// A running one. Its threads end with the test.
pub struct ScriptedApi {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    manner: Mutex<Manner>,
    /// How often the manner changed.
    changes: AtomicUsize,
    connections: AtomicUsize,
    requests: AtomicUsize,
    tls: Arc<ServerConfig>,
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

impl ScriptedApi {
    /// Starts one on loopback that is `server`. With `clients`, a client has to show a certificate
    /// of that authority.
    ///
    /// # Errors
    /// If the certificates can't be used.
    pub fn start(
        server: &Identity,
        clients: Option<&Authority>,
        manner: Manner,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            manner: Mutex::new(manner),
            changes: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            tls: Arc::new(tls(server, clients)?),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let state = Arc::clone(&shared);
                // A client that refuses our certificate or goes away is what some tests are about.
                std::thread::spawn(move || drop(serve(stream, &state)));
            }
        });
        Ok(ScriptedApi { address, state })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Answers in another manner from now on.
    pub fn change(&self, manner: Manner) {
        *self.state.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
        self.state.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// A kubeconfig for it in `folder`, which trusts `authority`.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn kubeconfig(
        &self,
        folder: &Path,
        authority: &Authority,
        user: Option<&Identity>,
    ) -> anyhow::Result<PathBuf> {
        let user = user.map_or_else(
            || json!({ "token": "a-token" }),
            |user| json!({ "client-certificate": user.certificate, "client-key": user.key }),
        );
        let cluster =
            json!({ "server": self.url(), "certificate-authority": authority.certificate() });
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{ "name": "test", "cluster": cluster }],
            "users": [{ "name": "test", "user": user }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        });
        let path = folder.join("kubeconfig");
        std::fs::write(&path, kubeconfig.to_string())?;
        Ok(path)
    }
}

fn tls(server: &Identity, clients: Option<&Authority>) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority.certificate())?)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build()?)
        }
        None => builder.with_no_client_auth(),
    };
    let certificate = vec![CertificateDer::from_pem_file(&server.certificate)?];
    let key = PrivateKeyDer::from_pem_file(&server.key)?;
    builder.with_single_cert(certificate, key).context("the server's certificate")
}

fn serve(stream: TcpStream, state: &State) -> anyhow::Result<()> {
    state.connections.fetch_add(1, Ordering::Relaxed);
    let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&state.tls))?, stream);
    let head = head(&mut stream)?;
    state.requests.fetch_add(1, Ordering::Relaxed);
    let target = head.split(' ').nth(1).context("a request line")?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let resource = path.rsplit('/').next().unwrap_or_default();
    let changes = state.changes.load(Ordering::Relaxed);
    let manner = state.manner.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match manner {
        Manner::Refuses { code, reason, message } => {
            let message = message.replace("RESOURCE", resource);
            let body = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": message, "reason": reason, "code": code,
            });
            reply(&mut stream, code, &[body])?;
        }
        Manner::Serves(objects) => {
            let own = objects.into_iter().filter(|(of, _)| *of == resource);
            let own: Vec<Value> = own.map(|(_, object)| object).collect();
            let lines = if query.contains("sendInitialEvents=true") { listed(own) } else { vec![] };
            reply(&mut stream, 200, &lines)?;
            while state.changes.load(Ordering::Relaxed) == changes {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}

/// A list as a watch tells it: every object, and a mark that those were all.
fn listed(objects: Vec<Value>) -> Vec<Value> {
    let mut lines: Vec<Value> =
        objects.into_iter().map(|object| json!({ "type": "ADDED", "object": object })).collect();
    let annotations = json!({ "k8s.io/initial-events-end": "true" });
    let metadata = json!({ "resourceVersion": "100", "annotations": annotations });
    lines.push(json!({ "type": "BOOKMARK", "object": { "metadata": metadata } }));
    lines
}

fn head(stream: &mut Stream) -> io::Result<String> {
    let (mut head, mut octet) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut octet)?;
        head.push(octet[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// A response that goes on for as long as the connection does.
fn reply(stream: &mut Stream, code: u16, lines: &[Value]) -> io::Result<()> {
    let head = "Content-Type: application/json\r\nConnection: close";
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    stream.write_all(format!("HTTP/1.1 {code} X\r\n{head}\r\n\r\n{body}").as_bytes())?;
    stream.flush()
}
