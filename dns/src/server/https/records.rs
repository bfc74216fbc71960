//! A TLS record for each response.
//!
//! HTTP/2 frames of several responses are ready at a time, and would share a record. Clients that take
//! one message for each record that they read (dnsperf does) then wait for the others until they give
//! up. So what is written is cut behind each frame that ends a stream (RFC 9113 §4.1).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Octets of a frame's header, and where its parts are.
const HEADER: usize = 9;
const TYPE: usize = 3;
const FLAGS: usize = 4;
/// Frames that may end a stream, and the flag that does.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

/// A stream to which HTTP/2 frames are written.
pub(super) struct Records<S> {
    inner: S,
    cutter: Cutter,
}

/// Finds the ends of responses in what is written.
#[derive(Default)]
struct Cutter {
    /// What has come of the next frame's header.
    header: [u8; HEADER],
    /// How much of it.
    have: usize,
    /// Octets that are left of the frame's payload.
    left: usize,
}

impl Cutter {
    /// How many octets of `bytes` belong into one record: up to the first end of a response. Takes
    /// note of none of them yet.
    fn piece(&self, bytes: &[u8]) -> usize {
        let mut ahead = Cutter { ..*self };
        let mut at = 0;
        while at < bytes.len() {
            let (step, ends) = ahead.step(&bytes[at..]);
            at += step;
            if ends {
                break;
            }
        }
        at
    }

    /// Takes note of octets that were written.
    fn note(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (step, _) = self.step(bytes);
            bytes = &bytes[step..];
        }
    }

    /// Goes on by at least one octet, to the end of a header or payload at most. Tells by how many, and
    /// whether a response ends there.
    fn step(&mut self, bytes: &[u8]) -> (usize, bool) {
        if self.have < HEADER {
            let step = bytes.len().min(HEADER - self.have);
            self.header[self.have..self.have + step].copy_from_slice(&bytes[..step]);
            self.have += step;
            if self.have == HEADER {
                let [high, middle, low, ..] = self.header;
                self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
                return (step, self.left == 0 && self.end());
            }
            return (step, false);
        }
        let step = bytes.len().min(self.left);
        self.left -= step;
        (step, self.left == 0 && self.end())
    }

    /// Makes ready for the next frame. Tells whether this one ended a stream.
    fn end(&mut self) -> bool {
        self.have = 0;
        matches!(self.header[TYPE], DATA | HEADERS) && self.header[FLAGS] & END_STREAM != 0
    }
}

impl<S> Records<S> {
    pub(super) fn new(inner: S) -> Self {
        Records { inner, cutter: Cutter::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Records<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Records<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let piece = self.cutter.piece(bytes);
        let written = Pin::new(&mut self.inner).poll_write(cx, &bytes[..piece]);
        if let Poll::Ready(Ok(written)) = written {
            self.cutter.note(&bytes[..written]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let [_, high, middle, low] = (payload as u32).to_be_bytes();
        let mut frame = vec![high, middle, low, kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER + payload, 7);
        frame
    }

    /// The lengths of the records that these octets are written in.
    fn cut(mut bytes: &[u8]) -> Vec<usize> {
        let mut cutter = Cutter::default();
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let piece = cutter.piece(bytes);
            cutter.note(&bytes[..piece]);
            pieces.push(piece);
            bytes = &bytes[piece..];
        }
        pieces
    }

    #[test]
    fn a_record_has_one_response_and_what_goes_before_it() {
        let settings = frame(4, 1, 6);
        let (head, body) = (frame(HEADERS, 4, 30), frame(DATA, END_STREAM, 50));
        let (short, empty) = (frame(HEADERS, END_STREAM | 4, 20), frame(DATA, END_STREAM, 0));
        let all = [&settings, &head, &body, &short, &head, &empty, &settings].map(Vec::as_slice);
        let pieces = cut(&all.concat());
        assert_eq!(pieces, [15 + 39 + 59, 29, 39 + 9, 15]);
    }

    proptest! {
        #[test]
        fn any_octets_are_written_whole(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            prop_assert_eq!(cut(&bytes).iter().sum::<usize>(), bytes.len());
        }

        #[test]
        fn cuts_do_not_depend_on_what_the_stream_takes(
            sizes in prop::collection::vec((0..2_u8, 0..2_u8, 0..40_usize), 1..8), take in 1..30_usize,
        ) {
            let bytes: Vec<u8> =
                sizes.iter().flat_map(|(kind, flags, size)| frame(*kind, *flags, *size)).collect();
            let (mut cutter, mut at, mut ends) = (Cutter::default(), 0, Vec::new());
            while at < bytes.len() {
                let piece = cutter.piece(&bytes[at..]);
                let taken = piece.min(take);
                cutter.note(&bytes[at..at + taken]);
                at += taken;
                if taken == piece {
                    ends.push(at);
                }
            }
            let whole = cut(&bytes).iter().scan(0, |sum, piece| { *sum += piece; Some(*sum) }).collect::<Vec<_>>();
            prop_assert_eq!(ends, whole);
        }
    }
}
