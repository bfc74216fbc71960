//! Follows one kind of object: list, then watch, over and over, never back in time.
//!
//! ```text
//!          ┌────────── 410, or nothing held ──────────┐
//!          ▼                                          │
//!   list (streaming, else paged) ──complete──▶ watch from version ──┐
//!          ▲   │                                 ▲    │             │
//!          └───┘ error: wait, again              └────┘ ended, broken, silent: again from
//!                                                       the last version seen
//! ```

use std::{fmt::Display, sync::Arc, time::Duration};

use daymark_cluster::{Event, Kind};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::{
    Backoff,
    api::{Answer, Api, Ask},
    encoding::Status,
    error::ApiError,
    observe::Restart,
    paging::Paging,
    path::{Path, path},
    sink::Sink,
    stream::{Phase, Stream},
};
use crate::status::Board;

/// Between tries that only a person can help, at most.
const SLOW: Duration = Duration::from_secs(10);
/// A stream that ended sooner is not begun anew at once, lest a server that ends all is flooded.
const BRIEF: Duration = Duration::from_secs(1);
/// So often in a row an API that is behind what we hold is asked to catch up, before its history is
/// believed to have gone back (a restored backup).
const PATIENT_TRIES: u32 = 20;

/// The task of one kind.
pub(super) struct Follower {
    pub(super) kind: Kind,
    api: Arc<Api>,
    pub(super) sink: Arc<Sink>,
    board: Arc<Board>,
    backoff: Backoff,
    pub(super) silence: Duration,
    /// Highest version seen; 0 before the first list.
    pub(super) held: u64,
    /// Whether a watch can go on from `held`.
    listed: bool,
    /// Whether the coming list may be older than `held`.
    amnesty: bool,
    behind: u32,
    /// Watches in a row that told nothing.
    silent: u32,
    /// Waits since the last success.
    tries: u32,
    /// When a watch or list was last begun anew without a wait.
    eager: Option<Instant>,
}

impl Follower {
    pub(super) fn new(
        kind: Kind,
        api: Arc<Api>,
        sink: Arc<Sink>,
        board: Arc<Board>,
        backoff: Backoff,
        silence: Duration,
    ) -> Self {
        Follower {
            kind,
            api,
            sink,
            board,
            backoff,
            silence,
            held: 0,
            listed: false,
            amnesty: false,
            behind: 0,
            silent: 0,
            tries: 0,
            eager: None,
        }
    }

