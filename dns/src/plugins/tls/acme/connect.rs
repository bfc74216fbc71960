//! HTTP to an authority: HTTP/1.1, a connection for each request.

use std::{io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RData, RecordType},
};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error as AcmeError, HttpClient};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    net::{TcpStream, UdpSocket, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::config::Acme;
use crate::wire::MAX_MESSAGE;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a resolver may take, and how often it is asked.
const RESOLVER: Duration = Duration::from_secs(3);
const ATTEMPTS: usize = 3;
/// Octets of the longest response.
const MAX_BODY: usize = 1 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A client of one authority.
#[derive(Clone)]
pub(super) struct Http {
    tls: Arc<ClientConfig>,
    resolver: Option<SocketAddr>,
}

impl Http {
    /// A client that believes the machine's authorities, and those of `ca_root`.
    ///
    /// # Errors
    /// In words for people.
    pub(super) fn new(config: &Acme) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = &config.ca_root {
            let wrong = |error: String| format!("{}: {error}", path.display());
            let all =
                CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
            for certificate in all {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let tls = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Http { tls: Arc::new(tls), resolver: config.resolver })
    }

    async fn send(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, Failure> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let uri = std::mem::take(&mut head.uri);
        let host = uri.host().ok_or("the URL has no host")?.to_owned();
        let is_secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        head.headers.insert(header::HOST, HeaderValue::from_str(authority)?);
        head.uri = uri.path_and_query().map_or("/", |path| path.as_str()).parse::<Uri>()?;
        let request = Request::from_parts(head, Full::new(body));
        let stream = self.connect(host.trim_matches(['[', ']']), port).await?;
        let response = if is_secure {
            let name = ServerName::try_from(host)?;
            let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?;
            exchange(TokioIo::new(stream), request).await?
        } else {
            exchange(TokioIo::new(stream), request).await?
        };
        Ok(response)
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Failure> {
        let addresses: Vec<SocketAddr> = match (host.parse(), self.resolver) {
            (Ok(address), _) => vec![SocketAddr::new(address, port)],
            (_, Some(resolver)) => resolved(host, port, resolver).await?,
            (_, None) => lookup_host((host, port)).await?.collect(),
        };
        let mut outcome = Err(io::Error::other(format!("`{host}` has no address")));
        for address in addresses {
            outcome = TcpStream::connect(address).await;
            if outcome.is_ok() {
                break;
            }
        }
        Ok(outcome?)
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, AcmeError>> + Send>> {
        let http = self.clone();
        async move {
            let late = || AcmeError::Other("the authority does not answer".into());
            let response = timeout(PATIENCE, http.send(request)).await.map_err(|_| late())?;
            Ok(BytesResponse::from(response.map_err(AcmeError::Other)?))
        }
        .boxed()
    }
}

/// Sends a request over a new connection, and reads the response.
async fn exchange<S>(
    stream: TokioIo<S>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Full<Bytes>>, Failure>
where
    TokioIo<S>: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    let driver = tokio::spawn(connection);
    let response = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await?.to_bytes();
        Ok(Response::from_parts(head, Full::new(body)))
    };
    let response = response.await;
    driver.abort();
    response
}

/// The addresses that a resolver has for a name.
async fn resolved(host: &str, port: u16, resolver: SocketAddr) -> Result<Vec<SocketAddr>, Failure> {
    let mut name = Name::from_ascii(host)?;
    name.set_fqdn(true);
    let mut found = Vec::new();
    for rtype in [RecordType::A, RecordType::AAAA] {
        let reply = asked(&name, rtype, resolver).await?;
        found.extend(reply.answers.iter().filter_map(|record| match &record.data {
            RData::A(address) => Some(SocketAddr::new(address.0.into(), port)),
            RData::AAAA(address) => Some(SocketAddr::new(address.0.into(), port)),
            _ => None,
        }));
    }
    Ok(found)
}

async fn asked(name: &Name, rtype: RecordType, resolver: SocketAddr) -> Result<Message, Failure> {
    for _ in 0..ATTEMPTS {
        let any: SocketAddr = match resolver.is_ipv4() {
            true => ([0, 0, 0, 0], 0).into(),
            false => ([0; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(resolver).await?;
        let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name.clone(), rtype));
        socket.send(&message.to_vec()?).await?;
        let mut octets = vec![0; MAX_MESSAGE];
        let answered = async {
            loop {
                let length = socket.recv(&mut octets).await?;
                let reply = octets.get(..length).and_then(|octets| Message::from_vec(octets).ok());
                let own = |reply: &Message| {
                    reply.metadata.id == message.metadata.id && reply.queries == message.queries
                };
                if let Some(reply) = reply.filter(own) {
                    return Ok::<_, io::Error>(reply);
                }
            }
        };
        if let Ok(reply) = timeout(RESOLVER, answered).await {
            return Ok(reply?);
        }
    }
    Err(format!("the resolver {resolver} does not answer").into())
}
