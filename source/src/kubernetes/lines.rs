//! Splits the bytes of a JSON watch into its lines: one event a line.

use super::encoding::{MAX_MESSAGE, Message};

/// What a buffer keeps when it is empty.
const KEEP: usize = 64 << 10;

/// Holds what is not yet a line.
#[derive(Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    skipping: bool,
}

impl Lines {
    /// Takes the next bytes and hands over each line that they complete, without its
    /// newline; blank ones never.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Message<'_>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.skipping || self.partial.len() + line.len() > MAX_MESSAGE {
                self.skipping = false;
                self.empty();
                each(Message::TooLong);
            } else if self.partial.is_empty() {
                whole(line, &mut each);
            } else {
                self.partial.extend_from_slice(line);
                whole(&self.partial, &mut each);
                self.empty();
            }
        }
        if self.skipping || self.partial.len() + bytes.len() > MAX_MESSAGE {
            self.skipping = true;
            self.empty();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn empty(&mut self) {
        self.partial.clear();
        self.partial.shrink_to(KEEP);
    }
}

fn whole(line: &[u8], each: &mut impl FnMut(Message<'_>)) {
    if !line.trim_ascii().is_empty() {
        each(Message::Whole(line));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.feed(chunk, |line| match line {
                Message::Whole(line) => all.push(String::from_utf8_lossy(line).into_owned()),
                Message::TooLong => all.push("TOO LONG".into()),
            });
        }
        all
    }

    #[test]
    fn a_line_ends_with_a_newline_and_blank_ones_do_not_count() {
        assert_eq!(split(&[b"a\nb\n\n  \nc"]), ["a", "b"]);
        assert_eq!(split(&[b"a", b"b", b"\n", b"c\n"]), ["ab", "c"]);
    }

    #[test]
    fn a_line_too_long_is_passed_over_alone_and_holds_no_memory() {
        let long = vec![b'x'; MAX_MESSAGE / 2 + 1];
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for chunk in [b"a\n".as_slice(), &long, &long, &long, b"\nb\n"] {
            lines.feed(chunk, |line| seen.push(matches!(line, Message::TooLong)));
            assert!(lines.partial.capacity() <= MAX_MESSAGE * 2);
        }
        assert_eq!(seen, [false, true, false]);
        assert!(lines.partial.capacity() <= KEEP);
        let mut at_once = long.repeat(3);
        at_once.extend(b"\nb\n");
        assert_eq!(split(&[&at_once]), ["TOO LONG", "b"]);
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_makes_no_difference(
            text in "[a-c\n ]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(split(&chunks), split(&[bytes]));
        }
    }
}
