//! How the API's answers are written: as JSON or as protobuf. What they say is the same, and is read
//! into the same shapes; only this module and those it names know the difference.

use std::fmt;

use daymark_cluster::Kind;
use http::HeaderValue;
use serde::Deserialize;
use thiserror::Error;

use super::{
    api::Ask,
    frames::{Frames, NoFrame},
    json,
    lines::Lines,
    protobuf,
    wire::Malformed,
};
use crate::trim::shape::{Borrowed, Shape};

/// Longest message taken, in bytes. An object in etcd has at most 1.5 MiB.
pub(super) const MAX_MESSAGE: usize = 4 << 20;

/// How an answer is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encoding {
    /// A watch is a line for each event.
    Json,
    /// A watch is a frame for each event. Cheaper to write, to send and to read.
    Protobuf,
}

/// A piece of a watch: one event.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Message<'a> {
    /// Without what sets it apart from the next one.
    Whole(&'a [u8]),
    /// Longer than [`MAX_MESSAGE`]: passed over.
    TooLong,
}

/// An event of a watch.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are objects: a box would be one more allocation for each"
)]
pub(super) enum Told<'a> {
    /// What happened, and to which object.
    Object(Verb, Shape<Borrowed<'a>>),
    /// The watch ends with an error.
    Error(Status),
}

/// `metav1.WatchEvent.type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    /// `ADDED` and `MODIFIED`. Other words do not exist; if one comes, its object is what counts.
    Applied,
    /// `DELETED`.
    Deleted,
    /// `BOOKMARK`.
    Bookmark,
}

/// `metav1.Status`: what went wrong.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) message: String,
}

/// An answer is not what its encoding says.
#[derive(Debug, Error)]
pub(super) enum Unreadable {
    /// As JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// As protobuf.
    #[error(transparent)]
    Protobuf(#[from] Malformed),
    /// As a stream of protobuf.
    #[error(transparent)]
    NoFrame(#[from] NoFrame),
}

impl Encoding {
    const PROTOBUF: &'static str = "application/vnd.kubernetes.protobuf";

    /// The best encoding to ask for. Custom resources have JSON only. So have lists in pages, which
    /// are taken apart as they come in (`page.rs`): only servers that are too old for streaming
    /// lists are asked for those.
    pub(super) fn best(kind: Kind, ask: Ask) -> Self {
        match (kind, ask) {
            (Kind::ServiceImport, _) | (_, Ask::List) => Encoding::Json,
            _ => Encoding::Protobuf,
        }
    }

    /// The header `Accept`. Who cannot do protobuf may answer as JSON.
    pub(super) fn accept(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf, application/json;q=0.9",
        }
    }

    /// What the header `Content-Type` says. Anything but protobuf is read as JSON, and refused there
    /// if it is none.
    pub(super) fn of(content_type: Option<&HeaderValue>) -> Self {
        let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = text.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case(Self::PROTOBUF) {
            Encoding::Protobuf
        } else {
            Encoding::Json
        }
    }

    /// Reads an event of a watch of `kind`.
    pub(super) fn event(self, kind: Kind, message: &[u8]) -> Result<Told<'_>, Unreadable> {
        Ok(match self {
            Encoding::Json => json::event(kind, message)?,
            Encoding::Protobuf => protobuf::event(kind, message)?,
        })
    }

    /// Reads the body of a failure.
    pub(super) fn status(self, body: &[u8]) -> Result<Status, Unreadable> {
        Ok(match self {
            Encoding::Json => serde_json::from_slice(body)?,
            Encoding::Protobuf => protobuf::status(body)?,
        })
    }
}

impl Verb {
    /// What the word says; `None` for `ERROR`, which tells of no object.
    pub(super) fn of(word: &str) -> Option<Self> {
        match word {
            "DELETED" => Some(Verb::Deleted),
            "BOOKMARK" => Some(Verb::Bookmark),
            "ERROR" => None,
            _ => Some(Verb::Applied),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoding::Json => "JSON",
            Encoding::Protobuf => "protobuf",
        })
    }
}

/// Splits the bytes of a watch into its messages.
pub(super) enum Splitter {
    Lines(Lines),
    Frames(Frames),
}

impl Splitter {
    pub(super) fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Json => Splitter::Lines(Lines::default()),
            Encoding::Protobuf => Splitter::Frames(Frames::default()),
        }
    }

    /// Takes the next bytes and hands over each message that they complete.
    ///
    /// # Errors
    /// These bytes cannot continue the stream; what follows is of no use.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        each: impl FnMut(Message<'_>),
    ) -> Result<(), NoFrame> {
        match self {
            Splitter::Lines(lines) => {
                lines.feed(bytes, each);
                Ok(())
            }
            Splitter::Frames(frames) => frames.feed(bytes, each),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_the_encoding() {
        for (text, want) in [
            ("application/json", Encoding::Json),
            ("application/json;stream=watch", Encoding::Json),
            ("application/vnd.kubernetes.protobuf", Encoding::Protobuf),
            ("application/vnd.kubernetes.protobuf;stream=watch", Encoding::Protobuf),
            ("Application/Vnd.Kubernetes.Protobuf ; stream=watch", Encoding::Protobuf),
            ("application/vnd.kubernetes.protobuffer", Encoding::Json),
            ("text/html", Encoding::Json),
        ] {
            assert_eq!(Encoding::of(Some(&HeaderValue::from_static(text))), want, "{text}");
        }
        assert_eq!(Encoding::of(None), Encoding::Json);
    }
}
