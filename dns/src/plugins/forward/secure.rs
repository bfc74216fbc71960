//! How encrypted upstreams are reached: which transport needs which TLS.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::uri::Authority;
use quinn::{IdleTimeout, TransportConfig, VarInt, crypto::rustls::QuicClientConfig};
use rustls::ClientConfig;
use tokio_rustls::TlsConnector;

use super::{
    config::{Config, Connections},
    https, multiplex, quic,
    remote::Dial,
    stream,
    tls::{self, TlsError},
    upstream::Secure,
};

/// A QUIC connection without a sign of the other side ends after this, if nothing longer is
/// configured; CoreDNS's.
const QUIC_IDLE: Duration = Duration::from_secs(30);
/// The port that a URI of HTTPS leaves out.
const HTTPS: u16 = 443;

/// The way to an upstream whose certificate must have `name`, or its address without one.
///
/// # Errors
/// [`TlsError`].
pub fn dial(
    upstream: SocketAddr,
    over: Secure,
    name: Option<Arc<str>>,
    client: &ClientConfig,
    config: &Config,
) -> Result<Dial, TlsError> {
    let settings = config.connections;
    let server_name = tls::server_name(name.as_deref(), upstream.ip())?;
    let offering = |protocols: &[&[u8]]| {
        let mut client = client.clone();
        client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(client)
    };
    Ok(match over {
        Secure::Tls => {
            let tls = Some((TlsConnector::from(offering(&[])), server_name));
            Dial::Tls(stream::Dial { upstream, tls, settings })
        }
        Secure::Https => {
            let authority = authority(name.as_deref(), upstream)?;
            let identity = (TlsConnector::from(offering(&https::PROTOCOLS)), server_name);
            let method = config.doh_method;
            let dial = https::Dial { upstream, identity, settings, method, authority };
            Dial::Multiplex(multiplex::Dial::Https(dial))
        }
        Secure::Quic => {
            let crypto = QuicClientConfig::try_from(offering(&[quic::PROTOCOL]))?;
            let mut client = quinn::ClientConfig::new(Arc::new(crypto));
            client.transport_config(Arc::new(transport(&settings)));
            let name = name.map_or_else(|| upstream.ip().to_string(), |name| name.to_string());
            Dial::Multiplex(multiplex::Dial::Quic(quic::Dial { upstream, client, name, settings }))
        }
    })
}

/// Host and port of a URI: the name that the certificate must have, else the address.
fn authority(name: Option<&str>, upstream: SocketAddr) -> Result<Arc<str>, TlsError> {
    let address = name.map_or(Ok(upstream.ip()), str::parse);
    let mut host = match (address, name) {
        (Ok(IpAddr::V6(address)), _) => format!("[{address}]"),
        (Ok(IpAddr::V4(address)), _) => address.to_string(),
        (Err(_), name) => name.unwrap_or_default().to_owned(),
    };
    if upstream.port() != HTTPS {
        host += &format!(":{}", upstream.port());
    }
    match Authority::try_from(host.as_str()) {
        Ok(_) => Ok(host.into()),
        Err(_) => Err(TlsError::Name(name.unwrap_or_default().to_owned())),
    }
}

fn transport(settings: &Connections) -> TransportConfig {
    let idle = settings.expire.max(settings.read_timeout).max(QUIC_IDLE);
    let mut transport = TransportConfig::default();
    transport
        // Beyond what a variable-length integer holds there is no bound.
        .max_idle_timeout(IdleTimeout::try_from(idle).ok())
        // The upstream has nothing to begin.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0));
    transport
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_has_the_name_of_the_certificate_or_the_address() {
        for (name, upstream, want) in [
            (None, "9.9.9.9:443", Some("9.9.9.9")),
            (None, "[2001:db8::1]:8443", Some("[2001:db8::1]:8443")),
            (Some("dns.example"), "9.9.9.9:443", Some("dns.example")),
            (Some("dns.example"), "9.9.9.9:8443", Some("dns.example:8443")),
            (Some("2001:db8::1"), "9.9.9.9:443", Some("[2001:db8::1]")),
            (Some("a b"), "9.9.9.9:443", None),
            (Some("a/b"), "9.9.9.9:443", None),
        ] {
            let authority = authority(name, upstream.parse().unwrap()).ok();
            assert_eq!(authority.as_deref(), want, "{name:?} {upstream}");
        }
    }
}
