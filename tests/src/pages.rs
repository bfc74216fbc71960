//! Pages that a server shows over HTTP: `/ready`, `/health`, `/metrics`.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Context;

/// A page that takes longer is none; generous, since a busy machine is no failure.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What the server sends for a page: status line, header, body.
///
/// # Errors
/// If it can't be had within 20 seconds.
pub fn response(server: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Status and body of a page.
///
/// # Errors
/// As [`response`], or if what comes is no response.
pub fn page(server: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let text = response(server, path)?;
    let (head, body) = text.split_once("\r\n\r\n").context("an end of the header")?;
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// The body of a page; empty if it can't be had.
pub fn body(server: SocketAddr, path: &str) -> String {
    page(server, path).map(|(_, body)| body).unwrap_or_default()
}

/// A metric, summed over its label sets that contain `label`; 0 if there are none.
///
/// # Errors
/// As [`page`].
pub fn metric(server: SocketAddr, name: &str, label: &str) -> anyhow::Result<f64> {
    let (_, text) = page(server, "/metrics")?;
    let named = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && line.contains(label)
    };
    let values = text.lines().filter(named).filter_map(|line| line.rsplit(' ').next());
    Ok(values.filter_map(|value| value.parse::<f64>().ok()).sum())
}
