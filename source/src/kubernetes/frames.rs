//! Splits the bytes of a protobuf watch into its frames: one event a frame, each behind its length
//! in four octets, the highest first.

use thiserror::Error;

use super::encoding::{MAX_MESSAGE, Message};

/// No frame is longer, in bytes: what says so is not a stream of frames. etcd takes 1.5 MiB unless
/// it is told otherwise, and messages of more than some megabytes are beyond its design.
const MAX_FRAME: u32 = 64 << 20;
/// What a buffer keeps when it is empty.
const KEEP: usize = 64 << 10;

/// The stream is not one of frames.
#[derive(PartialEq, Eq, Debug, Error)]
#[error("a frame of {length} bytes: this is no watch in protobuf")]
pub(super) struct NoFrame {
    length: u32,
}

/// Holds what is not yet a frame.
#[derive(Default)]
pub(super) struct Frames {
    at: At,
    /// What has come of the length or of the frame.
    partial: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
enum At {
    #[default]
    Length,
    /// In a frame of this length.
    Frame(usize),
    /// In a frame that is passed over, so many bytes before its end.
    Skipped(usize),
}

impl Frames {
    /// Takes the next bytes and hands over each frame that they complete.
    ///
    /// # Errors
    /// What should be a length cannot be one; what follows is of no use.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), NoFrame> {
        loop {
            match self.at {
                At::Length => {
                    let Some(length) = self.take(&mut bytes, size_of::<u32>()) else {
                        return Ok(());
                    };
                    let length = length.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet));
                    if length > MAX_FRAME {
                        return Err(NoFrame { length });
                    }
                    self.partial.clear();
                    self.at = match length as usize {
                        length if length > MAX_MESSAGE => At::Skipped(length),
                        length => At::Frame(length),
                    };
                }
                At::Frame(length) => {
                    let Some(frame) = self.take(&mut bytes, length) else { return Ok(()) };
                    each(Message::Whole(frame));
                    self.partial.clear();
                    self.partial.shrink_to(KEEP);
                    self.at = At::Length;
                }
                At::Skipped(left) if left > bytes.len() => {
                    self.at = At::Skipped(left - bytes.len());
                    return Ok(());
                }
                At::Skipped(left) => {
                    bytes = &bytes[left..];
                    self.at = At::Length;
                    each(Message::TooLong);
                }
            }
        }
    }

    /// The next `length` bytes, which are copied only where they come in parts; `None` if they are
    /// not all there yet.
    fn take<'a, 'b: 'a>(&'a mut self, bytes: &mut &'b [u8], length: usize) -> Option<&'a [u8]> {
        let missing = length - self.partial.len();
        let Some((found, rest)) = bytes.split_at_checked(missing) else {
            self.partial.extend_from_slice(bytes);
            return None;
        };
        *bytes = rest;
        if self.partial.is_empty() {
            return Some(found);
        }
        self.partial.extend_from_slice(found);
        Some(&self.partial)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32).to_be_bytes(), content].concat()
    }

    fn split(chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, NoFrame> {
        let (mut frames, mut all) = (Frames::default(), Vec::new());
        for chunk in chunks {
            frames.feed(chunk, |message| match message {
                Message::Whole(frame) => all.push(frame.to_vec()),
                Message::TooLong => all.push(b"TOO LONG".to_vec()),
            })?;
        }
        Ok(all)
    }

    #[test]
    fn a_frame_too_long_is_passed_over_alone_and_holds_no_memory() {
        let long = frame(&vec![b'x'; MAX_MESSAGE + 1]);
        let (mut frames, mut seen) = (Frames::default(), Vec::new());
        let (start, end) = long.split_at(MAX_MESSAGE / 2);
        for chunk in [&frame(b"a"), start, end, &frame(b"b")] {
            let each = |message: Message<'_>| seen.push(matches!(message, Message::TooLong));
            frames.feed(chunk, each).unwrap();
            assert!(frames.partial.capacity() <= KEEP);
        }
        assert_eq!(seen, [false, true, false]);
        let longest = frame(&vec![b'x'; MAX_MESSAGE]);
        let (start, end) = longest.split_at(MAX_MESSAGE / 2);
        let got = split(&[start, end, &frame(b"")]).unwrap();
        assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_MESSAGE, 0]);
    }

    #[test]
    fn what_has_no_length_is_refused() {
        let json = br#"{"type":"ADDED"}"#;
        assert_eq!(split(&[json]), Err(NoFrame { length: 0x7b22_7479 }));
        assert!(split(&[&[4, 0, 0, 1]]).is_err());
        assert_eq!(split(&[&[4, 0, 0, 0]]), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_makes_no_difference(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5),
            cuts in prop::collection::vec(0usize..220, 0..8),
        ) {
            let bytes: Vec<u8> = contents.iter().flat_map(|content| frame(content)).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(split(&chunks).unwrap(), contents);
        }
    }
}
