//! DNS over HTTPS (RFC 8484) on HTTP/1.1 and HTTP/2.

mod records;
mod together;

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::io::{AsyncRead, AsyncWrite};

use self::{
    records::Records,
    together::{Requests, Together},
};
use super::{
    doh::{self, Counted},
    endpoint::Timeouts,
    stream::Connection,
};
use crate::{plugin::Origin, plugins::trace::parent, wire::MAX_MESSAGE};

/// Octets of the longest list of header fields.
const MAX_HEAD: u32 = 16 << 10;

/// Serves HTTP on connections that were accepted.
#[derive(Clone)]
pub struct Https {
    /// Counts responses by status.
    pub counted: Counted,
    /// Requests at once on one connection.
    pub streams: u32,
}

/// What a connection is doing, to tell when it is idle.
struct Activity {
    begun: Instant,
    /// Milliseconds after `begun` at which a request came or was answered last.
    last: AtomicU64,
    under_way: AtomicUsize,
}

impl Https {
    /// Serves a connection until its end. `is_http2` tells what was agreed on (ALPN); `None` if nothing
    /// was.
    pub async fn serve<S>(&self, stream: S, is_http2: Option<bool>, connection: Connection)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Timeouts { read, idle, write, .. } = connection.timeouts;
        let activity = Activity::new();
        let stop = connection.stop.clone();
        let with = Arc::new((connection, self.counted.clone(), Arc::clone(&activity)));
        let service = service_fn(move |request| respond(Arc::clone(&with), request));
        let requests = Requests::default();
        let mut server = auto::Builder::new(requests.clone());
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(read.max(idle))
            .max_buf_size(MAX_HEAD as usize);
        server
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.streams)
            .max_header_list_size(MAX_HEAD);
        let io: Box<dyn Io> = match is_http2 {
            Some(true) => Box::new(Records::new(stream)),
            _ => Box::new(stream),
        };
        let served = server.serve_connection(TokioIo::new(io), service);
        tokio::pin!(served);
        let mut together = Together::new(requests);
        loop {
            let left = activity.left(idle);
            tokio::select! {
                ended = poll_fn(|cx| together.poll(served.as_mut(), cx)) => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "serving HTTPS");
                    }
                    return;
                }
                () = stop.cancelled() => break,
                () = tokio::time::sleep(left.unwrap_or_default()) => {
                    if activity.left(idle).is_none() {
                        break;
                    }
                }
            }
        }
        // What was asked is answered; whoever does not end within the time of a reply is cut off.
        served.as_mut().graceful_shutdown();
        let ended = poll_fn(|cx| together.poll(served.as_mut(), cx));
        if let Ok(Err(error)) = tokio::time::timeout(write, ended).await {
            tracing::debug!(%error, "ending an HTTPS connection");
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A request under way: until it is answered, or its client gives it up.
struct UnderWay(Arc<Activity>);

impl UnderWay {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.under_way.fetch_add(1, Relaxed);
        UnderWay(Arc::clone(activity))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.last.store(self.0.begun.elapsed().as_millis() as u64, Relaxed);
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

impl Activity {
    fn new() -> Arc<Self> {
        Arc::new(Activity {
            begun: Instant::now(),
            last: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
        })
    }

    /// Time until the connection has been idle for `idle`; `None` if it has been.
    fn left(&self, idle: Duration) -> Option<Duration> {
        if self.under_way.load(Relaxed) > 0 {
            return Some(idle);
        }
        let last = Duration::from_millis(self.last.load(Relaxed));
        let left = (last + idle).checked_sub(self.begun.elapsed())?;
        // Not idle for a fraction of a millisecond more.
        (!left.is_zero()).then_some(left.max(Duration::from_millis(1)))
    }
}

async fn respond(
    with: Arc<(Connection, Counted, Arc<Activity>)>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (connection, counted, activity) = &*with;
    let _under_way = UnderWay::begin(activity);
    let received = Instant::now();
    let (head, body) = request.into_parts();
    let asked = match doh::asked(&head) {
        Ok(doh::Asked::InUri(message)) => Ok(message),
        Ok(doh::Asked::InBody) => {
            let body = Limited::new(body, MAX_MESSAGE).collect();
            match tokio::time::timeout(connection.timeouts.read, body).await {
                Ok(Ok(whole)) => Ok(whole.to_bytes().into()),
                _ => Err(doh::Refusal::Unreadable),
            }
        }
        Err(refusal) => Err(refusal),
    };
    let response = match asked {
        Ok(message) => {
            let Connection { client, local, transport, .. } = connection;
            let parent = parent::of(&head.headers);
            let origin =
                Origin { client: *client, local: *local, transport: *transport, received, parent };
            doh::answer(&connection.answering, &message, origin).await
        }
        Err(refusal) => Err(refusal),
    };
    Ok(doh::response(response, counted).map(Full::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_once_its_requests_are_answered_or_given_up() {
        let (activity, long) = (Activity::new(), Duration::from_secs(60));
        let request = UnderWay::begin(&activity);
        assert_eq!(activity.left(Duration::ZERO), Some(Duration::ZERO), "it has work");
        drop(request);
        assert_eq!(activity.left(Duration::ZERO), None);
        assert!(activity.left(long).is_some_and(|left| left <= long));
    }
}
