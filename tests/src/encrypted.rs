//! A client of the encrypted transports: DNS over TLS, QUIC and HTTP/3, many queries on a connection.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use bytes::{Buf, Bytes};
use hickory_proto::op::Message;
use http::{Method, Request, StatusCode};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::{certificates::Identity, dns::Transport};

/// How long a reply may take. Generous: a busy machine is no failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whom a client believes and what it shows.
#[derive(Clone)]
pub struct Client {
    tls: ClientConfig,
}

/// What an HTTP server said.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// Header fields, names in lower case.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// Believes the authority in this file, and shows a certificate if asked for one.
    ///
    /// # Errors
    /// If a file is no good.
    pub fn new(authority: &Path, identity: Option<&Identity>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let tls = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_auth_cert(
                vec![CertificateDer::from_pem_file(&identity.certificate)?],
                PrivateKeyDer::from_pem_file(&identity.key)?,
            )?,
        };
        Ok(Client { tls })
    }

    /// A connection for DNS over TLS to a server whose certificate is for `name`.
    ///
    /// # Errors
    /// If it can't be made; a refused handshake may show only at the first query.
    pub fn tls(
        &self,
        server: SocketAddr,
        name: &str,
    ) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from(name.to_owned())?;
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut stream =
            StreamOwned::new(ClientConnection::new(Arc::new(self.tls.clone()), name)?, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).context("the TLS handshake")?;
        }
        Ok(stream)
    }

    /// Asks one question over a connection of its own, with the name that the certificate must have.
    ///
    /// # Errors
    /// If no reply comes.
    pub fn ask(
        &self,
        transport: Transport,
        server: SocketAddr,
        name: &str,
        query: &Message,
    ) -> anyhow::Result<Message> {
        let asked = anonymous(query.clone())?;
        let of = |response: Response| match response.status {
            StatusCode::OK => Ok(response.body),
            status => Err(anyhow::anyhow!("status {status}")),
        };
        let reply = match transport {
            Transport::Udp | Transport::Tcp => bail!("{transport:?} is not encrypted"),
            Transport::Tls => ask(&mut self.tls(server, name)?, &asked)?,
            Transport::Https => of(self.https(server, name, &request(&asked, false)?)?)?,
            Transport::Https3 => {
                let responses = self.https3(server, name, &[request(&asked, false)?])?;
                of(responses.into_iter().next().context("a response")?)?
            }
            Transport::Quic => {
                let replies = self.quic(server, name, &[asked])?;
                replies.into_iter().next().context("a reply")?
            }
        };
        Ok(Message::from_vec(&reply)?)
    }

    /// One request over HTTP/1.0 on a connection of its own.
    ///
    /// # Errors
    /// If no response comes.
    pub fn https(
        &self,
        server: SocketAddr,
        name: &str,
        request: &Request<Vec<u8>>,
    ) -> anyhow::Result<Response> {
        let mut stream = self.tls(server, name)?;
        let uri = request.uri().path_and_query().context("a path")?;
        let (method, length) = (request.method(), request.body().len());
        let mut head =
            format!("{method} {uri} HTTP/1.0\r\nhost: {name}\r\ncontent-length: {length}\r\n");
        for (field, value) in request.headers() {
            head += &format!("{field}: {}\r\n", value.to_str()?);
        }
        stream.write_all(&[head.as_bytes(), b"\r\n", request.body()].concat())?;
        stream.flush()?;
        let mut all = Vec::new();
        match stream.read_to_end(&mut all) {
            // Many servers end the connection without TLS's own farewell.
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(error)?,
            _ => {}
        }
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").context("a whole head")?;
        let text = std::str::from_utf8(&all[..end])?;
        let status = text.split(' ').nth(1).context("a status")?.parse()?;
        let mut headers = http::HeaderMap::new();
        for (field, value) in text.lines().skip(1).filter_map(|line| line.split_once(": ")) {
            headers.append(http::HeaderName::try_from(field)?, value.parse()?);
        }
        Ok(Response { status, headers, body: all[end + 4..].to_vec() })
    }

    /// Asks over one QUIC connection, a stream for each query, all at once. Gives the replies in the
    /// order of the queries.
    ///
    /// # Errors
    /// If a reply does not come.
    pub fn quic(
        &self,
        server: SocketAddr,
        name: &str,
        queries: &[Vec<u8>],
    ) -> anyhow::Result<Vec<Vec<u8>>> {
        run(async {
            let connection = self.connect(server, name, b"doq").await?;
            let asked = queries.iter().map(|query| over_stream(&connection, query));
            futures::future::try_join_all(asked).await
        })
    }

    /// Asks over one HTTP/3 connection, one request after the other: `dns` in the URI for GET, else in
    /// the body.
    ///
    /// # Errors
    /// If a response does not come.
    pub fn https3(
        &self,
        server: SocketAddr,
        name: &str,
        requests: &[Request<Vec<u8>>],
    ) -> anyhow::Result<Vec<Response>> {
        run(async {
            let connection = self.connect(server, name, b"h3").await?;
            let quic = h3_quinn::Connection::new(connection);
            let (mut driver, mut http) = h3::client::new(quic).await?;
            let driven = tokio::spawn(async move {
                // Ends with the connection, whatever the reason.
                let _ = std::future::poll_fn(|cx| driver.poll_close(cx)).await;
            });
            let mut responses = Vec::new();
            for request in requests {
                let (head, body) = request.clone().into_parts();
                let mut stream = http.send_request(Request::from_parts(head, ())).await?;
                if !body.is_empty() {
                    stream.send_data(Bytes::from(body)).await?;
                }
                stream.finish().await?;
                let response = stream.recv_response().await?;
                let mut body = Vec::new();
                while let Some(mut part) = stream.recv_data().await? {
                    while part.has_remaining() {
                        let octets = part.chunk().len();
                        body.extend_from_slice(part.chunk());
                        part.advance(octets);
                    }
                }
                let (status, headers) = (response.status(), response.headers().clone());
                responses.push(Response { status, headers, body });
            }
            drop(http);
            driven.abort();
            Ok(responses)
        })
    }

    async fn connect(
        &self,
        server: SocketAddr,
        name: &str,
        protocol: &[u8],
    ) -> anyhow::Result<quinn::Connection> {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![protocol.to_vec()];
        let any = match server {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let mut endpoint = quinn::Endpoint::client(any)?;
        let crypto = QuicClientConfig::try_from(tls)?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        Ok(endpoint.connect(server, name)?.await?)
    }
}

