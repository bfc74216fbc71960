//! Spans on their way: kept for a moment, sent together, dropped where there are too many.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{config::Batches, span::Span};
use crate::server::outbox::Outbox;

/// Drops are logged no more often than this.
const TELL: Duration = Duration::from_secs(10);
/// After a failure to send, the next try is no earlier.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of spans that were sent.
pub(super) enum Sent {
    /// They arrived.
    Taken,
    /// The endpoint has them and does not want them.
    Refused(String),
    /// The endpoint can't be reached.
    Failed(String),
}

/// Sends spans.
pub(super) trait Sender: Send + Sync {
    /// Sends these together.
    fn send<'a>(&'a self, spans: &'a [Span]) -> BoxFuture<'a, Sent>;
}

/// Where spans wait.
pub(super) struct Reporter {
    batches: Batches,
    waiting: Mutex<Waiting>,
    /// A batch is full.
    full: Notify,
    end: CancellationToken,
    done: CancellationToken,
    pub(super) lost: IntCounter,
}

#[derive(Default)]
struct Waiting {
    spans: VecDeque<Span>,
    closed: bool,
    dropped: usize,
    told: Option<Instant>,
}

impl Reporter {
    pub(super) fn new(batches: Batches, lost: IntCounter) -> Arc<Self> {
        Arc::new(Reporter {
            batches,
            waiting: Mutex::default(),
            full: Notify::new(),
            end: CancellationToken::new(),
            done: CancellationToken::new(),
            lost,
        })
    }

    /// Takes a span; if there are too many, the oldest goes.
    pub(super) fn report(&self, span: Span) {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            drop(waiting);
            return self.lost.inc();
        }
        waiting.spans.push_back(span);
        self.trim(&mut waiting);
        let full = waiting.spans.len() >= self.batches.size;
        drop(waiting);
        if full {
            self.full.notify_one();
        }
    }

    /// Sends what comes, until closed and empty.
    pub(super) async fn run(self: Arc<Self>, sender: impl Sender) {
        let _done = self.done.clone().drop_guard();
        let mut away = false;
        loop {
            let closed = tokio::select! {
                () = self.end.cancelled() => true,
                () = sleep(self.batches.interval.max(PAUSE)), if away => false,
                () = sleep(self.batches.interval), if !away => false,
                () = self.full.notified(), if !away => false,
            };
            let spans: Vec<Span> = self.waiting.lock().spans.drain(..).collect();
            if !spans.is_empty() {
                away = self.send(spans, &sender, away).await;
            }
            if closed {
                let left = self.waiting.lock().spans.len();
                return self.lost.inc_by(left as u64);
            }
        }
    }

    /// Tells whether the endpoint is away. What it did not get waits for the next time.
    async fn send(&self, spans: Vec<Span>, sender: &impl Sender, was_away: bool) -> bool {
        match sender.send(&spans).await {
            Sent::Taken => false,
            Sent::Refused(what) => {
                tracing::warn!(target: "plugin/trace", "{what}");
                self.lost.inc_by(spans.len() as u64);
                false
            }
            Sent::Failed(what) => {
                // Once for each time that it is away.
                if !was_away {
                    tracing::warn!(target: "plugin/trace", "failed to send the request: {what}");
                }
                let mut waiting = self.waiting.lock();
                spans.into_iter().rev().for_each(|span| waiting.spans.push_front(span));
                self.trim(&mut waiting);
                true
            }
        }
    }

    fn trim(&self, waiting: &mut Waiting) {
        let surplus = waiting.spans.len().saturating_sub(self.batches.backlog);
        if surplus == 0 {
            return;
        }
        waiting.spans.drain(..surplus);
        waiting.dropped += surplus;
        self.lost.inc_by(surplus as u64);
        if waiting.told.is_none_or(|told| told.elapsed() >= TELL) {
            waiting.told = Some(Instant::now());
            let dropped = std::mem::take(&mut waiting.dropped);
            tracing::warn!(target: "plugin/trace", "backlog too long, disposing {dropped} spans");
        }
    }

    /// Takes no more; what waits is sent.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.end.cancel();
    }
}

/// A reporter that is closed when a configuration goes.
pub(super) struct Held(pub(super) Arc<Reporter>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Outbox for Held {
    fn finish(&self) -> BoxFuture<'_, ()> {
        self.0.close();
        Box::pin(self.0.done.cancelled())
    }
}
