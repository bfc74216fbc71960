//! Asks the health page once a second, as CoreDNS does: a process that is short of CPU shows it here
//! before anywhere else.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use prometheus::{Histogram, HistogramOpts, IntCounter};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::metrics::{Metrics, counter};

const PERIOD: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
/// 0.25 ms × 10^0..4, as in CoreDNS.
const BUCKETS: [f64; 5] = [0.000_25, 0.002_5, 0.025, 0.25, 2.5];

/// Asks until dropped.
pub struct Probe(JoinHandle<()>);

impl Probe {
    /// Starts asking the page at `address`.
    pub fn start(address: SocketAddr, metrics: &Metrics) -> Self {
        let options = HistogramOpts::new(
            "coredns_health_request_duration_seconds",
            "Time that the server's own health page took to answer.",
        );
        let durations = Histogram::with_opts(options.buckets(BUCKETS.to_vec()))
            .expect("a valid metric name and buckets");
        let durations = metrics.shared(durations);
        let failures = metrics.shared(counter(
            "coredns_health_request_failures_total",
            "Times that the server's own health page did not answer.",
        ));
        Probe(tokio::spawn(probe(reachable(address), durations, failures)))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where a page that listens everywhere can be asked.
fn reachable(address: SocketAddr) -> SocketAddr {
    let host = match address {
        _ if !address.ip().is_unspecified() => address.ip(),
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(host, address.port())
}

async fn probe(address: SocketAddr, durations: Histogram, failures: IntCounter) {
    loop {
        sleep(PERIOD).await;
        let started = Instant::now();
        match timeout(PATIENCE, ask(address)).await {
            Ok(Ok(())) => durations.observe(started.elapsed().as_secs_f64()),
            Ok(Err(_)) | Err(_) => failures.inc(),
        }
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    match &head == b"HTTP/1.1 200" {
        true => Ok(()),
        false => Err(std::io::ErrorKind::InvalidData.into()),
    }
}
