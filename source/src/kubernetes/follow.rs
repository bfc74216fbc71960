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

use std::{sync::Arc, time::Duration};

use daymark_cluster::{Event, Kind};
use futures::{AsyncBufReadExt, FutureExt};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, error, info, warn};

use super::{
    Backoff,
    api::{Api, Ask, Body},
    error::ApiError,
    lines::{Line, Lines},
    observe::Restart,
    page::{ListMeta, Page, Piece},
    sink::{Change, During, Sink},
};
use crate::status::Board;

/// Most events of a watch applied at once.
const WATCH_BATCH: usize = 512;
/// Events of a list applied at once: each batch copies what it touches of the snapshot.
const LIST_BATCH: usize = 4096;
/// Objects asked for in a page.
const PAGE: usize = 500;
/// Between tries that only a person can help, at most.
const SLOW: Duration = Duration::from_secs(10);
/// So often in a row an API that is behind what we hold is asked to catch up, before its history is
/// believed to have gone back (a restored backup).
const PATIENT_TRIES: u32 = 20;

/// Where a kind lives in the API.
pub(super) struct Path {
    /// API group; empty for the core.
    pub(super) group: &'static str,
    list: &'static str,
    /// Further query, beginning with `&`.
    filter: &'static str,
}

/// Where `kind` lives.
pub(super) fn path(kind: Kind) -> Path {
    let (group, list) = match kind {
        Kind::Service => ("", "/api/v1/services"),
        Kind::EndpointSlice => ("discovery.k8s.io", "/apis/discovery.k8s.io/v1/endpointslices"),
        Kind::Namespace => ("", "/api/v1/namespaces"),
        Kind::Pod => ("", "/api/v1/pods"),
        Kind::ServiceImport => {
            ("multicluster.x-k8s.io", "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports")
        }
        Kind::Node => ("", "/api/v1/nodes"),
    };
    let filter = match kind {
        Kind::Pod => {
            "&fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed%2C\
             status.phase%21%3DUnknown"
        }
        _ => "",
    };
    Path { group, list, filter }
}

/// The task of one kind.
pub(super) struct Follower {
    kind: Kind,
    api: Arc<Api>,
    sink: Arc<Sink>,
    board: Arc<Board>,
    backoff: Backoff,
    silence: Duration,
    /// Highest version seen; 0 before the first list.
    held: u64,
    /// Whether a watch can go on from `held`.
    listed: bool,
    /// Whether the coming list may be older than `held`.
    amnesty: bool,
    behind: u32,
    /// Waits since the last success.
    tries: u32,
}