    /// Follows until the task is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let outcome = if self.listed {
                self.watch().await
            } else if self.api.streams_lists() {
                self.streaming_list().await
            } else {
                Paging::new(&mut self).run().await
            };
            if let Err(error) = outcome {
                self.recover(error).await;
            }
        }
    }

    /// Follows changes from `held` until the stream ends.
    async fn watch(&mut self) -> Result<(), ApiError> {
        let Path { list, filter, .. } = path(self.kind);
        let uri = format!(
            "{list}?watch=1&allowWatchBookmarks=true&resourceVersion={}{filter}",
            self.held
        );
        let answer = self.ask(Ask::Watch, &uri).await?;
        self.stream(answer, Phase::Live).await
    }

    /// Lists by a watch that begins with everything (KEP-3157), then follows on the same stream.
    async fn streaming_list(&mut self) -> Result<(), ApiError> {
        let Path { list, filter, .. } = path(self.kind);
        let uri = format!(
            "{list}?watch=1&allowWatchBookmarks=true&sendInitialEvents=true\
             &resourceVersionMatch=NotOlderThan{}{filter}",
            self.floor()
        );
        let answer = match self.ask(Ask::Watch, &uri).await {
            Err(ApiError::Rejected { message, .. }) => {
                if self.api.stop_streaming_lists() {
                    info!(
                        endpoint = self.api.endpoint(),
                        reason = message,
                        "the API knows no streaming lists; listing in pages from now on"
                    );
                }
                return Ok(());
            }
            outcome => outcome?,
        };
        self.stream(answer, Phase::Initial).await
    }

    async fn stream(&mut self, answer: Answer, phase: Phase) -> Result<(), ApiError> {
        let began = Instant::now();
        let outcome = Stream::new(self, phase).follow(answer).await;
        if self.listed {
            let why = match &outcome {
                Ok(()) => Restart::Ended,
                Err(ApiError::Silent { .. }) => Restart::Silent,
                Err(_) => Restart::Broken,
            };
            self.api.observer.restarted(self.kind, why);
        }
        if outcome.is_ok() && began.elapsed() < BRIEF {
            let pause = self.pause(self.backoff.max);
            tokio::time::sleep(pause).await;
        }
        outcome
    }

    /// The oldest version that a list may have, as a query.
    pub(super) fn floor(&self) -> String {
        if self.held == 0 || self.amnesty {
            // Unset means the most recent: read from etcd by quorum, so never stale.
            String::new()
        } else {
            format!("&resourceVersion={}", self.held)
        }
    }

    pub(super) async fn ask(&self, ask: Ask, uri: &str) -> Result<Answer, ApiError> {
        let outcome = self.api.get(self.kind, ask, uri).await;
        let answered = !matches!(
            outcome,
            Err(ApiError::Unreachable { .. }
                | ApiError::Unauthorized { .. }
                | ApiError::Silent { .. })
        );
        if answered && self.board.fine(None) {
            info!(endpoint = self.api.endpoint(), "the API answers again");
        }
        outcome
    }

    /// Whether a list of this version may replace what is held.
    pub(super) fn current(&self, version: u64) -> Result<(), ApiError> {
        if version >= self.held || self.amnesty {
            return Ok(());
        }
        Err(ApiError::Behind { endpoint: self.endpoint() })
    }

    pub(super) fn accept(&mut self, version: u64) -> Result<(), ApiError> {
        self.current(version)?;
        if version < self.held {
            warn!(
                kind = self.kind.plural(),
                held = self.held,
                version,
                "the API's history went back, as after restoring a backup: its state is taken over"
            );
        }
        self.held = version;
        Ok(())
    }

    /// After the API's history went back, its lower versions must count.
    pub(super) fn pardoned(&self, event: Event, phase: Phase) -> Event {
        match event {
            Event::Apply { object, .. } if self.amnesty && phase == Phase::Initial => {
                Event::Apply { object, version: 0 }
            }
            event => event,
        }
    }

    /// A list is complete.
    pub(super) fn finished(&mut self) {
        // Without a version there is nothing to go on from; the next round lists again.
        self.listed = self.held != 0;
        self.amnesty = false;
        self.behind = 0;
        self.api.observer.listed(self.kind);
        self.progress();
    }

    /// A change, or all changes up to this version, came.
    pub(super) fn seen(&mut self, version: u64) {
        self.held = self.held.max(version);
        self.progress();
    }

    fn progress(&mut self) {
        self.tries = 0;
        self.silent = 0;
        if self.board.fine(Some(self.kind)) {
            info!(kind = self.kind.plural(), endpoint = self.api.endpoint(), "followed again");
        }
    }

    /// Applies a batch; `proven` if it proves that the data is current.
    pub(super) fn flush(&self, batch: &mut Vec<Event>, proven: bool) {
        let changes = batch
            .iter()
            .filter(|event| matches!(event, Event::Apply { .. } | Event::Delete { .. }));
        self.api.observer.changed(self.kind, changes.count());
        self.sink.apply(batch);
        if proven {
            self.sink.confirm();
        }
    }

    pub(super) fn too_long(&self) {
        warn!(kind = self.kind.plural(), "an object of more than 4 MiB is passed over");
    }

    /// Says what is new about an error, and waits before the next try.
    async fn recover(&mut self, error: ApiError) {
        self.sink.apply(&mut vec![Event::ListFailed(self.kind)]);
        match &error {
            ApiError::Expired => self.listed = false,
            ApiError::Unknown { .. } if self.held == 0 && self.kind == Kind::ServiceImport => {
                // Without its CRD there are none, and the other kinds must not wait for it.
                let kind = self.kind;
                self.sink.apply(&mut vec![Event::ListStart(kind), Event::ListDone(kind)]);
            }
            ApiError::Behind { .. } => {
                self.behind += 1;
                self.listed = false;
                self.amnesty = self.behind >= PATIENT_TRIES;
            }
            ApiError::Silent { .. } => {
                self.silent += 1;
                // Perhaps it has nothing after our version, because its history went back.
                self.listed &= self.silent < 2;
            }
            _ => {}
        }
        let at_once = self.may_go_on_at_once(&error);
        if at_once || (error.is_routine() && self.tries == 0) {
            debug!(kind = self.kind.plural(), %error, "starting anew");
        } else {
            let concerns = (!error.concerns_endpoint()).then_some(self.kind);
            let remedy = error.remedy();
            if self.board.trouble(concerns, format!("{error}; {remedy}")) {
                error!(kind = self.kind.plural(), help = remedy, "{error}");
            }
        }
        let wait = if at_once {
            Duration::ZERO
        } else if error.needs_a_person() {
            self.pause(self.backoff.max.max(SLOW))
        } else {
            self.pause(self.backoff.max)
        };
        tokio::time::sleep(wait).await;
    }

    /// What is no fault of the server needs no wait, now and then: least of all a version that went
    /// while the API was away.
    fn may_go_on_at_once(&mut self, error: &ApiError) -> bool {
        let harmless = match error {
            ApiError::Expired => true,
            ApiError::Silent { .. } => self.tries == 0,
            _ => false,
        };
        let now = Instant::now();
        let recently = self.eager.is_some_and(|last| now.duration_since(last) < BRIEF);
        if !harmless || recently {
            return false;
        }
        self.eager = Some(now);
        // A second silence in a row is worth telling of.
        self.tries = 1;
        true
    }

    fn pause(&mut self, most: Duration) -> Duration {
        let wait = self.backoff.min.saturating_mul(1 << self.tries.min(16)).min(most);
        self.tries = self.tries.saturating_add(1);
        wait.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// The error for a stream that broke off.
    pub(super) fn broken(&self, cause: impl ToString) -> ApiError {
        ApiError::Broken { endpoint: self.endpoint(), cause: cause.to_string() }
    }

    /// The error for what cannot be decoded.
    pub(super) fn garbled(&self, error: &impl Display) -> ApiError {
        let cause = format!("{error} ({})", self.kind.plural());
        ApiError::Garbled { endpoint: self.endpoint(), cause }
    }

    /// The error that a watch ended with.
    pub(super) fn told(&self, status: Status) -> ApiError {
        let Status { code, reason, message } = status;
        ApiError::status(code, &reason, message, self.api.endpoint(), self.kind)
    }

    pub(super) fn endpoint(&self) -> String {
        self.api.endpoint().to_owned()
    }
}
