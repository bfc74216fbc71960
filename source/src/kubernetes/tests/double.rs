//! A simulated API server: plays back what a test scripts for each path, over real HTTP/1.1 on
//! loopback, and remembers what it was asked. It keeps no objects and checks no rights.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::JoinSet,
};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// One scripted response.
pub(super) struct Reply {
    status: u16,
    content_type: &'static str,
    chunks: Vec<Vec<u8>>,
    live: Option<mpsc::UnboundedReceiver<Vec<u8>>>,
    /// Whether the response stays open after its chunks.
    open: bool,
}

impl Reply {
    /// A complete response.
    pub(super) fn json(status: u16, body: &impl ToString) -> Self {
        let chunks = vec![body.to_string().into_bytes()];
        Reply { status, content_type: JSON, chunks, live: None, open: false }
    }

    /// A failure as the API words it.
    pub(super) fn failure(code: u16, reason: &str, message: &str) -> Self {
        Reply::json(code, &failure(code, reason, message))
    }

    /// A watch that tells these lines and stays open.
    pub(super) fn watch(lines: &[serde_json::Value]) -> Self {
        Reply { status: 200, content_type: JSON, chunks: bytes(lines), live: None, open: true }
    }

    /// A watch that tells these lines and ends.
    pub(super) fn ended(lines: &[serde_json::Value]) -> Self {
        Reply { open: false, ..Reply::watch(lines) }
    }

    /// A watch that tells these lines, and then what is sent; it ends when the sender goes.
    pub(super) fn live(lines: &[serde_json::Value]) -> (Self, mpsc::UnboundedSender<Vec<u8>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Reply { live: Some(receiver), open: false, ..Reply::watch(lines) }, sender)
    }

    /// The same in protobuf, out of these bytes.
    pub(super) fn protobuf(self, chunks: Vec<Vec<u8>>) -> Self {
        Reply { content_type: PROTOBUF, chunks, ..self }
    }

    /// The same with raw bytes after it.
    pub(super) fn with(mut self, bytes: &[u8]) -> Self {
        self.chunks.push(bytes.to_vec());
        self
    }
}

pub(super) fn failure(code: u16, reason: &str, message: &str) -> serde_json::Value {
    serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code})
}

fn bytes(lines: &[serde_json::Value]) -> Vec<Vec<u8>> {
    lines.iter().map(|line| format!("{line}\n").into_bytes()).collect()
}

/// What was asked.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) query: String,
    pub(super) head: String,
}

#[derive(Default)]
struct State {
    script: Mutex<HashMap<String, VecDeque<Reply>>>,
    seen: Mutex<Vec<Seen>>,
    news: Notify,
}

/// A running double; dropping it closes all connections.
pub(super) struct Double {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

impl Double {
    pub(super) async fn start() -> Self {
        Double::at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(super) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&state);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Double { address, state, _tasks: tasks }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Replies to requests for `path`, in this order. Without a reply, a request stays open.
    pub(super) fn script(&self, path: &str, replies: impl IntoIterator<Item = Reply>) -> &Self {
        self.state.script.lock().entry(path.to_owned()).or_default().extend(replies);
        self
    }

    /// Waits for the `n`th request (from 1) for `path`.
    pub(super) async fn request(&self, path: &str, n: usize) -> Seen {
        let wait = async {
            loop {
                let news = self.state.news.notified();
                if let Some(seen) = self.seen(path).get(n - 1) {
                    return seen.clone();
                }
                news.await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(20), wait).await {
            Ok(seen) => seen,
            Err(_) => panic!("request {n} for {path} never came; seen {:#?}", self.seen(path)),
        }
    }

    pub(super) fn seen(&self, path: &str) -> Vec<Seen> {
        self.state.seen.lock().iter().filter(|seen| seen.path == path).cloned().collect()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut head = Vec::new();
    while let Some(seen) = read_head(&mut stream, &mut head).await {
        let reply = state.script.lock().get_mut(&seen.path).and_then(VecDeque::pop_front);
        state.seen.lock().push(seen);
        state.news.notify_waiters();
        let reply = reply.unwrap_or(Reply::watch(&[]));
        if write(&mut stream, reply).await.is_err() {
            return;
        }
    }
}

async fn read_head(stream: &mut TcpStream, held: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some(end) = held.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&held[..end]).into_owned();
            held.drain(..end + 4);
            let target = head.split(' ').nth(1).unwrap_or_default();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            return Some(Seen { path: path.into(), query: query.into(), head: head.clone() });
        }
        if stream.read_buf(held).await.ok()? == 0 {
            return None;
        }
    }
}

async fn write(stream: &mut TcpStream, mut reply: Reply) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {} X\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        reply.status, reply.content_type
    );
    stream.write_all(head.as_bytes()).await?;
    for bytes in &reply.chunks {
        chunk(stream, bytes).await?;
    }
    if let Some(live) = &mut reply.live {
        while let Some(bytes) = live.recv().await {
            chunk(stream, &bytes).await?;
        }
    }
    if reply.open {
        // Until the client goes away.
        let mut rest = [0; 64];
        while stream.read(&mut rest).await? > 0 {}
    }
    stream.write_all(b"0\r\n\r\n").await
}

async fn chunk(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
    stream.write_all(bytes).await?;
    stream.write_all(b"\r\n").await
}
