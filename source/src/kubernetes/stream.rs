//! One stream of a watch: from bytes to batches in the store.

use daymark_cluster::Event;
use futures::{AsyncBufReadExt, FutureExt};
use tokio::time::{Instant, timeout_at};

use super::{
    api::Answer,
    encoding::{Encoding, Message, Splitter},
    error::ApiError,
    follow::Follower,
    sink::{Change, During},
};

/// Most events of a watch applied at once.
const WATCH_BATCH: usize = 512;
/// Events of a list applied at once: each batch copies what it touches of the snapshot.
pub(super) const LIST_BATCH: usize = 4096;

/// How a stream's events count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Those of a streaming list, until its bookmark.
    Initial,
    /// Changes.
    Live,
}

/// What is read of a stream and not yet in the store.
pub(super) struct Stream<'a> {
    follower: &'a mut Follower,
    phase: Phase,
    batch: Vec<Event>,
    /// Whether something came that proves the stream alive and current.
    proven: bool,
    /// When the stream counts as silent.
    deadline: Instant,
}

impl<'a> Stream<'a> {
    pub(super) fn new(follower: &'a mut Follower, phase: Phase) -> Self {
        if phase == Phase::Initial {
            // At once: who follows the store is to know that more is to come.
            follower.sink.apply(&mut vec![Event::ListStart(follower.kind)]);
        }
        let deadline = Instant::now() + follower.silence;
        Stream { follower, phase, batch: Vec::new(), proven: false, deadline }
    }

    /// Follows `answer` until it ends.
    pub(super) async fn follow(mut self, answer: Answer) -> Result<(), ApiError> {
        let Answer { encoding, mut body } = answer;
        let mut splitter = Splitter::new(encoding);
        loop {
            let mut next = timeout_at(self.deadline, body.fill_buf()).await;
            // Whatever is there by now goes into one batch.
            let outcome = loop {
                let length = match next {
                    Err(_) => break Err(ApiError::Silent { endpoint: self.follower.endpoint() }),
                    Ok(Err(error)) => break Err(self.follower.broken(error)),
                    Ok(Ok([])) => break Ok(Flow::Ended),
                    Ok(Ok(bytes)) => match self.take(encoding, &mut splitter, bytes) {
                        Ok(()) => bytes.len(),
                        Err(error) => break Err(error),
                    },
                };
                body.as_mut().consume(length);
                if self.batch.len() >= self.most() {
                    break Ok(Flow::Open);
                }
                match body.fill_buf().now_or_never() {
                    Some(ready) => next = Ok(ready),
                    None => break Ok(Flow::Open),
                }
            };
            // What is left of a list that failed is of no use; changes before a failure are.
            if self.phase == Phase::Live || (outcome.is_ok() && self.batch.len() >= LIST_BATCH) {
                self.follower.flush(&mut self.batch, std::mem::take(&mut self.proven));
                if self.phase == Phase::Live {
                    // A list's batch is larger than any of the changes that follow for hours.
                    self.batch.shrink_to(WATCH_BATCH);
                }
            }
            match outcome? {
                Flow::Open => {}
                Flow::Ended if self.phase == Phase::Live => return Ok(()),
                Flow::Ended => return Err(self.follower.broken("it ended before the list did")),
            }
        }
    }

    fn most(&self) -> usize {
        if self.phase == Phase::Live { WATCH_BATCH } else { LIST_BATCH }
    }

    fn take(
        &mut self,
        encoding: Encoding,
        splitter: &mut Splitter,
        bytes: &[u8],
    ) -> Result<(), ApiError> {
        let mut outcome = Ok(());
        let split = splitter.feed(bytes, |message| {
            if outcome.is_ok() {
                outcome = self.message(encoding, message);
            }
        });
        outcome.and(split.map_err(|error| self.follower.garbled(&error)))
    }

    fn message(&mut self, encoding: Encoding, message: Message<'_>) -> Result<(), ApiError> {
        let Message::Whole(message) = message else {
            self.follower.too_long();
            self.prove();
            return Ok(());
        };
        let (kind, phase) = (self.follower.kind, self.phase);
        let during = if phase == Phase::Initial { During::List } else { During::Watch };
        let change = self.follower.sink.change(kind, encoding, message, during);
        match change.map_err(|error| self.follower.garbled(&error))? {
            Change::Event { event, version } => {
                self.batch.extend(event.map(|event| self.follower.pardoned(event, phase)));
                if phase == Phase::Live {
                    self.follower.seen(version);
                }
                self.prove();
            }
            Change::Bookmark { version, ends_list: true } if phase == Phase::Initial => {
                self.follower.accept(version)?;
                self.batch.push(Event::ListDone(kind));
                self.phase = Phase::Live;
                self.follower.finished();
                self.prove();
            }
            Change::Bookmark { .. } if phase == Phase::Initial => self.prove(),
            // An older one is from a server that is behind: no proof of anything.
            Change::Bookmark { version, .. } if version >= self.follower.held => {
                self.follower.seen(version);
                self.prove();
            }
            Change::Bookmark { .. } => {}
            Change::Error(status) => return Err(self.follower.told(status)),
        }
        Ok(())
    }

    fn prove(&mut self) {
        self.proven = true;
        self.deadline = Instant::now() + self.follower.silence;
    }
}

enum Flow {
    Open,
    Ended,
}
