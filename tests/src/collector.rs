//! An HTTP server that takes whatever is posted: the endpoint of tests that look at what is sent. It is no
//! Zipkin, no agent of Datadog's and no OpenTelemetry collector; it keeps what they would get.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use anyhow::{Context, bail};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request that came.
#[derive(Clone, Debug)]
pub struct Posted {
    /// Path and query.
    pub path: String,
    /// Header fields, names in lower case.
    pub fields: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// A running server. It ends with the process.
#[derive(Clone)]
pub struct Collector {
    posted: Arc<Mutex<Vec<Posted>>>,
    status: Arc<AtomicU16>,
}

impl Collector {
    /// Listens, with TLS if there is a configuration for it, and says 202 to all.
    ///
    /// # Errors
    /// If it can't.
    pub fn start(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let collector = Collector { posted: Arc::default(), status: Arc::new(AtomicU16::new(202)) };
        let own = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (own, tls) = (own.clone(), tls.clone());
                // A client that goes away is its own business.
                std::thread::spawn(move || match tls {
                    None => own.serve(stream),
                    Some(tls) => own.serve(StreamOwned::new(ServerConnection::new(tls)?, stream)),
                });
            }
        });
        Ok(collector)
    }

    /// Says this from now on.
    pub fn say(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// What came so far.
    ///
    /// # Panics
    /// If somebody panicked with it.
    pub fn posted(&self) -> Vec<Posted> {
        self.posted.lock().expect("nobody panics with the lock").clone()
    }

    fn serve(&self, stream: impl Read + Write) -> anyhow::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let posted = read(&mut stream)?;
            self.posted.lock().expect("nobody panics with the lock").push(posted);
            let status = self.status.load(Ordering::Relaxed);
            let response = format!("HTTP/1.1 {status} Said\r\ncontent-length: 2\r\n\r\n{{}}");
            stream.get_mut().write_all(response.as_bytes())?;
            stream.get_mut().flush()?;
        }
    }
}

fn read(stream: &mut impl BufRead) -> anyhow::Result<Posted> {
    let line = line(stream)?;
    let path = line.split(' ').nth(1).context("a request line")?.to_owned();
    let mut fields = BTreeMap::new();
    loop {
        let line = self::line(stream)?;
        let Some((name, value)) = line.split_once(':') else { break };
        fields.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let body = match fields.get("content-length") {
        Some(length) => octets(stream, length.parse()?)?,
        None if fields.contains_key("transfer-encoding") => chunked(stream)?,
        None => Vec::new(),
    };
    Ok(Posted { path, fields, body })
}

fn chunked(stream: &mut impl BufRead) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&line(stream)?, 16)?;
        body.extend(octets(stream, length)?);
        line(stream)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn octets(stream: &mut impl Read, length: usize) -> anyhow::Result<Vec<u8>> {
    let mut octets = vec![0; length];
    stream.read_exact(&mut octets)?;
    Ok(octets)
}

fn line(stream: &mut impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        bail!("the end");
    }
    Ok(line.trim_end().to_owned())
}
