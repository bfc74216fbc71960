//! A list in pages, for an API without streaming lists.

use daymark_cluster::Event;
use futures::AsyncBufReadExt;
use tokio::time::{Instant, timeout_at};

use super::{
    api::{Ask, Body},
    encoding::Encoding,
    error::ApiError,
    follow::Follower,
    page::{ListMeta, Page, Piece},
    path::{Path, path},
    stream::{LIST_BATCH, Phase},
};

/// Objects asked for in a page.
const PAGE: usize = 500;

/// A list being taken over.
pub(super) struct Paging<'a> {
    follower: &'a mut Follower,
    batch: Vec<Event>,
    /// The list's version, once known.
    version: Option<u64>,
}

impl<'a> Paging<'a> {
    pub(super) fn new(follower: &'a mut Follower) -> Self {
        follower.sink.apply(&mut vec![Event::ListStart(follower.kind)]);
        Paging { follower, batch: Vec::new(), version: None }
    }

    /// Lists all pages.
    pub(super) async fn run(mut self) -> Result<(), ApiError> {
        let Path { list, filter, .. } = path(self.follower.kind);
        let mut from = match self.follower.floor() {
            floor if floor.is_empty() => floor,
            floor => format!("{floor}&resourceVersionMatch=NotOlderThan"),
        };
        loop {
            let uri = format!("{list}?limit={PAGE}{from}{filter}");
            let answer = self.follower.ask(Ask::List, &uri).await?;
            if answer.encoding != Encoding::Json {
                let cause = format!("a page in {}", answer.encoding);
                return Err(self.follower.garbled(&cause));
            }
            let metadata = self.page(answer.body).await?;
            if metadata.r#continue.is_empty() {
                break;
            }
            from = format!("&continue={}", escape(&metadata.r#continue));
        }
        self.follower.accept(self.version.unwrap_or(0))?;
        self.batch.push(Event::ListDone(self.follower.kind));
        self.follower.flush(&mut self.batch, true);
        self.follower.finished();
        Ok(())
    }

    async fn page(&mut self, mut body: Body) -> Result<ListMeta, ApiError> {
        let (mut page, mut metadata) = (Page::new(), None);
        loop {
            let deadline = Instant::now() + self.follower.silence;
            let bytes = match timeout_at(deadline, body.fill_buf()).await {
                Err(_) => return Err(ApiError::Silent { endpoint: self.follower.endpoint() }),
                Ok(Err(error)) => return Err(self.follower.broken(error)),
                Ok(Ok(bytes)) => bytes,
            };
            if bytes.is_empty() {
                break;
            }
            page.feed(bytes, |piece| self.piece(piece, &mut metadata))?;
            let length = bytes.len();
            body.as_mut().consume(length);
            // A list of unknown age waits: an old one must not bring back what is gone.
            if self.batch.len() >= LIST_BATCH && self.version.is_some() {
                self.follower.flush(&mut self.batch, false);
            }
        }
        match metadata {
            Some(metadata) if page.complete() => Ok(metadata),
            _ => Err(self.follower.broken("it ended before the list did")),
        }
    }

    fn piece(&mut self, piece: Piece<'_>, metadata: &mut Option<ListMeta>) -> Result<(), ApiError> {
        match piece {
            Piece::Metadata(found) => {
                if self.version.is_none() {
                    let version = found.resource_version.parse().unwrap_or(0);
                    self.follower.current(version)?;
                    self.version = Some(version);
                }
                *metadata = Some(found);
            }
            Piece::Item(item) => {
                let event = self.follower.sink.item(self.follower.kind, item);
                let event = event.map_err(|error| self.follower.garbled(&error))?;
                self.batch.extend(event.map(|event| self.follower.pardoned(event, Phase::Initial)));
            }
            Piece::TooLong => self.follower.too_long(),
        }
        Ok(())
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
