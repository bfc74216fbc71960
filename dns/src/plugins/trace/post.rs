//! One request over HTTP/1.1 with a body, on a connection of its own.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{corefile::values::Host, plugins::tls::trust::Trust};

/// A request takes no longer, its connection included; as in CoreDNS.
const PATIENCE: Duration = Duration::from_secs(5);
/// Octets of a response that are read; nobody looks at them.
const MOST: usize = 64 << 10;

/// Where requests go.
pub(super) struct Target {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, Trust)>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Target {
    /// The endpoint at `uri`, over TLS if that says `https`.
    ///
    /// # Errors
    /// In words for people.
    pub(super) fn new(uri: &Uri) -> Result<Self, String> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let encrypted = uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let tls = match encrypted {
            false => None,
            true => {
                let named = host.parse().map_or_else(|_| Host::Name(host.into()), Host::Ip);
                let no_name = || format!("`{host}` can have no certificate");
                let trust = Trust::new(&named, true).ok_or_else(no_name)?;
                Some((trust.connector()?, trust))
            }
        };
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        Ok(Target { uri: uri.clone(), host: host.to_owned(), port, tls })
    }

    /// Sends one request.
    ///
    /// # Errors
    /// In words for people: no response came.
    pub(super) async fn post(
        &self,
        content: &'static str,
        fields: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<StatusCode, String> {
        let asked = timeout(PATIENCE, self.ask(content, fields, body));
        asked.await.unwrap_or_else(|_| Err("no response in time".to_owned()))
    }

    async fn ask(
        &self,
        content: &'static str,
        fields: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<StatusCode, String> {
        let stream = self.connect().await.map_err(|error| error.to_string())?;
        let failed = |error: hyper::Error| error.to_string();
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::post(path)
            .header(header::HOST, authority)
            .header(header::USER_AGENT, concat!("daymark/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, content)
            .header(header::CONNECTION, "close");
        for (name, value) in fields {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| error.to_string())?;
        let exchange = async move {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status();
            // What it says besides matters to nobody, but a server may wait until it is read.
            drop(Limited::new(response.into_body(), MOST).collect().await);
            Ok(status)
        };
        // The connection ends with its response, or has nothing more to say than the exchange.
        let (outcome, _) = futures::join!(exchange, connection);
        outcome
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((tls, trust)) => Box::new(tls.connect(trust.name.clone(), stream).await?),
        })
    }
}
