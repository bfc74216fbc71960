//! The requests of an HTTP/2 connection, run by the connection's own task.
//!
//! Most are answered at once. A task for each would cost more than the answer, and its response would
//! be written whenever that task got to it: headers and body apart, each response for itself.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hyper::rt::Executor;
use parking_lot::Mutex;

/// Takes the requests in. They run when the connection is polled through [`Together::poll`].
#[derive(Clone, Default)]
pub(super) struct Requests(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Requests {
    fn execute(&self, request: F) {
        self.0.lock().push(request.boxed());
    }
}

/// A connection with the requests that run in its task.
pub(super) struct Together {
    requests: Requests,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Together {
    pub(super) fn new(requests: Requests) -> Self {
        Together { requests, running: FuturesUnordered::new() }
    }

    /// Polls the connection and its requests until none of them gets any further.
    pub(super) fn poll<C: Future>(
        &mut self,
        mut connection: Pin<&mut C>,
        cx: &mut Context<'_>,
    ) -> Poll<C::Output> {
        loop {
            if let Poll::Ready(output) = connection.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            self.running.extend(self.requests.0.lock().drain(..));
            let mut further = false;
            while let Poll::Ready(Some(())) = self.running.poll_next_unpin(cx) {
                further = true;
            }
            if !further {
                return Poll::Pending;
            }
        }
    }
}