/// Sends a framed query over a stream and reads the framed reply.
///
/// # Errors
/// If the reply does not come.
pub fn ask(stream: &mut (impl Read + Write), query: &[u8]) -> anyhow::Result<Vec<u8>> {
    send(stream, query)?;
    receive(stream)
}

/// Sends a framed query.
///
/// # Errors
/// If it can't be sent.
pub fn send(stream: &mut impl Write, query: &[u8]) -> anyhow::Result<()> {
    stream.write_all(&[&(query.len() as u16).to_be_bytes(), query].concat())?;
    Ok(stream.flush()?)
}

/// Reads a framed reply.
///
/// # Errors
/// If it does not come.
pub fn receive(stream: &mut impl Read) -> anyhow::Result<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len).context("reading the reply's length")?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

/// A request for DNS over HTTPS with this message: by GET if `in_uri`, else by POST.
///
/// # Errors
/// Never seen.
pub fn request(message: &[u8], in_uri: bool) -> anyhow::Result<Request<Vec<u8>>> {
    let builder = Request::builder().header("accept", "application/dns-message");
    let text = data_encoding::BASE64URL_NOPAD.encode(message);
    Ok(match in_uri {
        true => builder
            .method(Method::GET)
            .uri(format!("https://localhost/dns-query?dns={text}"))
            .body(Vec::new())?,
        false => builder
            .method(Method::POST)
            .uri("https://localhost/dns-query")
            .header("content-type", "application/dns-message")
            .body(message.to_vec())?,
    })
}

/// The octets of a query with id 0, as QUIC wants it.
///
/// # Errors
/// Never seen.
pub fn anonymous(mut query: Message) -> anyhow::Result<Vec<u8>> {
    query.metadata.id = 0;
    Ok(query.to_vec()?)
}

async fn over_stream(connection: &quinn::Connection, query: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&[&(query.len() as u16).to_be_bytes(), query].concat()).await?;
    send.finish()?;
    let reply = receive.read_to_end(usize::from(u16::MAX) + 2).await?;
    match reply.split_first_chunk() {
        Some((len, reply)) if usize::from(u16::from_be_bytes(*len)) == reply.len() => {
            Ok(reply.to_vec())
        }
        _ => bail!("a reply without its length: {reply:?}"),
    }
}

fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, work).await.context("no reply in time")? })
}
