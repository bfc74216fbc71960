//! DNS over HTTPS on HTTP/3 (RFC 8484, RFC 9114).

use std::{sync::Arc, time::Instant};

use bytes::{Buf, Bytes};
use h3::server::RequestStream;
use h3_quinn::BidiStream;
use http::Request;
use tokio::time::timeout;

use super::{
    doh::{self, Counted, Refusal},
    stream::Connection,
};
use crate::{plugin::Origin, plugins::trace::parent, wire::MAX_MESSAGE};

/// Octets of the longest list of header fields.
const MAX_HEAD: u64 = 16 << 10;

/// Serves HTTP/3 on connections that were accepted.
#[derive(Clone)]
pub struct Https3 {
    /// Counts responses by status.
    pub counted: Counted,
}

type Stream = RequestStream<BidiStream<Bytes>, Bytes>;

impl Https3 {
    /// Serves a connection until its end.
    pub async fn serve(&self, quic: quinn::Connection, connection: Arc<Connection>) {
        let quic = h3_quinn::Connection::new(quic);
        let mut builder = h3::server::builder();
        let built = builder.max_field_section_size(MAX_HEAD).build::<_, Bytes>(quic).await;
        let mut http = match built {
            Ok(http) => http,
            Err(error) => return tracing::debug!(%error, "starting HTTP/3"),
        };
        loop {
            let accepted = tokio::select! {
                accepted = http.accept() => accepted,
                () = connection.stop.cancelled() => break,
            };
            match accepted {
                Ok(Some(resolver)) => {
                    let (counted, with) = (self.counted.clone(), Arc::clone(&connection));
                    connection.answering.long.runtime.spawn(async move {
                        let received = Instant::now();
                        let resolved =
                            timeout(with.timeouts.read, resolver.resolve_request()).await;
                        if let Ok(Ok((request, stream))) = resolved {
                            respond(request, stream, received, &counted, &with).await;
                        }
                    });
                }
                Ok(None) => return,
                Err(error) => return tracing::debug!(%error, "serving HTTP/3"),
            }
        }
        // No more requests; those that are there are answered.
        if let Err(error) = http.shutdown(0).await {
            tracing::debug!(%error, "ending HTTP/3");
        }
    }
}

async fn respond(
    request: Request<()>,
    mut stream: Stream,
    received: Instant,
    counted: &Counted,
    connection: &Connection,
) {
    let (head, ()) = request.into_parts();
    let asked = match doh::asked(&head) {
        Ok(doh::Asked::InUri(message)) => Ok(message),
        Ok(doh::Asked::InBody) => {
            match timeout(connection.timeouts.read, body(&mut stream)).await {
                Ok(message) => message,
                Err(_) => Err(Refusal::Unreadable),
            }
        }
        Err(refusal) => Err(refusal),
    };
    let reply = match asked {
        Ok(message) => {
            let Connection { client, local, transport, .. } = connection;
            let parent = parent::of(&head.headers);
            let origin =
                Origin { client: *client, local: *local, transport: *transport, received, parent };
            doh::answer(&connection.answering, &message, origin).await
        }
        Err(refusal) => Err(refusal),
    };
    let (head, body) = doh::response(reply, counted).into_parts();
    let sent = async {
        stream.send_response(http::Response::from_parts(head, ())).await?;
        stream.send_data(body).await?;
        stream.finish().await
    };
    match timeout(connection.timeouts.write, sent).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "writing an HTTP/3 response"),
        Err(_) => tracing::debug!("an HTTP/3 response was not taken in time"),
    }
}

async fn body(stream: &mut Stream) -> Result<Vec<u8>, Refusal> {
    let mut message = Vec::new();
    while let Some(mut part) = stream.recv_data().await.map_err(|_| Refusal::Unreadable)? {
        if message.len() + part.remaining() > MAX_MESSAGE {
            return Err(Refusal::Unreadable);
        }
        while part.has_remaining() {
            let octets = part.chunk().len();
            message.extend_from_slice(part.chunk());
            part.advance(octets);
        }
    }
    Ok(message)
}