/// How a stream's events count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Those of a streaming list, until its bookmark.
    Initial,
    Live,
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
            tries: 0,
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
                self.paged_list().await
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
        let body = self.ask(Ask::Watch, &uri).await?;
        let outcome = self.stream(body, Phase::Live).await;
        self.restarted(&outcome);
        outcome
    }

    /// Lists by a watch that begins with everything (KEP-3157), then follows on the same stream.
    async fn streaming_list(&mut self) -> Result<(), ApiError> {
        let Path { list, filter, .. } = path(self.kind);
        let uri = format!(
            "{list}?watch=1&allowWatchBookmarks=true&sendInitialEvents=true\
             &resourceVersionMatch=NotOlderThan{}{filter}",
            self.floor()
        );
        let body = match self.ask(Ask::Watch, &uri).await {
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
        let outcome = self.stream(body, Phase::Initial).await;
        if self.listed {
            self.restarted(&outcome);
        }
        outcome
    }

    /// The oldest version that a list may have, as a query.
    fn floor(&self) -> String {
        if self.held == 0 || self.amnesty {
            // Unset means the most recent: read from etcd by quorum, so never stale.
            String::new()
        } else {
            format!("&resourceVersion={}", self.held)
        }
    }

    async fn ask(&self, ask: Ask, uri: &str) -> Result<Body, ApiError> {
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

    async fn stream(&mut self, mut body: Body, mut phase: Phase) -> Result<(), ApiError> {
        let mut lines = Lines::default();
        let mut batch = Vec::new();
        if phase == Phase::Initial {
            batch.push(Event::ListStart(self.kind));
        }
        let mut deadline = Instant::now() + self.silence;
        loop {
            let mut more = true;
            let mut read = timeout_at(deadline, body.fill_buf()).await;
            let mut failed = None;
            let full = |phase| if phase == Phase::Live { WATCH_BATCH } else { LIST_BATCH };
            // Whatever is there by now goes into one batch.
            while more {
                let length = match read {
                    Err(_) => {
                        failed = Some(ApiError::Silent { endpoint: self.endpoint() });
                        break;
                    }
                    Ok(Err(error)) => {
                        let cause = error.to_string();
                        failed = Some(ApiError::Broken { endpoint: self.endpoint(), cause });
                        break;
                    }
                    Ok(Ok([])) => {
                        self.flush(&mut batch);
                        return match phase {
                            Phase::Live => Ok(()),
                            Phase::Initial => Err(ApiError::Broken {
                                endpoint: self.endpoint(),
                                cause: "it ended before the list did".into(),
                            }),
                        };
                    }
                    Ok(Ok(bytes)) => {
                        lines.feed(bytes, |line| {
                            if failed.is_none() {
                                match self.line(line, &mut phase, &mut batch) {
                                    Ok(true) => deadline = Instant::now() + self.silence,
                                    Ok(false) => {}
                                    Err(error) => failed = Some(error),
                                }
                            }
                        });
                        bytes.len()
                    }
                };
                body.as_mut().consume(length);
                more = failed.is_none() && batch.len() < full(phase);
                match body.fill_buf().now_or_never() {
                    Some(next) if more => read = Ok(next),
                    _ => break,
                }
            }
            // What is left of a list that failed is of no use; changes before a failure are.
            if phase == Phase::Live || (batch.len() >= LIST_BATCH && failed.is_none()) {
                self.flush(&mut batch);
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }

    /// Takes a line over into the batch. Whether it proves that the stream is alive and current.
    fn line(
        &mut self,
        line: Line<'_>,
        phase: &mut Phase,
        batch: &mut Vec<Event>,
    ) -> Result<bool, ApiError> {
        let Line::Whole(line) = line else {
            self.too_long();
            return Ok(true);
        };
        let during = if *phase == Phase::Initial { During::List } else { During::Watch };
        match self.sink.change(self.kind, line, during) {
            Ok(Change::Event { event, version }) => {
                batch.extend(event.map(|event| self.pardoned(event, *phase)));
                if *phase == Phase::Live {
                    self.held = self.held.max(version);
                    self.progress();
                }
                Ok(true)
            }
            Ok(Change::Bookmark { version, ends_list }) => {
                if *phase == Phase::Initial && ends_list {
                    self.accept(version)?;
                    batch.push(Event::ListDone(self.kind));
                    *phase = Phase::Live;
                    self.finished();
                } else if version < self.held {
                    // From a server that is behind: no proof of anything.
                    return Ok(*phase == Phase::Initial);
                } else if *phase == Phase::Live {
                    self.held = version;
                    self.progress();
                }
                Ok(true)
            }
            Ok(Change::Error(status)) => Err(ApiError::status(
                status.code,
                &status.reason,
                status.message,
                self.api.endpoint(),
                self.kind,
            )),
            Err(error) => {
                let cause = format!("{} ({})", error, self.kind.plural());
                Err(ApiError::Garbled { endpoint: self.endpoint(), cause })
            }
        }
    }

    /// Lists in pages.
    async fn paged_list(&mut self) -> Result<(), ApiError> {
        let Path { list, filter, .. } = path(self.kind);
        let mut batch = vec![Event::ListStart(self.kind)];
        let mut version = None;
        let mut from = match self.floor() {
            floor if floor.is_empty() => floor,
            floor => format!("{floor}&resourceVersionMatch=NotOlderThan"),
        };
        loop {
            let uri = format!("{list}?limit={PAGE}{from}{filter}");
            let body = self.ask(Ask::List, &uri).await?;
            let metadata = self.page(body, &mut batch, &mut version).await?;
            if metadata.r#continue.is_empty() {
                break;
            }
            from = format!("&continue={}", escape(&metadata.r#continue));
        }
        self.accept(version.unwrap_or(0))?;
        batch.push(Event::ListDone(self.kind));
        self.flush(&mut batch);
        self.finished();
        Ok(())
    }

    /// Takes one page over. `version` is the list's, once known.
    async fn page(
        &mut self,
        mut body: Body,
        batch: &mut Vec<Event>,
        version: &mut Option<u64>,
    ) -> Result<ListMeta, ApiError> {
        let (mut page, mut metadata) = (Page::new(), None);
        loop {
            let deadline = Instant::now() + self.silence;
            let bytes = match timeout_at(deadline, body.fill_buf()).await {
                Err(_) => return Err(ApiError::Silent { endpoint: self.endpoint() }),
                Ok(Err(error)) => {
                    let (endpoint, cause) = (self.endpoint(), error.to_string());
                    return Err(ApiError::Broken { endpoint, cause });
                }
                Ok(Ok(bytes)) => bytes,
            };
            if bytes.is_empty() {
                break;
            }
            page.feed(bytes, |piece| {
                match piece {
                    Piece::Metadata(found) => {
                        if version.is_none() {
                            let found = found.resource_version.parse().unwrap_or(0);
                            self.current(found)?;
                            *version = Some(found);
                        }
                        metadata = Some(found);
                    }
                    Piece::Item(item) => match self.sink.item(self.kind, item) {
                        Ok(event) => {
                            batch.extend(event.map(|event| self.pardoned(event, Phase::Initial)));
                        }
                        Err(error) => {
                            let cause = format!("{} ({})", error, self.kind.plural());
                            return Err(ApiError::Garbled { endpoint: self.endpoint(), cause });
                        }
                    },
                    Piece::TooLong => self.too_long(),
                }
                Ok(())
            })?;
            let length = bytes.len();
            body.as_mut().consume(length);
            // A list of unknown age waits: an old one must not bring back what is gone.
            if batch.len() >= LIST_BATCH && version.is_some() {
                self.flush(batch);
            }
        }
        match metadata {
            Some(metadata) if page.complete() => Ok(metadata),
            _ => Err(ApiError::Broken {
                endpoint: self.endpoint(),
                cause: "it ended before the list did".into(),
            }),
        }
    }

    /// Whether a list of this version may replace what is held.
    fn current(&self, version: u64) -> Result<(), ApiError> {
        if version >= self.held || self.amnesty {
            return Ok(());
        }
        Err(ApiError::Behind { endpoint: self.endpoint(), held: self.held, got: Some(version) })
    }

    fn accept(&mut self, version: u64) -> Result<(), ApiError> {
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
    fn pardoned(&self, event: Event, phase: Phase) -> Event {
        match event {
            Event::Apply { object, .. } if self.amnesty && phase == Phase::Initial => {
                Event::Apply { object, version: 0 }
            }
            event => event,
        }
    }

    /// A list is complete.
    fn finished(&mut self) {
        // Without a version there is nothing to go on from; the next round lists again.
        self.listed = self.held != 0;
        self.amnesty = false;
        self.behind = 0;
        self.api.observer.listed(self.kind);
        self.progress();
    }

    fn progress(&mut self) {
        self.tries = 0;
        if self.board.fine(Some(self.kind)) {
            info!(kind = self.kind.plural(), endpoint = self.api.endpoint(), "followed again");
        }
    }

    fn flush(&self, batch: &mut Vec<Event>) {
        let changes = batch
            .iter()
            .filter(|event| matches!(event, Event::Apply { .. } | Event::Delete { .. }));
        self.api.observer.changed(self.kind, changes.count());
        self.sink.apply(batch);
        if self.listed {
            self.sink.confirm();
        }
    }

    fn restarted(&self, outcome: &Result<(), ApiError>) {
        let why = match outcome {
            Ok(()) => Restart::Ended,
            Err(ApiError::Silent { .. }) => Restart::Silent,
            Err(_) => Restart::Broken,
        };
        self.api.observer.restarted(self.kind, why);
    }

    fn too_long(&self) {
        warn!(kind = self.kind.plural(), "an object of more than 4 MiB is passed over");
    }

    /// Says what is new about an error, and waits before the next try.
    async fn recover(&mut self, error: ApiError) {
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
            _ => {}
        }
        if error.is_routine() {
            debug!(kind = self.kind.plural(), %error, "starting anew");
        } else {
            let concerns = (!error.concerns_endpoint()).then_some(self.kind);
            let remedy = error.remedy();
            if self.board.trouble(concerns, format!("{error}; {remedy}")) {
                error!(kind = self.kind.plural(), help = remedy, "{error}");
            }
        }
        tokio::time::sleep(self.pause(&error)).await;
    }

    fn pause(&mut self, error: &ApiError) -> Duration {
        let first = self.tries == 0;
        if first && matches!(error, ApiError::Silent { .. } | ApiError::Expired) {
            self.tries = 1;
            return Duration::ZERO;
        }
        let most =
            if error.needs_a_person() { self.backoff.max.max(SLOW) } else { self.backoff.max };
        let wait = self.backoff.min.saturating_mul(1 << self.tries.min(16)).min(most);
        self.tries = self.tries.saturating_add(1);
        wait.mul_f64(rand::random_range(0.5..=1.0))
    }

    fn endpoint(&self) -> String {
        self.api.endpoint().to_owned()
    }
}

/// A continue token for a query: base64 may hold what a query may not.
fn escape(token: &str) -> String {
    let mut escaped = String::with_capacity(token.len());
    for byte in token.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
